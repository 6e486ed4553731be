/* decrypt.h - the verb: sealed volumes become one compressed tar file again.
 *
 * Floor 5. Needs the private key and nothing else: no catalogue, no network, no configuration. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct keys_private;

/* Decrypts `files` (NULL-terminated, in the order of their volumes) into `out`, one after the
 * other. Every MiB is authenticated before it is written; `out` gets its name when all is done:
 * until then it is out.partial. -EEXIST if `out` is there. Volumes of different archives, or in the
 * wrong order, are refused where their names in the encryption context tell. `progress` may be
 * NULL. */
int decrypt_run(const struct keys_private *key, const char *const *files, const char *out,
        void (*progress)(void *ctx, uint64_t done, uint64_t todo), void *ctx,
        const atomic_bool *stop, struct err *e);
