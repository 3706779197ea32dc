/* What the load generator found, as one JSON line: counts, the delays as a histogram, and one figure per stream. */
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

#include "buffer.h"
#include "histogram.h"

/* A list of figures, one per stream that has one: a stream without a token has no TTFT, and never a TTFT of 0. */
struct series {
    double *value;
    size_t count, room;
};

enum outcome { COMPLETE, BROKEN, LEFT, UNFINISHED, OUTCOMES };

struct report {
    uint64_t started, outcome[OUTCOMES];
    uint64_t tokens;
    uint64_t lost;     /* tokens missing from streams that came to an end, or overtaken */
    uint64_t repeated; /* tokens that came again, or too late */
    char why[96];      /* of the first broken stream */
    double seconds;
    struct histogram delay_us;
    struct series ttft_us;        /* request sent -> first token here */
    struct series added_ttft_us;  /* the same without the upstream's own time */
    struct series longest_gap_us; /* between two tokens of the stream */
    struct series tokens_per_s;
};

static inline void series_add(struct series *s, double value)
{
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 256;
        s->value = must(realloc(s->value, s->room * sizeof *s->value));
    }
    s->value[s->count++] = value;
}

static inline void series_print(const char *name, const struct series *s, FILE *to)
{
    fprintf(to, ",\"%s\":[", name);
    for (size_t i = 0; i < s->count; i++)
        fprintf(to, "%s%.1f", i ? "," : "", s->value[i]);
    fputc(']', to);
}

static inline double seconds_of(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static inline void report_print(const struct report *r, FILE *to)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    fprintf(to,
        "{\"started\":%lu,\"complete\":%lu,\"broken\":%lu,\"left\":%lu,\"unfinished\":%lu,\"tokens\":%lu,"
        "\"lost\":%lu,\"repeated\":%lu,\"why\":\"%s\",\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"delay_us\":",
        r->started, r->outcome[COMPLETE], r->outcome[BROKEN], r->outcome[LEFT], r->outcome[UNFINISHED], r->tokens,
        r->lost, r->repeated, r->why, r->seconds, seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
    histogram_print(&r->delay_us, to);
    series_print("ttft_us", &r->ttft_us, to);
    series_print("added_ttft_us", &r->added_ttft_us, to);
    series_print("longest_gap_us", &r->longest_gap_us, to);
    series_print("tokens_per_s", &r->tokens_per_s, to);
    fputs("}\n", to);
}

#endif
