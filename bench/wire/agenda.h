/* What is due next: a binary heap of timers, each embedded in what it belongs to. */
#ifndef AGENDA_H
#define AGENDA_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "buffer.h"

struct timer {
    uint64_t due_ns;
    size_t place; /* 1-based, so that all zeros means: not on the agenda */
    void *owner;
};

struct agenda {
    struct timer **heap; /* heap[1] is due first; heap[0] is unused */
    size_t count, room;
};

static inline void agenda_put(struct agenda *a, size_t place, struct timer *t)
{
    a->heap[place] = t;
    t->place = place;
}

static inline void agenda_rise(struct agenda *a, size_t at)
{
    struct timer *t = a->heap[at];
    for (; at > 1 && t->due_ns < a->heap[at / 2]->due_ns; at /= 2)
        agenda_put(a, at, a->heap[at / 2]);
    agenda_put(a, at, t);
}

static inline void agenda_sink(struct agenda *a, size_t at)
{
    struct timer *t = a->heap[at];
    for (;;) {
        size_t child = 2 * at;
        if (child < a->count && a->heap[child + 1]->due_ns < a->heap[child]->due_ns)
            child++;
        if (child > a->count || a->heap[child]->due_ns >= t->due_ns)
            break;
        agenda_put(a, at, a->heap[child]);
        at = child;
    }
    agenda_put(a, at, t);
}

static inline void agenda_add(struct agenda *a, struct timer *t, uint64_t due_ns)
{
    if (a->count + 1 >= a->room) {
        a->room = a->room ? 2 * a->room : 1024;
        a->heap = must(realloc(a->heap, a->room * sizeof *a->heap));
    }
    t->due_ns = due_ns;
    agenda_put(a, ++a->count, t);
    agenda_rise(a, a->count);
}

static inline void agenda_remove(struct agenda *a, struct timer *t)
{
    size_t place = t->place;
    if (place == 0)
        return;
    t->place = 0;
    struct timer *last = a->heap[a->count--];
    if (last == t)
        return;
    agenda_put(a, place, last);
    agenda_rise(a, place);
    agenda_sink(a, last->place);
}

/* The timer that is due first, or NULL. */
static inline struct timer *agenda_first(const struct agenda *a) { return a->count ? a->heap[1] : NULL; }

#endif
