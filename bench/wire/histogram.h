/* Counts by size, in buckets whose width grows with the value: exact below 128, then within 1/64 (1.6 %).
 *
 * A run has millions of delays, and keeping each would make the load generator the heaviest program on the
 * machine. Percentiles are the reader's business: what is printed is every bucket that is not empty.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { LINEAR = 128, PER_OCTAVE = 64, BUCKETS = LINEAR + PER_OCTAVE * 40 };

struct histogram {
    uint64_t count[BUCKETS];
};

static inline unsigned bucket_of(uint64_t value)
{
    if (value < LINEAR)
        return (unsigned)value;
    unsigned octave = 63 - (unsigned)__builtin_clzll(value); /* 7 for 128..255 */
    unsigned bucket = LINEAR + (octave - 7) * PER_OCTAVE + (unsigned)(value >> (octave - 6) & (PER_OCTAVE - 1));
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The smallest value of a bucket. */
static inline uint64_t bucket_floor(unsigned bucket)
{
    if (bucket < LINEAR)
        return bucket;
    unsigned octave = (bucket - LINEAR) / PER_OCTAVE + 7;
    return (uint64_t)(PER_OCTAVE + (bucket - LINEAR) % PER_OCTAVE) << (octave - 6);
}

static inline void histogram_add(struct histogram *h, uint64_t value) { h->count[bucket_of(value)]++; }

/* [[floor,count],...] */
static inline void histogram_print(const struct histogram *h, FILE *to)
{
    const char *comma = "";
    fputc('[', to);
    for (unsigned i = 0; i < BUCKETS; i++)
        if (h->count[i]) {
            fprintf(to, "%s[%lu,%lu]", comma, bucket_floor(i), h->count[i]);
            comma = ",";
        }
    fputc(']', to);
}

#endif
