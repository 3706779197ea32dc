/* Incremental decoder of HTTP/1.1 chunked bodies (RFC 9112, section 7.1), for bytes that arrive in any portions. */
#ifndef CHUNKED_H
#define CHUNKED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum chunk_step {
    CHUNK_SIZE,      /* hex digits of the size line */
    CHUNK_EXTENSION, /* the rest of that line, ignored */
    CHUNK_DATA,
    CHUNK_DATA_END, /* the CRLF after the data */
    CHUNK_TRAILER,  /* after the last chunk, up to the empty line */
    CHUNK_OVER,
    CHUNK_BAD,
};

/* All zeros is the state before the first byte. */
struct chunked {
    enum chunk_step step;
    uint64_t left;    /* CHUNK_SIZE: the size so far; CHUNK_DATA: bytes still to come */
    int digits;       /* of this size line; none at all is an error */
    int line_length;  /* of this trailer line, without CR and LF */
};

static inline int chunk_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline enum chunk_step chunk_line_ended(struct chunked *c)
{
    enum chunk_step next = c->digits == 0 ? CHUNK_BAD : c->left ? CHUNK_DATA : CHUNK_TRAILER;
    c->digits = 0;
    c->line_length = 0;
    return next;
}

/* Takes framing apart until the input or the body ends. `out` has room for n bytes and receives *body of them.
 * Returns how many input bytes were used: fewer than n once the step is CHUNK_OVER or CHUNK_BAD. */
static inline size_t chunked_feed(struct chunked *c, const char *in, size_t n, char *out, size_t *body)
{
    size_t i = 0;
    *body = 0;
    while (i < n && c->step < CHUNK_OVER) {
        if (c->step == CHUNK_DATA) {
            size_t some = n - i < c->left ? n - i : (size_t)c->left;
            memcpy(out + *body, in + i, some);
            *body += some;
            i += some;
            c->left -= some;
            if (c->left == 0)
                c->step = CHUNK_DATA_END;
            continue;
        }
        char ch = in[i++];
        switch (c->step) {
        case CHUNK_SIZE:
            if (chunk_digit(ch) >= 0 && c->digits < 15) {
                c->left = c->left << 4 | (uint64_t)chunk_digit(ch);
                c->digits++;
            } else if (ch == '\n') {
                c->step = chunk_line_ended(c);
            } else {
                c->step = ch == ';' || ch == '\r' || ch == ' ' ? CHUNK_EXTENSION : CHUNK_BAD;
            }
            break;
        case CHUNK_EXTENSION:
            if (ch == '\n')
                c->step = chunk_line_ended(c);
            break;
        case CHUNK_DATA_END:
            if (ch == '\n')
                c->step = CHUNK_SIZE;
            else if (ch != '\r')
                c->step = CHUNK_BAD;
            break;
        case CHUNK_TRAILER:
            if (ch == '\n') {
                if (c->line_length == 0)
                    c->step = CHUNK_OVER;
                c->line_length = 0;
            } else if (ch != '\r') {
                c->line_length++;
            }
            break;
        default:
            break;
        }
    }
    return i;
}

#endif
