/* One client of the paced upstream: its socket, its unsent bytes, and the stream that it is being told. */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agenda.h"
#include "buffer.h"
#include "knobs.h"
#include "ledger.h"
#include "shapes.h"

enum step { IDLE, HEAD_DUE, TOKEN_DUE, HOLDING };

struct connection {
    int fd;
    enum step step;
    enum dialect dialect;
    struct timer timer;
    struct knobs knobs;
    uint64_t asked_ns; /* when the whole request was here */
    uint32_t sent;     /* tokens of this stream */
    bool gone;
    struct buffer in, out;
    struct connection *next_gone;
};

static struct agenda agenda;
static struct connection *gone_list; /* freed after the batch, whose later events may still name them */
static int epoll;

static inline void watch(struct connection *c, int operation)
{
    uint32_t writable = buffer_length(&c->out) ? EPOLLOUT : 0;
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | writable, .data.ptr = c};
    epoll_ctl(epoll, operation, c->fd, &e);
}

static inline void hang_up(struct connection *c, uint64_t ns, bool reset)
{
    if (c->gone)
        return;
    if (c->step != IDLE) {
        stats.active--;
        stats.departed++;
        if (c->knobs.tag)
            record_departure(c->knobs.tag, ns, reset);
    }
    agenda_remove(&agenda, &c->timer);
    close(c->fd);
    c->gone = true;
    c->next_gone = gone_list;
    gone_list = c;
}

static inline void free_gone(void)
{
    while (gone_list) {
        struct connection *c = gone_list;
        gone_list = c->next_gone;
        buffer_free(&c->in);
        buffer_free(&c->out);
        free(c);
    }
}

/* Sends what the socket takes now; the rest waits in c->out. */
static inline void send_bytes(struct connection *c, const char *bytes, size_t n)
{
    if (c->gone)
        return;
    if (buffer_length(&c->out) == 0) {
        ssize_t k = send(c->fd, bytes, n, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN) {
            hang_up(c, now_ns(), true);
            return;
        }
        if (k == (ssize_t)n)
            return;
        if (k > 0) {
            bytes += k;
            n -= (size_t)k;
        }
        buffer_append(&c->out, bytes, n);
        watch(c, EPOLL_CTL_MOD);
        return;
    }
    buffer_append(&c->out, bytes, n);
}

static inline void send_rest(struct connection *c)
{
    ssize_t k = send(c->fd, c->out.data + c->out.start, buffer_length(&c->out), MSG_NOSIGNAL);
    if (k < 0) {
        if (errno != EAGAIN)
            hang_up(c, now_ns(), true);
        return;
    }
    buffer_drop(&c->out, (size_t)k);
    if (buffer_length(&c->out) == 0)
        watch(c, EPOLL_CTL_MOD);
}

#endif
