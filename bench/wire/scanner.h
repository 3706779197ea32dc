/* Finds stamps and end markers in the text of a stream, which arrives in any portions. */
#ifndef SCANNER_H
#define SCANNER_H

#include <string.h>

#include "stamp.h"

enum { CARRY = STAMP_LENGTH - 1 }; /* the most that may be the start of a stamp; longer than any end marker too */

/* All zeros is the state before the first byte. */
struct scanner {
    bool ended; /* the dialect's end marker was seen: OpenAI's, Anthropic's or the native one */
    size_t carried;
    char carry[CARRY]; /* the end of the text so far: what is next may complete it */
};

typedef void stamp_found(void *who, uint32_t index, uint64_t written_ns, uint64_t arrived_ns);

static inline bool has_end_marker(const char *text, size_t n)
{
    return memmem(text, n, "[DONE]", 6) || memmem(text, n, "\"message_stop\"", 14)
        || memmem(text, n, "event: done\n", 12);
}

/* Copies what is carried to the start of `room`, where the caller lets the new text follow. Returns its length. */
static inline size_t scanner_carry(const struct scanner *s, char *room)
{
    memcpy(room, s->carry, s->carried);
    return s->carried;
}

/* Reports every stamp in n bytes: the carried ones and the new text behind them. */
static inline void scan(
    struct scanner *s, const char *text, size_t n, uint64_t arrived_ns, stamp_found *found, void *who)
{
    const char *at = text, *const end = text + n, *tilde;
    while ((tilde = memchr(at, '~', (size_t)(end - at))) && end - tilde >= STAMP_LENGTH) {
        uint64_t written_ns;
        uint32_t index;
        at = tilde + 1;
        if (stamp_get(tilde, &written_ns, &index)) {
            at = tilde + STAMP_LENGTH;
            found(who, index, written_ns, arrived_ns);
        }
    }
    s->ended = s->ended || has_end_marker(text, n);
    s->carried = end - at < CARRY ? (size_t)(end - at) : CARRY;
    memcpy(s->carry, end - s->carried, s->carried);
}

#endif
