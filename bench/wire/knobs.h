/* How one stream is to be paced. The request says so itself, inside its user message or its URL:
 *
 *     paced(tokens=200,gap_us=20000,first_ms=100,head_ms=0,hold_after=0,stamps=1,tag=0000000017)
 *
 * and not in a header, because relays forward the text of a prompt but rarely a header that they do not know.
 */
#ifndef KNOBS_H
#define KNOBS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct knobs {
    uint32_t tokens;     /* length of the answer */
    uint64_t gap_ns;     /* between tokens */
    uint64_t first_ns;   /* from the response head to the first token */
    uint64_t head_ns;    /* from the whole request to the response head */
    uint32_t hold_after; /* stand still after this many tokens, until the client leaves; 0: never */
    bool stamps;         /* whether each token says when it was sent; else it is a word, as long as words are */
    uint64_t tag;        /* names the stream in /departures; 0: not recorded */
};

static inline uint64_t knob(const char *from, const char *end, const char *name, uint64_t otherwise)
{
    size_t n = strlen(name);
    for (const char *at = from; at + n < end; at++)
        if (memcmp(at, name, n) == 0 && at[n] == '=')
            return strtoull(at + n + 1, NULL, 10);
    return otherwise;
}

/* Reads the knobs of a request of n bytes, which is followed by a NUL. What is not said has a usual value. */
static inline struct knobs knobs_of(const char *request, size_t n)
{
    static const char opening[] = "paced(";
    const char *from = memmem(request, n, opening, sizeof opening - 1);
    const char *end = from ? memchr(from, ')', (size_t)(request + n - from)) : NULL;
    if (end == NULL)
        from = end = request;
    return (struct knobs){
        .tokens = (uint32_t)knob(from, end, "tokens", 100),
        .gap_ns = knob(from, end, "gap_us", 20000) * 1000,
        .first_ns = knob(from, end, "first_ms", 100) * 1000000,
        .head_ns = knob(from, end, "head_ms", 0) * 1000000,
        .hold_after = (uint32_t)knob(from, end, "hold_after", 0),
        .stamps = knob(from, end, "stamps", 1) != 0,
        .tag = knob(from, end, "tag", 0),
    };
}

#endif
