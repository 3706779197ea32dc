/* Command line of the load generator. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"

struct options {
    int port;
    uint32_t streams;       /* in all */
    uint32_t concurrency;   /* at once, each on its own connection, which is used again */
    uint32_t expect;        /* tokens that a whole stream has; 0: not checked */
    uint64_t ramp_ns;       /* between two connects */
    uint64_t limit_ns;      /* of the whole run */
    uint64_t first_tag;     /* number the streams from here, in the digits after "tag=" in the body; 0: leave them */
    uint32_t leave_tokens;  /* leave once these have come ... */
    uint64_t leave_ns;      /* ... (or, if 0, this long after the request was sent) ... */
    uint64_t leave_jitter_ns; /* ... plus a random time up to this, so that no phase of the pace is preferred */
    bool leave;
    bool leave_by_reset;    /* RST, or FIN */
    const char *leave_log;  /* file for "TAG NS" lines: when each stream was left */
    int64_t stop_reading;   /* tokens after which a reader reads no more; -1: never stops */
    uint64_t rest_ns;       /* once every reader was answered, let this much pass ... */
    uint64_t window_ns;     /* ... then count rates and gaps for so long, and end the run; 0: no window */
    const char *ready_file; /* is created once every reader has had a byte of its response */
    struct buffer request;
};

static const char usage[] =
    "usage: load --port N [--method POST] [--path P] [--body FILE] [--header 'K: V']...\n"
    "            [--streams N] [--concurrency N] [--expect TOKENS] [--ramp-us N] [--limit-s N]\n"
    "            [--window-ms REST:LENGTH] [--stop-reading TOKENS]\n"
    "            [--leave fin|rst] [--leave-tokens K] [--leave-ms N] [--leave-jitter-ms N] [--leave-log FILE]\n"
    "            [--first-tag N] [--ready-file FILE]\n";

static inline void read_file(const char *name, struct buffer *into)
{
    FILE *f = fopen(name, "r");
    if (f == NULL) {
        perror(name);
        exit(2);
    }
    size_t n;
    do {
        n = fread(buffer_reserve(into, 4096), 1, 4096, f);
        into->end += n;
    } while (n > 0);
    fclose(f);
}

static inline void append_text(struct buffer *b, const char *text) { buffer_append(b, text, strlen(text)); }

static inline struct options options_of(int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'}, {"method", required_argument, NULL, 'm'},
        {"path", required_argument, NULL, 'u'}, {"body", required_argument, NULL, 'b'},
        {"header", required_argument, NULL, 'h'}, {"streams", required_argument, NULL, 'n'},
        {"concurrency", required_argument, NULL, 'c'}, {"expect", required_argument, NULL, 'e'},
        {"ramp-us", required_argument, NULL, 'r'}, {"limit-s", required_argument, NULL, 'l'},
        {"window-ms", required_argument, NULL, 'w'}, {"stop-reading", required_argument, NULL, 's'},
        {"leave", required_argument, NULL, 'L'}, {"leave-tokens", required_argument, NULL, 'K'},
        {"leave-ms", required_argument, NULL, 'M'}, {"leave-jitter-ms", required_argument, NULL, 'J'},
        {"leave-log", required_argument, NULL, 'F'}, {"first-tag", required_argument, NULL, 't'},
        {"ready-file", required_argument, NULL, 'y'}, {0},
    };
    struct options o = {.streams = 1, .concurrency = 1, .stop_reading = -1};
    o.ramp_ns = 200000;
    o.limit_ns = 120000000000u;
    const char *method = "POST", *path = "/v1/chat/completions";
    struct buffer headers = {0}, body = {0};
    char line[128];
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'p': o.port = atoi(optarg); break;
        case 'm': method = optarg; break;
        case 'u': path = optarg; break;
        case 'b': read_file(optarg, &body); break;
        case 'h': append_text(&headers, optarg); append_text(&headers, "\r\n"); break;
        case 'n': o.streams = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'c': o.concurrency = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'e': o.expect = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'r': o.ramp_ns = strtoull(optarg, NULL, 10) * 1000; break;
        case 'l': o.limit_ns = strtoull(optarg, NULL, 10) * 1000000000; break;
        case 'w':
            o.rest_ns = strtoull(optarg, NULL, 10) * 1000000;
            o.window_ns = strtoull(optarg + strcspn(optarg, ":") + 1, NULL, 10) * 1000000;
            break;
        case 's': o.stop_reading = strtoll(optarg, NULL, 10); break;
        case 'L': o.leave = true; o.leave_by_reset = strcmp(optarg, "rst") == 0; break;
        case 'K': o.leave_tokens = (uint32_t)strtoul(optarg, NULL, 10); break;
        case 'M': o.leave_ns = strtoull(optarg, NULL, 10) * 1000000; break;
        case 'J': o.leave_jitter_ns = strtoull(optarg, NULL, 10) * 1000000; break;
        case 'F': o.leave_log = optarg; break;
        case 't': o.first_tag = strtoull(optarg, NULL, 10); break;
        case 'y': o.ready_file = optarg; break;
        default: fputs(usage, stderr); exit(2);
        }
    }
    if (o.port == 0 || o.concurrency == 0) {
        fputs(usage, stderr);
        exit(2);
    }
    append_text(&o.request, method);
    append_text(&o.request, " ");
    append_text(&o.request, path);
    snprintf(line, sizeof line, " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n", o.port);
    append_text(&o.request, line);
    buffer_append(&o.request, headers.data, headers.end);
    snprintf(line, sizeof line, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.end);
    append_text(&o.request, body.end ? line : "");
    append_text(&o.request, "\r\n");
    buffer_append(&o.request, body.data, body.end);
    buffer_free(&headers);
    buffer_free(&body);
    return o;
}

#endif
