/* restore_internal.h - one run of a restore, shared by the restore_*.c files and nobody else.
 *
 * Floor 5. One thread. */
#pragma once

#include "buf.h"
#include "catalog.h"
#include "reader.h"
#include "restore.h"

struct range {
        uint64_t start, end; /* in the tar stream */
};

struct ranges {
        struct range *v; /* in order, merged */
        size_t n, cap;
};

struct work {
        struct catalog *catalog;
        const struct catalog_archive *a;
        const struct restore_params *params;
        struct restore_progress progress;
        struct reader *reader;
        struct err *e;

        struct ranges ranges; /* what to read */
        struct ranges late;   /* and after that: hard links that stand before their content */
        bool *found;          /* for every path asked for */
        char **extra;         /* targets of hard links that were asked for without them */
        size_t n_extra, extra_cap;

        size_t at; /* the range that is being read */
        uint64_t offset;
        int64_t ticked;

        struct buf current; /* the member that was read last */
        bool unreadable;    /* it was the source that failed, at `offset` */
        bool wrong;         /* it was the sum of `current` */
};

/* Fills `ranges`. -ENOENT a path that is not in the archive. */
int restore_select(struct work *w, struct err *e);

/* After an error `why` of untar: can the others still be had? Then names the member that is lost,
 * and goes to the one behind it: 1 there is one, 0 there is none; -errno: no, with words in `e`. */
int restore_pass(struct work *w, const struct err *why, struct err *e);
