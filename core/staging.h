/* staging.h - the folder behind the mount: the live tree, frozen trees, and the way back.
 *
 * Floor 3. Layout of DATA/staging: `current/` is what the mount shows; `ID/` is a tree frozen by a
 * commit, `ID.json` what was known when it was frozen; `ID.modes` the modes of entries that had to
 * be opened up to be read. Nothing here follows links. Not here: FUSE, the catalogue, what is
 * archived.
 *
 * Locking: everything that changes `current/` holds the freeze lock shared (staging_enter/leave);
 * staging_freeze() takes it alone. The lock is in this process: one mount at a time changes
 * `current/`; others only move things back into it, by renames that never replace. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct staging;

/* Opens (and makes, 0700) the folder. `current/` is made 0700 too, for root 1777: root's mount is
 * everybody's. */
int staging_open(const char *path, struct staging **ret, struct err *e);
void staging_close(struct staging *s);
DEFINE_CLEANUP(staging_close, struct staging *)

const char *staging_path(const struct staging *s);
/* Waits until all that was staged and moved is on the disk. Also an error since staging_open() that
 * nobody has been told of: what was written may be gone (syncfs(2)). */
int staging_sync(const struct staging *s, struct err *e);
int staging_root_fd(const struct staging *s); /* O_PATH|O_DIRECTORY of DATA/staging; borrowed */

/* Opens the live tree's top folder anew: after a freeze it is another folder. */
int staging_open_current(const struct staging *s, int *ret_fd, struct err *e);

void staging_enter(struct staging *s);
void staging_leave(struct staging *s);
/* Grows with every change that this process made to the live tree, once it is done: what was
 * counted under the same number still holds. */
uint64_t staging_changes(const struct staging *s);

/* What would stand in the way of a commit, without walking the tree: -ENODATA nothing is staged,
 * -ENOENT a link at the top has no target (relative targets are resolved against `mountpoint`; the
 * name is in the words). A staging area with nothing but dropped litter counts as empty. */
int staging_check(struct staging *s, const char *mountpoint, struct err *e);

struct staging_summary {
        uint64_t files, dirs, links, bytes; /* what is staged, links at the top followed */
        uint64_t excluded;                  /* entries that EXCLUDE keeps here */
        uint64_t litter;                    /* entries that are dropped */
        bool truncated;                     /* the walk was cut at `max_entries` */
};
/* Walks the live tree, at most `max_entries` entries. */
int staging_summarize(struct staging *s, const char *mountpoint, const char *const *exclude,
        uint64_t max_entries, struct staging_summary *ret, struct err *e);

struct staging_measure {
        const char *id;           /* a frozen tree, or NULL ... */
        const char *const *files; /* ... and then absolute paths, NULL-terminated */
        const char *mountpoint;
        const char *const *exclude;
        const char *const *avoid; /* absolute folders that are not entered; NULL-terminated */
        uint64_t max_entries;
        const atomic_bool *stop;
};
/* How many bytes a commit of this will read, and how long its tar stream becomes, about: from sizes
 * and times alone, holes left out. 0: not known, because it was stopped, is too much or too deep.
 * May take long; any thread. */
struct staging_size {
        uint64_t bytes, tar;
};
struct staging_size staging_measure(const struct staging *s, const struct staging_measure *m);

/* Freezes: writes ID.json (fsync), makes the empty sibling `ID/` with current's mode, owner, times,
 * xattrs, then calls `commit(ctx)` (the catalogue row), then exchanges `current` and `ID` under the
 * freeze lock. An error means that nothing has moved, and everything made here is removed again.
 * Without one the tree is frozen, and whoever reads it makes sure first that it is on the disk.
 * After a crash: ID/ empty means not frozen, ID/ with entries means frozen.
 * `still(ctx)`, called under the lock right before the exchange, may refuse (-EBUSY). */
struct staging_freeze_hooks {
        int (*prepare)(void *ctx, struct err *e); /* make the row durable; no lock held */
        int (*still)(void *ctx, struct err *e);   /* under the lock */
        void (*frozen)(void *ctx); /* under the lock, after the exchange: new generation */
        void *ctx;
};
int staging_freeze(struct staging *s, const char *id, const char *json,
        const struct staging_freeze_hooks *hooks, struct err *e);

/* The top folder of a frozen tree. -ENOENT if there is none. */
int staging_open_frozen(const struct staging *s, const char *id, int *ret_fd, struct err *e);
/* The text of ID.json; the caller frees it. */
int staging_read_json(const struct staging *s, const char *id, char **ret, struct err *e);
/* Every id that has a frozen tree. */
int staging_each_frozen(const struct staging *s,
        int (*each)(void *ctx, const char *id, struct err *e), void *ctx, struct err *e);

/* Notes that `path` (below the frozen tree) has `mode`, durably, before it is opened up. */
int staging_note_mode(
        struct staging *s, const char *id, const char *path, mode_t mode, struct err *e);
/* Gives every noted entry its mode again. Harmless when repeated. */
int staging_restore_modes(struct staging *s, const char *id, struct err *e);

/* Moves entries back into the live tree by renames that never replace: `paths` (n of them, relative
 * to the frozen tree; parents are made with the modes they had) or, with n == 0, everything. On any
 * clash all of it goes into `fallback`/ (made with a _2 … where that exists). Repeatable after a
 * crash. ret_where (NULL allowed, the caller frees it): "" or the folder it went into. */
int staging_give_back(struct staging *s, const char *id, const char *const *paths, size_t n,
        const char *fallback, char **ret_where, struct err *e);

/* Names in DATA/staging of files that are aside while they are read as a description. */
#define STAGING_ASIDE ".commit-"
/* Removes ID.json, ID.modes and ID.back that have no tree, and brings back files that are aside.
 * Only for the program that may freeze, before it does. */
int staging_sweep(struct staging *s, struct err *e);

/* Removes a frozen tree and its files. The caller has made sure that the store has everything. */
int staging_release(struct staging *s, const char *id, struct err *e);
/* The same for a tree that holds nothing, or is not there: -ENOTEMPTY if it does. Removes nothing
 * that somebody has staged, whatever the caller believes. */
int staging_drop_empty(struct staging *s, const char *id, struct err *e);
