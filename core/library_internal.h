/* library_internal.h - shared by the library_*.c files and nobody else. */
#pragma once

#include "autoglacier.h"
#include "base.h"
#include "err.h"

#define AGL_API __attribute__((visibility("default")))

struct agl {
        char *config_file; /* or NULL: the default place */
};

/* A list of strings that a caller may change. */
struct agl_list {
        char **v; /* NULL-terminated once anything was added */
        size_t n, cap;
};

/* The sentence goes to the caller; returns the code. */
int library_error(int code, const struct err *e, struct agl_error *ret);
struct config;
struct keyring;
/* NULL or "": there is none. */
int library_unlock(struct keyring *keys, const char *passphrase, struct err *e);
/* agl_restore() of archive `id` from a store that must be asked first. */
int library_thaw(
        const struct config *config, const char *id, const struct agl_restore *r, struct err *e);
/* The part of a caller's struct that it knows of, the rest zero. -EINVAL for a size that is none.
 */
int library_take(void *to, size_t len, const void *from, struct err *e);
