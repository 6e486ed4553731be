/* commit.h - the verb: a frozen tree or a list of files becomes a stored archive.
 *
 * Floor 5. gather -> tar -> blocks -> compress -> seal -> parts -> store, recorded in the catalogue
 * so that a run that was cut off anywhere can be taken up again: finished volumes stay, only the
 * unfinished one is packed anew, under a new key. Nothing staged is removed before the row that
 * says `stored` is durable. The caller holds the job's lock. One thread calls; others work inside.
 */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct catalog;
struct config;
struct staging;

struct commit_env {
        const struct config *config;
        const char *data; /* data folder */
        struct staging *staging;
        struct catalog *catalog; /* this run's own connection */
        const atomic_bool *stop; /* true: end at the next safe point with -ECANCELED */
        void (*changed)(void *ctx, const char *id); /* state changed; may be NULL */
        /* Whether other jobs wait for this thread: then one that has only waited for its store for
         * a minute, or as long as the patience, ends with -EAGAIN. May be NULL. */
        bool (*others)(void *ctx);
        /* How long a store may be away in the middle of an upload before the run ends with -EAGAIN;
         * 0: for ever. The daily window is waited for. */
        int64_t patience_ns;
        void *ctx;
};

/* Takes archive `id` as far as it goes. 0 stored; 1 stored with warnings, or incomplete; -ECANCELED
 * stopped (resumable); -EAGAIN it waits for something outside (row and words say what); another
 * negative value: failed for good. The row's state has been set in every case. */
int commit_run(const struct commit_env *env, const char *id, struct err *e);

/* Undoes a commit that is not stored: what was sent is removed from the store, the staged tree goes
 * back into the staging area, the row disappears. Can be repeated after a crash. */
int commit_abort(const struct commit_env *env, const char *id, struct err *e);
