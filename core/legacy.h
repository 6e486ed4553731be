/* legacy.h - reads the archives of the Python program that this one follows. Never writes them.
 *
 * Floor 2. One file:
 *
 *     wrapped key   as long as the RSA modulus: RSAES-OAEP (SHA-1, MGF1-SHA-1) of 16 bytes
 *     nonce         16
 *     tag           16
 *     ciphertext    AES-128-EAX of a whole tar, compressed with xz, gzip, bzip2 or not at all
 *
 * The one tag covers everything, so the file is read twice: first to check it, then to decrypt it,
 * with the tag computed again on the way. Memory does not grow with the file. One thread a reader.
 * Calls block on the source. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct keys_private;
struct legacy;

struct legacy_source {
        /* Exactly `len` bytes at `offset`, or an error. */
        int (*pread)(void *ctx, void *data, size_t len, uint64_t offset, struct err *e);
        void *ctx;
        uint64_t size;
};

/* Borrows source.ctx. Unwraps the key: -EBADMSG: it is no such archive, or one for another key, or
 * damaged there (these cannot be told apart). -EPROTO: too short for one. */
int legacy_new(const struct legacy_source *source, const struct keys_private *key,
        struct legacy **ret, struct err *e);
void legacy_free(struct legacy *l);
DEFINE_CLEANUP(legacy_free, struct legacy *)
/* Bytes of the plaintext. */
uint64_t legacy_size(const struct legacy *l);

/* The first reading. `progress` (NULL allowed) is called with the number of bytes read since its
 * last call. -EBADMSG: altered, cut off or damaged; -ECANCELED. */
int legacy_check(struct legacy *l, void (*progress)(void *ctx, size_t n), void *ctx,
        const atomic_bool *stop, struct err *e);
/* The second: the next bytes of plaintext, in order; 0 at the end. Only after legacy_check().
 * -EBADMSG: it has changed since it was checked. */
ssize_t legacy_read(struct legacy *l, void *data, size_t len, struct err *e);
