/* What the paced upstream counts, and which clients left when, both as JSON for the rig. */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "buffer.h"

static struct {
    uint64_t requests, active, tokens, text_bytes, complete, departed;
    uint64_t late_ns_sum, late_ns_max; /* tokens against their schedule: is the machine too slow for the load? */
} stats;

struct departure {
    uint64_t tag, ns;
    bool reset; /* by RST, or by FIN */
};

static struct departure *departures;
static size_t departure_count, departure_room;

static inline void record_departure(uint64_t tag, uint64_t ns, bool reset)
{
    if (departure_count == departure_room) {
        departure_room = departure_room ? 2 * departure_room : 256;
        departures = must(realloc(departures, departure_room * sizeof *departures));
    }
    departures[departure_count++] = (struct departure){tag, ns, reset};
}

static inline void stats_json(struct buffer *json)
{
    enum { ROOM = 512 };
    int n = snprintf(buffer_reserve(json, ROOM), ROOM,
        "{\"requests\":%lu,\"active\":%lu,\"tokens\":%lu,\"text_bytes\":%lu,\"complete\":%lu,\"departed\":%lu,"
        "\"late_ns_sum\":%lu,\"late_ns_max\":%lu}\n",
        stats.requests, stats.active, stats.tokens, stats.text_bytes, stats.complete, stats.departed,
        stats.late_ns_sum, stats.late_ns_max);
    json->end += (size_t)n;
}

static inline void departures_json(struct buffer *json)
{
    enum { ROOM = 96 };
    buffer_append(json, "[", 1);
    for (size_t i = 0; i < departure_count; i++) {
        const struct departure *d = &departures[i];
        int n = snprintf(buffer_reserve(json, ROOM), ROOM, "%s{\"tag\":%lu,\"ns\":%lu,\"reset\":%s}", i ? "," : "",
            d->tag, d->ns, d->reset ? "true" : "false");
        json->end += (size_t)n;
    }
    buffer_append(json, "]\n", 2);
}

#endif
