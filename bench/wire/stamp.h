/* The time stamp that every token carries, and the clock that both programs share.
 *
 *     ~0000017a3fbc2d10.00002a~        when it was written (CLOCK_MONOTONIC, ns, hex) . which token of its stream
 *
 * Writer and reader run on one machine, so the difference of two readings is a one-way delay. Only characters that
 * no JSON encoder escapes are used: the stamp survives a relay that decodes and encodes the text again. The index
 * is what lets the reader see a token that was lost, doubled or overtaken.
 */
#ifndef STAMP_H
#define STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum { STAMP_LENGTH = 1 + 16 + 1 + 6 + 1 };

/* This index marks a stamp that is no token: the moment at which the upstream had the whole request. It stands
 * before the first token, so the reader can subtract the upstream's own thinking time from its TTFT, exactly. */
#define STAMP_ASKED 0xffffffu

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline char *hex_put(char *to, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        to[i] = "0123456789abcdef"[value & 15];
    return to + digits;
}

static inline bool hex_get(const char *from, int digits, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++) {
        char c = from[i];
        if (c >= '0' && c <= '9')
            *value = *value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *value = *value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* Writes STAMP_LENGTH bytes and returns the place after them. */
static inline char *stamp_put(char *to, uint64_t ns, uint32_t index)
{
    *to++ = '~';
    to = hex_put(to, ns, 16);
    *to++ = '.';
    to = hex_put(to, index, 6);
    *to++ = '~';
    return to;
}

/* Whether the STAMP_LENGTH bytes at `from` are a stamp. */
static inline bool stamp_get(const char *from, uint64_t *ns, uint32_t *index)
{
    uint64_t which;
    if (from[0] != '~' || from[17] != '.' || from[24] != '~')
        return false;
    if (!hex_get(from + 1, 16, ns) || !hex_get(from + 18, 6, &which))
        return false;
    *index = (uint32_t)which;
    return true;
}

#endif
