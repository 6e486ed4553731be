/* restore.h - the verb: members of a stored archive come back into a folder.
 *
 * Floor 5. Whole, or single paths by range through the block table: only what holds them is
 * fetched. Content is authenticated frame by frame and checked against its SHA-512 before a
 * file gets its final name. Not here: thawing, asking for passphrases. One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct catalog;
struct catalog_archive;
struct catalog_member;
struct store;

struct restore_progress {
        uint64_t files, bytes;           /* done so far */
        uint64_t todo_files, todo_bytes; /* in all */
        uint64_t fetched;                /* bytes from the store */
        uint64_t warnings;
        uint64_t lost; /* members that are damaged, or whose volume is missing; each was told */
};

struct restore_params {
        const char *const
                *paths; /* NULL-terminated, members or folders, without leading '/'; NULL: all */
        /* With `paths` NULL: which members; NULL: all. A hard link brings what it is one to. */
        bool (*want)(void *ctx, const struct catalog_member *m);
        void *want_ctx;
        const char *to; /* folder, made if missing */
        bool overwrite;
        int (*unwrap)(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
                uint8_t ret_data_key[32], struct err *e);
        void *unwrap_ctx;
        void (*progress)(void *ctx,
                const struct restore_progress *p); /* a few times a second; NULL allowed */
        void (*warn)(void *ctx, const char *path, const char *why); /* NULL allowed */
        void *ctx;
        const atomic_bool *stop; /* NULL allowed */
};

/* 0; 1 done with warnings (something could not be set); -ENOENT a path is not in the archive,
 * named, and then nothing was written; -EEXIST; -EBADMSG some members are damaged: each was told to
 * `warn`, the others are there; -EPROTO a tar that is refused; -EREMOTE, -ENOKEY.
 */
int restore_run(struct catalog *c, struct store *s, const struct catalog_archive *a,
        const struct restore_params *params, struct restore_progress *ret, struct err *e);
