/* A growing byte buffer that is filled at its end and emptied at its start. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All zeros is an empty buffer. The bytes are data[start] up to data[end - 1]. */
struct buffer {
    char *data;
    size_t start, end, room;
};

/* What a failed malloc() or fopen() leaves a benchmark to do. */
static inline void *must(void *memory)
{
    if (memory == NULL) {
        perror("bench");
        exit(1);
    }
    return memory;
}

static inline size_t buffer_length(const struct buffer *b) { return b->end - b->start; }

/* Makes room for n more bytes, moving what is held to the front first. Returns where to write them. */
static inline char *buffer_reserve(struct buffer *b, size_t n)
{
    if (b->room - b->end < n && b->start > 0) {
        memmove(b->data, b->data + b->start, buffer_length(b));
        b->end -= b->start;
        b->start = 0;
    }
    if (b->room - b->end < n) {
        b->room = 2 * (b->end + n);
        b->data = must(realloc(b->data, b->room));
    }
    return b->data + b->end;
}

static inline void buffer_append(struct buffer *b, const char *bytes, size_t n)
{
    if (n == 0)
        return; /* memcpy() from NULL is undefined even for nothing */
    memcpy(buffer_reserve(b, n), bytes, n);
    b->end += n;
}

static inline void buffer_drop(struct buffer *b, size_t n)
{
    b->start += n;
    if (b->start == b->end)
        b->start = b->end = 0;
}

static inline void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){0};
}

#endif
