/* decrypt_internal.h - the plaintext of files one after the other, whichever of the two formats.
 *
 * Floor 5, private to decrypt. One thread. */
#pragma once

#include "decrypt.h"

struct plain;

struct plain_params {
        const struct keys_private *key;
        const char *const *files; /* NULL-terminated */
        bool whole;               /* volumes of ours must begin with the first */
        void (*progress)(void *ctx, uint64_t done, uint64_t todo); /* NULL allowed */
        void *ctx;
        const atomic_bool *stop; /* NULL allowed */
};

/* Looks at the sizes; opens nothing yet. */
int plain_new(const struct plain_params *p, struct plain **ret, struct err *e);
void plain_free(struct plain *p);
DEFINE_CLEANUP(plain_free, struct plain *)
/* The next bytes, authenticated; 0 at the end of the last file, when all of them have been found
 * whole. Also a compress_read_fn. */
ssize_t plain_read(void *plain, void *data, size_t len, struct err *e);
