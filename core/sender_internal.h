/* sender_internal.h - shared by the sender*.c files and nobody else.
 *
 * A volume's upload is opened (begun or resumed), gets parts from all threads, is finished. One
 * lock guards everything; it is never held over a call to store, spool or hook. */
#pragma once

#include "sender.h"

#include "store.h"

#include <pthread.h>

enum part_state { PART_READY, PART_SENDING, PART_SENT };

struct sending_part {
        struct sender_part p;
        enum part_state state;
};

struct sending {
        struct sending *next;
        unsigned number;
        char *object, *token;
        struct sending_part *parts;
        size_t n, room;
        size_t n_sent;
        size_t first; /* no part before this index is ready */
        bool packed;
        uint64_t size;
        uint8_t tree_hash[32];
        struct store_upload *upload;
        unsigned flying; /* parts that are being sent */
        bool busy;       /* being opened or finished */
        bool lost;       /* the store has forgotten the upload */
};

struct sender {
        struct sender_params params;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        struct sending *head, *tail;
        struct err failed; /* code 0: none */
        unsigned damaged;  /* volume that the spool has lost */
        bool ending;
        bool shut;          /* outside the window */
        unsigned failures;  /* in a row, of whichever thread */
        unsigned active;    /* threads that talk to the store */
        int64_t not_before; /* monotonic: no new try before this */
        pthread_t threads[32];
        unsigned n_threads;
};

enum step { STEP_NONE, STEP_OPEN, STEP_PART, STEP_FINISH };

struct task {
        enum step step;
        struct sending *v;
        size_t index;                /* PART */
        struct sender_part part;     /* a copy: the array may move */
        struct store_upload *upload; /* PART, FINISH */
};

/* sender_upload.c: without the lock. 1: the volume is confirmed. */
int sender_open_upload(struct sender *s, struct sending *v, struct err *e);
int sender_put(struct sender *s, const struct task *t, void *room, struct err *e);
int sender_finish(struct sender *s, const struct task *t, struct err *e);
