/* verify.h - the verb: is what the store holds what was stored, and can it be read?
 *
 * Floor 5. Not here: asking for passphrases, printing. One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct catalog;
struct catalog_archive;
struct keys_private;
struct store;

/* One thing that is wrong. `object` in the store, or NULL; `path` in the archive, or NULL; `offset`
 * in the object (or in the tar stream, for a path). */
struct verify_damage {
        const char *object;
        const char *path;
        uint64_t offset;
        const char *why;
};

typedef int (*verify_unwrap_fn)(void *ctx, const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e);

struct verify_params {
        verify_unwrap_fn unwrap; /* only verify_data() */
        void *unwrap_ctx;
        void (*damage)(void *ctx, const struct verify_damage *d);
        void (*progress)(void *ctx, uint64_t done, uint64_t todo); /* bytes; NULL allowed */
        /* The store does not say it now: what it says of an object is from `when` (ns), the date of
         * an inventory, or of its own confirmation where no inventory has it yet. NULL allowed. */
        void (*seen)(void *ctx, int64_t when, bool inventory);
        /* Of an object the store tells its size and no checksum that can be compared, and reading
         * it is not for nothing: it has that size, no more is known. NULL allowed. */
        void (*sized)(void *ctx);
        void *ctx;
        const atomic_bool *stop; /* NULL allowed */
};

/* Against the store's listing and, where reading costs nothing, the hash of every part: no key
 * needed. 0 all is well, -EBADMSG damage (each told), -ENODEV the store is not there. */
int verify_objects(struct catalog *c, struct store *s, const struct catalog_archive *a,
        const struct verify_params *p, struct err *e);

/* Reads everything: tags, blocks, tar, and the SHA-512 of every file. Goes on after damage. */
int verify_data(struct catalog *c, struct store *s, const struct catalog_archive *a,
        const struct verify_params *p, struct err *e);

/* The manifest's own object: -ENOENT it is missing; with `unwrap` (else NULL), and where it can be
 * read now, -EBADMSG or -EPROTO it is damaged. manifest_put_again() mends both. */
int verify_manifest(struct store *s, const struct catalog_archive *a, verify_unwrap_fn unwrap,
        void *ctx, struct err *e);

/* Proves that `key` opens archive `a`: unwraps the data key of a volume in the store and
 * authenticates its header; of the manifest where the volume is cold. 1: neither can be read now (s
 * is NULL, the store is away, all is cold), but by the catalogue the archive was sealed for this
 * key, and it is the other half of the public key where that is the one in `public_path`. Without
 * an archive (NULL), that it is the other half of the public key in `public_path`. Notes the proof
 * in the catalogue, which ends NOT YET A BACKUP for this reason. -EACCES: another key. */
int verify_key(struct catalog *c, struct store *s, const struct catalog_archive *a,
        struct keys_private *key, const char *public_path, struct err *e);
