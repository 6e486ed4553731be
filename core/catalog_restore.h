/* catalog_restore.h - restores as rows: what was asked for, how far it is, until when it lasts.
 *
 * Floor 3, a part of the catalogue; threads and durability as in catalog.h. Not here: what a state
 * leads to (thaw.h). */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;

enum restore_state {
        RESTORE_REQUESTED, /* nothing has been asked of the store yet, or not of all objects */
        RESTORE_THAWING,   /* the store has been asked for all of them */
        RESTORE_FETCHING,  /* content is on its way into the cache or the target folder */
        RESTORE_CHECKED,   /* all that was fetched has the SHA-512 that was recorded */
        RESTORE_READY,     /* can be read; until ready_until, where it went into the cache */
        RESTORE_EXPIRED,
        RESTORE_NEEDS_KEY, /* as FETCHING, and a private key must be unlocked first */
        RESTORE_CANCELLED,
        RESTORE_FAILED,
};
/* "requested", "thawing", … "needs-key", … */
const char *restore_state_name(enum restore_state s);

struct catalog_restore {
        int64_t row;
        char *archive; /* id */
        char *name;    /* of the archive; read only */
        enum restore_state state;
        int64_t created, changed;
        char *tier; /* "bulk", "standard", "expedited" */
        unsigned days;
        char *paths; /* each ended by a zero byte, sorted */
        size_t paths_len;
        char *target; /* folder, or "" */
        bool overwrite;
        double price;        /* USD; below 0: not known */
        int64_t deadline;    /* ns; 0: at once */
        int64_t ready_until; /* ns; 0: not ready yet */
        int64_t retry_at;    /* ns; not looked at before */
        unsigned tries;      /* looks since the state changed */
        bool begun;
        uint64_t todo_files, todo_bytes, done_files, done_bytes;
        uint64_t fetched;     /* bytes from the store */
        uint64_t rate;        /* bytes of content a second, lately */
        int64_t seconds_left; /* of fetching; below 0: not known */
        int64_t rate_at; /* ns; when these two were true: they age with a program that is gone */
        bool cancel_wanted;
        char *error;
};
void catalog_restore_done(struct catalog_restore *r);
/* Requested up to checked, and needs-key: something is still to be done. */
bool restore_is_active(enum restore_state s);

/* Adds one in state REQUESTED and sets row; NULL strings count as "". If the same (archive, paths,
 * target) is active, *ret_old is true and row is that one's: asking twice is harmless. */
int catalog_restore_add(struct catalog *c, struct catalog_restore *r, bool *ret_old, struct err *e);
/* 1 if the same (archive, paths, target) is active, 0 if not, -errno. */
int catalog_restore_is_known(struct catalog *c, const struct catalog_restore *r, struct err *e);
int catalog_restore_get(
        struct catalog *c, int64_t row, struct catalog_restore *ret, struct err *e); /* -ENOENT */
/* Of one archive, or of all (NULL); in order of creation. Non-zero from `each` ends it and is
 * returned. */
int catalog_restore_each(struct catalog *c, const char *archive,
        int (*each)(void *ctx, const struct catalog_restore *r), void *ctx, struct err *e);
/* Everything that changes in the life of a restore, as it is in `r`, state included; stamps
 * `changed`, keeps what the archive's `state` says in step. cancel_wanted is read back, not
 * written. */
int catalog_restore_update(struct catalog *c, struct catalog_restore *r, struct err *e);
/* Counts for progress, LATER: done_files, done_bytes, fetched, rate, seconds_left; stamps rate_at.
 * Reads cancel_wanted back. */
int catalog_restore_progress(struct catalog *c, struct catalog_restore *r, struct err *e);
int catalog_restore_want_cancel(struct catalog *c, int64_t row, struct err *e);
/* 1 if a restore of this archive that is ready at `now` (and went into the cache) holds the member
 * `path`, 0 if none does, -errno. */
int catalog_restore_covers(
        struct catalog *c, const char *archive, const char *path, int64_t now, struct err *e);

struct catalog_thaw {
        uint64_t start, len; /* bytes of the object */
        int64_t asked;       /* ns; 0: never */
        int64_t accepted;    /* ns; 0: not known */
        unsigned cold_seen;
};
/* What was asked of the store last for an object, of a range that holds [start, start + len); all
 * zero if nothing. */
int catalog_thaw_get(struct catalog *c, const char *store, const char *object, uint64_t start,
        uint64_t len, struct catalog_thaw *ret, struct err *e);
int catalog_thaw_set(struct catalog *c, const char *store, const char *object,
        const struct catalog_thaw *t, struct err *e);

/* Rows that want to be looked at by `now`: active ones, and ready ones that may expire. *ret_n at
 * most `max`. *ret_next: when the next one after these wants it; INT64_MAX: none. */
int catalog_restore_due(struct catalog *c, int64_t now, int64_t *ret_rows, size_t max,
        size_t *ret_n, int64_t *ret_next, struct err *e);
/* Those that wait for a key are looked at again at once. */
int catalog_restore_key_came(struct catalog *c, struct err *e);
