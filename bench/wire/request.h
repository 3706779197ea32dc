/* Where an HTTP/1.1 request ends, and what it asks for. For requests of our own relays, not of the open internet. */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "chunked.h"

/* The length of the request at the start of the n bytes, head and body; 0 if it is not all here yet. The bytes are
 * followed by a NUL. */
static inline size_t request_length(const char *request, size_t n)
{
    const char *blank = memmem(request, n, "\r\n\r\n", 4);
    if (blank == NULL)
        return 0;
    size_t head = (size_t)(blank - request) + 4;
    static const char length[] = "\r\ncontent-length:", coding[] = "\r\ntransfer-encoding: chunked";
    const char *field = strcasestr(request, length);
    if (field && field < blank) {
        size_t whole = head + strtoul(field + sizeof length - 1, NULL, 10);
        return n >= whole ? whole : 0;
    }
    field = strcasestr(request, coding);
    if (!field || field > blank)
        return head;
    /* From its start again for every portion: quadratic, and fine, for bodies of a few hundred bytes. */
    struct chunked body = {0};
    size_t body_bytes;
    char *discard = must(malloc(n - head + 1));
    size_t used = chunked_feed(&body, request + head, n - head, discard, &body_bytes);
    free(discard);
    return body.step == CHUNK_OVER ? head + used : 0;
}

static inline bool request_is_get(const char *request) { return memcmp(request, "GET ", 4) == 0; }

/* Whether the path, without its query, ends so. */
static inline bool path_ends(const char *request, const char *suffix)
{
    const char *path = request + strcspn(request, " \r");
    path += *path == ' ';
    size_t length = strcspn(path, " ?\r"), n = strlen(suffix);
    return length >= n && memcmp(path + length - n, suffix, n) == 0;
}

#endif
