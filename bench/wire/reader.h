/* One reader and what its tokens mean: order, delay, gaps, rate. No sockets here. */
#ifndef READER_H
#define READER_H

#include "options.h"
#include "report.h"
#include "response.h"
#include "scanner.h"

struct reader {
    int fd; /* -1: not connected */
    bool connected;
    bool heard; /* has had a byte of a response, once in its life */
    bool deaf;  /* reads no more */
    struct response response;
    struct scanner scanner;
    uint64_t tag, sent_ns, asked_ns, first_ns, last_ns, leave_at_ns, longest_gap_ns;
    uint32_t next;      /* index of the token that should come next */
    bool disordered;    /* a token was skipped or came again */
    uint32_t in_window; /* tokens in the measured part of the run */
};

static struct options options;
static struct report report;
/* When rates and gaps count. A window opens late, and its run would end by its limit if it never did. */
static uint64_t open_ns, close_ns;

static inline uint64_t jitter_ns(void) { return (uint64_t)(drand48() * (double)options.leave_jitter_ns); }

/* Silence after the first token, up to `until`, as far as it counts. */
static inline void note_gap(struct reader *r, uint64_t until)
{
    uint64_t since = r->last_ns > open_ns ? r->last_ns : open_ns;
    if (r->last_ns && until > since && until - since > r->longest_gap_ns)
        r->longest_gap_ns = until - since;
}

static inline void take_token(struct reader *r, uint32_t index, uint64_t written_ns, uint64_t arrived)
{
    report.tokens++;
    histogram_add(&report.delay_us, arrived > written_ns ? (arrived - written_ns) / 1000 : 0);
    r->disordered = r->disordered || index != r->next;
    if (index < r->next) {
        report.repeated++;
        return;
    }
    report.lost += index - r->next;
    r->next = index + 1;
    if (r->first_ns == 0) {
        r->first_ns = arrived;
        if (r->asked_ns) /* the request's way there and the first token's way back */
            series_add(&report.added_ttft_us, (double)(r->asked_ns - r->sent_ns + arrived - written_ns) / 1e3);
    }
    note_gap(r, arrived);
    r->last_ns = arrived;
    if (arrived >= open_ns && arrived < close_ns)
        r->in_window++;
    if (options.leave && options.leave_tokens == r->next)
        r->leave_at_ns = arrived + jitter_ns();
}

static inline void take_stamp(void *who, uint32_t index, uint64_t written_ns, uint64_t arrived)
{
    struct reader *r = who;
    if (index == STAMP_ASKED)
        r->asked_ns = written_ns;
    else
        take_token(r, index, written_ns, arrived);
}

/* One figure each for the stream that is over. A broken one has no rate: it is counted as broken. */
static inline void summarise(struct reader *r, enum outcome outcome)
{
    if (r->first_ns) {
        series_add(&report.ttft_us, (double)(r->first_ns - r->sent_ns) / 1e3);
        series_add(&report.longest_gap_us, (double)r->longest_gap_ns / 1e3);
    }
    if (outcome == BROKEN)
        return;
    if (options.window_ns)
        series_add(&report.tokens_per_s, r->in_window / ((double)options.window_ns / 1e9));
    else if (r->next > 1)
        series_add(&report.tokens_per_s, (r->next - 1) / ((double)(r->last_ns - r->first_ns + 1) / 1e9));
}

#endif
