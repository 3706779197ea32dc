/* Incremental reader of one HTTP/1.1 response: head, then a body by chunks, by length or up to the close. */
#ifndef RESPONSE_H
#define RESPONSE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "chunked.h"

enum { HEAD_ROOM = 4096 };
enum response_step { RESPONSE_HEAD, RESPONSE_BODY, RESPONSE_OVER, RESPONSE_BAD };
enum framing { BY_CHUNKS, BY_LENGTH, BY_CLOSE };

/* All zeros is the state before the first byte. */
struct response {
    enum response_step step;
    enum framing framing;
    int status;
    bool closes; /* the server will close the connection after it */
    uint64_t left;
    struct chunked chunked;
    size_t head_length;
    char head[HEAD_ROOM];
};

static inline const char *response_field(const struct response *r, const char *name)
{
    const char *at = strcasestr(r->head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " ") : NULL;
}

static inline void response_head_complete(struct response *r)
{
    const char *field;
    r->step = RESPONSE_BODY;
    r->status = strncmp(r->head, "HTTP/1.", 7) == 0 ? atoi(r->head + 9) : 0;
    if (r->status == 0)
        r->step = RESPONSE_BAD;
    field = response_field(r, "\r\nconnection:");
    r->closes = field && strncasecmp(field, "close", 5) == 0;
    if ((field = response_field(r, "\r\ntransfer-encoding:")) && strncasecmp(field, "chunked", 7) == 0) {
        r->framing = BY_CHUNKS;
    } else if ((field = response_field(r, "\r\ncontent-length:")) || r->status == 204) {
        r->framing = BY_LENGTH;
        r->left = field ? strtoull(field, NULL, 10) : 0;
        if (r->left == 0)
            r->step = RESPONSE_OVER;
    } else {
        r->framing = BY_CLOSE;
        r->closes = true;
    }
}

/* Takes one byte of the head. Byte by byte is fine for a few hundred bytes per stream. */
static inline void response_head_byte(struct response *r, char c)
{
    if (r->head_length == HEAD_ROOM - 1) {
        r->step = RESPONSE_BAD;
        return;
    }
    r->head[r->head_length++] = c;
    if (c == '\n' && r->head_length >= 4 && memcmp(r->head + r->head_length - 4, "\r\n\r\n", 4) == 0) {
        r->head[r->head_length] = '\0';
        response_head_complete(r);
    }
}

/* Takes n received bytes; `out` has room for n and receives the body bytes among them. Returns how many. */
static inline size_t response_feed(struct response *r, const char *in, size_t n, char *out)
{
    while (n > 0 && r->step == RESPONSE_HEAD) {
        response_head_byte(r, *in++);
        n--;
    }
    if (n == 0 || r->step != RESPONSE_BODY)
        return 0;
    size_t body = n;
    if (r->framing == BY_CHUNKS) {
        chunked_feed(&r->chunked, in, n, out, &body);
        if (r->chunked.step >= CHUNK_OVER)
            r->step = r->chunked.step == CHUNK_OVER ? RESPONSE_OVER : RESPONSE_BAD;
        return body;
    }
    if (r->framing == BY_LENGTH) {
        body = n < r->left ? n : (size_t)r->left;
        r->left -= body;
        if (r->left == 0)
            r->step = RESPONSE_OVER;
    }
    memcpy(out, in, body);
    return body;
}

/* The server closed the connection: that is the end of a body by close, and of no other. */
static inline void response_closed(struct response *r)
{
    bool whole = r->step == RESPONSE_OVER || (r->step == RESPONSE_BODY && r->framing == BY_CLOSE);
    r->step = whole ? RESPONSE_OVER : RESPONSE_BAD;
}

#endif
