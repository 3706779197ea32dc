/* Many clients at once: opens streams at a relay, reads the stamped tokens, and reports what came when.
 *
 * One thread and one epoll set; a reader is one connection that carries one stream after another. A read is timed
 * once, before it is taken apart, so every token in it has the time at which the client could have had it.
 *
 * A stream is complete if its status is 200, its framing ended as HTTP says, its dialect's end marker was seen, and
 * every token came once and in order. Else it is broken, unless we left it or ran out of time.
 *
 * Runs until all streams are over, the limit or window has passed, or SIGTERM; then prints one line (report.h).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reader.h"

enum {
    READ_ROOM = 256 * 1024,
    BATCH = 512,
    TAG_DIGITS = 10,
};

static struct reader *readers;
static uint64_t start_ns;
static uint32_t heard_count;
static size_t tag_place; /* of the digits in options.request */
static FILE *leave_log;
static int epoll;
static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* ---- a stream's life ---- */

static void watch(struct reader *r, int operation, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = r};
    epoll_ctl(epoll, operation, r->fd, &e);
}

static void stop_reading(struct reader *r)
{
    r->deaf = true;
    watch(r, EPOLL_CTL_MOD, 0);
}

static void disconnect(struct reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->connected = false;
}

static void dial(struct reader *r)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    int one = 1, small = 4096;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options.stop_reading >= 0) /* else our kernel would go on reading megabytes for us */
        setsockopt(r->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    (void)connect(r->fd, (struct sockaddr *)&to, sizeof to); /* the first event says how it went */
    watch(r, EPOLL_CTL_ADD, EPOLLOUT);
}

static void ask(struct reader *r)
{
    if (options.first_tag) {
        char digits[TAG_DIGITS + 1];
        snprintf(digits, sizeof digits, "%0*lu", TAG_DIGITS, r->tag);
        memcpy(options.request.data + tag_place, digits, TAG_DIGITS);
    }
    r->sent_ns = now_ns();
    if (options.leave && options.leave_tokens == 0)
        r->leave_at_ns = r->sent_ns + options.leave_ns + jitter_ns();
    (void)send(r->fd, options.request.data, options.request.end, MSG_NOSIGNAL); /* a failure shows on reading */
    if (options.stop_reading == 0)
        stop_reading(r);
}

/* Takes the next stream onto this connection, made anew where there is none. */
static void begin(struct reader *r)
{
    *r = (struct reader){.fd = r->fd, .connected = r->connected, .heard = r->heard};
    r->tag = options.first_tag + report.started++;
    if (r->connected)
        ask(r);
    else
        dial(r);
}

/* The stream is over in one way or another; the next one begins. */
static void finish(struct reader *r, enum outcome outcome, const char *why)
{
    if (outcome == COMPLETE || outcome == BROKEN) {
        uint32_t missing = options.expect > r->next ? options.expect - r->next : 0;
        report.lost += missing;
        if (outcome == COMPLETE && (missing || r->disordered)) {
            outcome = BROKEN;
            why = "tokens missing or out of order";
        }
    }
    if (outcome == BROKEN && report.outcome[BROKEN] == 0)
        snprintf(report.why, sizeof report.why, "%s (status %d, %u tokens)", why, r->response.status, r->next);
    report.outcome[outcome]++;
    summarise(r, outcome);
    if (outcome == UNFINISHED)
        return;
    if (outcome != COMPLETE || r->response.closes)
        disconnect(r);
    if (report.started < options.streams && !stopped)
        begin(r);
    else
        disconnect(r);
}

/* Hangs up as the options say. A socket with unread bytes would answer close() by RST: read them first for a FIN. */
static void leave(struct reader *r)
{
    static char discard[READ_ROOM];
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    if (options.leave_by_reset)
        setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    else
        while (recv(r->fd, discard, sizeof discard, 0) > 0)
            ;
    uint64_t left_ns = now_ns();
    disconnect(r);
    if (leave_log)
        fprintf(leave_log, "%lu %lu\n", r->tag, left_ns);
    finish(r, LEFT, "");
}

/* ---- reading ---- */

static void receive(struct reader *r)
{
    static char raw[READ_ROOM], text[CARRY + READ_ROOM];
    ssize_t k = recv(r->fd, raw, sizeof raw, 0);
    int error = k < 0 ? errno : 0;
    uint64_t arrived = now_ns();
    if (error == EAGAIN)
        return;
    if (!r->heard) {
        r->heard = true;
        heard_count++;
    }
    if (k > 0) {
        size_t carried = scanner_carry(&r->scanner, text);
        size_t body = response_feed(&r->response, raw, (size_t)k, text + carried);
        scan(&r->scanner, text, carried + body, arrived, take_stamp, r);
    } else {
        response_closed(&r->response);
    }
    if (r->response.step == RESPONSE_BAD)
        finish(r, BROKEN, k > 0 ? "malformed response" : k == 0 ? "cut off" : strerror(error));
    else if (r->response.step == RESPONSE_OVER && r->response.status != 200)
        finish(r, BROKEN, "refused");
    else if (r->response.step == RESPONSE_OVER)
        finish(r, r->scanner.ended ? COMPLETE : BROKEN, "ended without its end marker");
    else if (options.stop_reading > 0 && r->next >= options.stop_reading)
        stop_reading(r);
}

static void handle(struct reader *r, uint32_t events)
{
    if (r->fd < 0)
        return;
    if (!r->connected) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) {
            finish(r, BROKEN, strerror(error));
            return;
        }
        r->connected = true;
        watch(r, EPOLL_CTL_MOD, EPOLLIN);
        ask(r);
    } else if (!r->deaf || events & (EPOLLERR | EPOLLHUP)) {
        receive(r);
    }
}

/* ---- the run ---- */

static void leave_those_due(uint64_t now)
{
    for (uint32_t i = 0; i < options.concurrency; i++)
        if (readers[i].fd >= 0 && readers[i].leave_at_ns && readers[i].leave_at_ns <= now)
            leave(&readers[i]);
}

static bool running(uint64_t now)
{
    uint64_t over = 0;
    for (int i = 0; i < OUTCOMES; i++)
        over += report.outcome[i];
    return !stopped && over < options.streams && now < close_ns;
}

static void all_answered(uint64_t now)
{
    if (options.ready_file)
        fclose(must(fopen(options.ready_file, "w")));
    if (options.window_ns) {
        open_ns = now + options.rest_ns;
        close_ns = open_ns + options.window_ns;
    }
}

static void run(void)
{
    struct epoll_event events[BATCH];
    uint32_t dialled = 0, wanted = options.concurrency < options.streams ? options.concurrency : options.streams;
    bool answered = false;
    uint64_t now = start_ns;
    close_ns = start_ns + options.limit_ns;
    open_ns = options.window_ns ? close_ns : start_ns;
    for (; running(now); now = now_ns()) {
        for (; dialled < wanted && now >= start_ns + dialled * options.ramp_ns; dialled++)
            begin(&readers[dialled]);
        int n = epoll_wait(epoll, events, BATCH, dialled < wanted || options.leave ? 1 : 50);
        for (int i = 0; i < n; i++)
            handle(events[i].data.ptr, events[i].events);
        if (options.leave)
            leave_those_due(now_ns());
        if (!answered && heard_count >= wanted) {
            answered = true;
            all_answered(now_ns());
        }
    }
    for (uint32_t i = 0; i < dialled; i++)
        if (readers[i].fd >= 0) {
            if (options.window_ns)
                note_gap(&readers[i], now); /* a stream that fell silent has a gap up to the end */
            finish(&readers[i], UNFINISHED, "");
        }
    report.seconds = (double)(now - start_ns) / 1e9;
}

static size_t find_tag(void)
{
    static const char tag[] = "tag=0000000000";
    const char *at = memmem(options.request.data, options.request.end, tag, sizeof tag - 1);
    if (at == NULL) {
        fprintf(stderr, "load: --first-tag needs %s in the body\n", tag);
        exit(2);
    }
    return (size_t)(at - options.request.data) + sizeof tag - 1 - TAG_DIGITS;
}

int main(int argc, char **argv)
{
    options = options_of(argc, argv);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    if (options.first_tag)
        tag_place = find_tag();
    if (options.leave_log)
        leave_log = must(fopen(options.leave_log, "w"));
    readers = must(calloc(options.concurrency, sizeof *readers));
    for (uint32_t i = 0; i < options.concurrency; i++)
        readers[i].fd = -1;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    start_ns = now_ns();
    run();
    if (leave_log)
        fclose(leave_log);
    report_print(&report, stdout);
    return 0;
}
