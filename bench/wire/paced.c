/* A model provider that costs next to nothing: answers every POST with a stream of stamped tokens at a set pace.
 *
 *     paced PORT lab|live          PORT 0 takes a free one; the first line of output says which
 *
 *     POST .../messages            Anthropic messages stream
 *     POST anything, GET .../events   OpenAI chat-completions stream
 *     GET /stats                   counters (JSON)
 *     GET /departures              every tagged stream whose client left before its end, and when (JSON)
 *     GET anything else            a list of one model, for relays that ask before they serve
 *
 * One thread and one epoll set. A connection is idle, or has a stream whose next step stands on the agenda.
 * Every token is one chunk in one send(), as providers write them: that is the work a relay has to bear.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "connection.h"
#include "request.h"

enum {
    BATCH = 512,          /* epoll events taken at once, and tokens written before looking for more of them */
    BACKLOG = 64 * 1024,  /* unsent bytes at which a stream stops producing, as a provider's would */
    CHUNK_HEAD = 6,       /* "01f4\r\n": a size of fixed width can be filled in afterwards */
};

/* ---- one stream ---- */

static void send_head(struct connection *c)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "Content-Type: text/event-stream; charset=utf-8\r\n"
                               "Cache-Control: no-cache\r\n"
                               "x-request-id: req_bench\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    send_bytes(c, head, sizeof head - 1);
    c->step = TOKEN_DUE;
}

static void start_stream(struct connection *c, const char *request, size_t n, enum dialect dialect)
{
    c->knobs = knobs_of(request, n);
    c->dialect = dialect;
    c->asked_ns = now_ns();
    c->sent = 0;
    stats.requests++;
    stats.active++;
    uint64_t due = c->asked_ns + c->knobs.head_ns;
    c->step = HEAD_DUE;
    if (c->knobs.head_ns == 0) {
        send_head(c);
        due += c->knobs.first_ns;
    }
    if (!c->gone)
        agenda_add(&agenda, &c->timer, due);
}

/* Writes the next token, with what stands before the first and after the last. Returns whether there are more. */
static bool send_token(struct connection *c)
{
    char buffer[CHUNK_HEAD + 3 * SHAPE_ROOM];
    char *const data = buffer + CHUNK_HEAD;
    char *end = data;
    size_t text_bytes;
    if (c->sent == 0)
        end = shape_opening(end, c->dialect);
    end = shape_token(end, c->dialect, c->sent, c->asked_ns, c->knobs.stamps, &text_bytes);
    c->sent++;
    stats.tokens++;
    stats.text_bytes += text_bytes;
    bool more = c->sent < c->knobs.tokens;
    if (!more)
        end = shape_ending(end, c->dialect, c->sent);
    size_t size = (size_t)(end - data);
    int digits = size < 0x100 ? 2 : size < 0x1000 ? 3 : 4;  /* as providers write it: no zeros before */
    char *begin = data - digits - 2;
    memcpy(hex_put(begin, size, digits), "\r\n", 2);
    end = put_text(end, more ? "\r\n" : "\r\n0\r\n\r\n");
    send_bytes(c, begin, (size_t)(end - begin));
    return more;
}

/* The stream's time has come: its head or its next token. */
static void step(struct connection *c, uint64_t now)
{
    uint64_t due = c->timer.due_ns;
    agenda_remove(&agenda, &c->timer);
    if (c->step == HEAD_DUE) {
        send_head(c);
        if (!c->gone)
            agenda_add(&agenda, &c->timer, due + c->knobs.first_ns);
        return;
    }
    if (buffer_length(&c->out) < BACKLOG) {
        uint64_t late = now - due;
        stats.late_ns_sum += late;
        if (late > stats.late_ns_max)
            stats.late_ns_max = late;
        bool more = send_token(c);
        if (c->gone)
            return;
        if (!more) {
            c->step = IDLE;
            stats.active--;
            stats.complete++;
            return;
        }
        if (c->sent == c->knobs.hold_after) {
            c->step = HOLDING;
            return;
        }
    }
    /* Behind schedule the pace is kept and the schedule moves: a provider does not catch up by a burst. */
    due += c->knobs.gap_ns;
    agenda_add(&agenda, &c->timer, due > now ? due : now);
}

/* ---- requests ---- */

static void answer_json(struct connection *c, const char *json, size_t n)
{
    char head[128];
    int k = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", n);
    send_bytes(c, head, (size_t)k);
    send_bytes(c, json, n);
}

static void answer_from(struct connection *c, void (*write)(struct buffer *))
{
    struct buffer json = {0};
    write(&json);
    answer_json(c, json.data, json.end);
    buffer_free(&json);
}

static void answer(struct connection *c, const char *request, size_t n)
{
    static const char models[] = "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\"}]}";
    bool get = request_is_get(request);
    if (get && path_ends(request, "/stats"))
        answer_from(c, stats_json);
    else if (get && path_ends(request, "/departures"))
        answer_from(c, departures_json);
    else if (get && !path_ends(request, "/events"))
        answer_json(c, models, sizeof models - 1);
    else
        start_stream(c, request, n, path_ends(request, "/messages") ? ANTHROPIC : OPENAI_CHAT);
}

/* Answers what is asked, one request at a time: a stream must be over before the next request counts. */
static void take_requests(struct connection *c)
{
    while (!c->gone && c->step == IDLE && buffer_length(&c->in) >= 4) {
        *buffer_reserve(&c->in, 1) = '\0';
        const char *request = c->in.data + c->in.start;
        size_t n = request_length(request, buffer_length(&c->in));
        if (n == 0)
            return;
        answer(c, request, n);
        buffer_drop(&c->in, n);
    }
}

static void receive(struct connection *c, uint64_t now)
{
    char *to = buffer_reserve(&c->in, 16 * 1024);
    ssize_t k = recv(c->fd, to, 16 * 1024, 0);
    if (k > 0) {
        c->in.end += (size_t)k;
        take_requests(c);
    } else if (k == 0 || errno != EAGAIN) {
        hang_up(c, now, k < 0);
    }
}

/* ---- the loop ---- */

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = must(calloc(1, sizeof *c));
        c->fd = fd;
        c->timer.owner = c;
        watch(c, EPOLL_CTL_ADD);
    }
}

static void handle(struct connection *c, uint32_t events, uint64_t now)
{
    if (c->gone)
        return;
    /* A FIN counts as leaving: no relay half-closes, and what it may have sent before is of no use to it. */
    if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        hang_up(c, now, events & (EPOLLERR | EPOLLHUP));
        return;
    }
    if (events & EPOLLIN)
        receive(c, now);
    if (!c->gone && events & EPOLLOUT)
        send_rest(c);
}

static int listen_on(int port)
{
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr *address = (struct sockaddr *)&at;
    if (bind(fd, address, size) || listen(fd, 65535) || getsockname(fd, address, &size)) {
        perror("paced: cannot listen");
        exit(1);
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 3 || (strcmp(argv[2], "lab") && strcmp(argv[2], "live"))) {
        fprintf(stderr, "usage: paced PORT lab|live\n");
        return 2;
    }
    shape_live = strcmp(argv[2], "live") == 0;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int listener = listen_on(atoi(argv[1]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[BATCH], listening = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
    for (;;) {
        /* pwait2 for its nanoseconds: whole milliseconds would bunch tokens, and spinning would steal CPU. */
        struct timer *first = agenda_first(&agenda);
        uint64_t now = now_ns();
        uint64_t wait = first && first->due_ns > now ? first->due_ns - now : 0;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
        int n = epoll_pwait2(epoll, events, BATCH, first ? &timeout : NULL, NULL);
        now = now_ns();
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(listener);
            else
                handle(events[i].data.ptr, events[i].events, now);
        }
        for (int i = 0; i < BATCH && (first = agenda_first(&agenda)) && first->due_ns <= now; i++) {
            struct connection *c = first->owner;
            step(c, now);
            take_requests(c);
        }
        free_gone();
    }
}
