/* handles.h - what is open, so that it can be closed when the mount ends without anybody asking for
 * it.
 *
 * After an unmount by a signal the kernel sends no releases any more. Each open file or folder has
 * a link as its first member, and is in one list. Any thread. */
#pragma once

#include "base.h"

#include <pthread.h>

struct handles {
        pthread_mutex_t lock;
        struct handle_link *first;
};

struct handle_link {
        struct handles *all; /* NULL: in no list */
        struct handle_link *next, *prev;
        void (*free)(struct handle_link *l); /* of the whole handle; leaves the list */
};

void handles_init(struct handles *all);
/* Puts a handle into the list; `fn` frees it when handles_done() finds it still there. */
void handles_enter(struct handles *all, struct handle_link *l, void (*fn)(struct handle_link *l));
void handles_leave(struct handle_link *l);
/* Frees what is left. Nobody else uses a handle any more. */
void handles_done(struct handles *all);
