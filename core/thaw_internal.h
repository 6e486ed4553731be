/* thaw_internal.h - one restore on its way, shared by the thaw*.c files and nobody else. */
#pragma once

#include "thaw.h"

#include "catalog.h"
#include "catalog_restore.h"
#include "store.h"

struct thaw {
        const struct thaw_env *env;
        struct catalog *catalog;
        struct catalog_restore r;
        struct catalog_archive a;
        struct thaw_plan plan;
        struct store *store;
        bool ranges;      /* the store thaws, and charges for, ranges of objects */
        atomic_bool halt; /* the program ends, or the restore is not wanted any more */
        int64_t ticked;
        uint64_t goal;          /* bytes of content that are fetched by themselves */
        int64_t counted;        /* monotonic; when the rate was taken, 0: not yet */
        uint64_t counted_bytes; /* done_bytes then */
};

/* A sentence for the archive's log. */
void thaw_log(struct thaw *t, char level, const char *fmt, ...) _printf_(3, 4);
/* Shows how far it is, a few times a second, and looks whether it is still wanted. */
void thaw_tick(struct thaw *t);

/* thaw_range.c: the objects of a plan whose files are known, and its sums. */
int thaw_ranges(
        struct catalog *c, const struct catalog_archive *a, struct thaw_plan *p, struct err *e);

/* thaw_ask.c: asks for what is cold and not asked for. 1: all is ready; 0: not yet; -errno. Sets
 * ready_until to the earliest of the objects. */
int thaw_ask(struct thaw *t, struct err *e);

/* Of a store that thaws ranges: asks for every piece, also where it was asked before. What it has,
 * or has on its way, it is not asked for twice; what it lost, it is. */
int thaw_ask_again(struct thaw *t, struct err *e);

/* thaw_fetch.c: into the cache, or the target folder. 0: all that was fetched is as recorded, but
 * for what `note` counts in words. */
int thaw_fetch(struct thaw *t, struct buf *note, struct err *e);
/* Takes what it brought out of the cache. */
void thaw_drop(struct thaw *t);
