/* decrypt.h - the verbs that need the private key and nothing else: no catalogue, no network, no
 * configuration. Volumes of an archive become one compressed tar file again, or the files in it.
 *
 * Floor 5. Reads our volumes, every MiB of which is authenticated before it is used, and the
 * archives of the predecessor (legacy.h), which are read through once to be checked before any of
 * it is used. Not here: asking for passphrases. One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct keys_private;

/* Decrypts `files` (NULL-terminated, in the order of their volumes) into `out`, one after the
 * other. `out` gets its name when all is done: until then it is out.partial. -EEXIST if `out` is
 * there. Volumes of different archives, or in the wrong order, are refused (-EINVAL) where their
 * names in the encryption context tell. `progress` may be NULL. */
int decrypt_run(const struct keys_private *key, const char *const *files, const char *out,
        void (*progress)(void *ctx, uint64_t done, uint64_t todo), void *ctx,
        const atomic_bool *stop, struct err *e);

struct decrypt_restore {
        const struct keys_private *key;
        const char *const *files; /* as above */
        const char *to;           /* folder, made if missing */
        const char *const
                *paths; /* NULL-terminated, members or folders, without leading '/'; NULL: all */
        bool overwrite;
        void (*progress)(void *ctx, uint64_t done, uint64_t todo);  /* bytes; NULL allowed */
        void (*warn)(void *ctx, const char *path, const char *why); /* NULL allowed */
        void *ctx;
        const atomic_bool *stop; /* NULL allowed */
};
/* The files in the archive, into a folder: the whole of it is read. 0; 1 done with warnings;
 * -ENOENT a path is not in it, told when all has been read; -EEXIST; -EBADMSG, -EPROTO damage,
 * named: what was good before is there then, whole files only. */
int decrypt_restore(const struct decrypt_restore *r, uint64_t *ret_files, struct err *e);
