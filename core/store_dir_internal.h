/* store_dir_internal.h - shared by the store_dir*.c files and nobody else. */
#pragma once

#include "store_dir.h"

#define DIR_PARTIAL ".partial" /* what an upload that is not finished ends with */

struct dir_store {
        struct store base;
        char *path;
};

_unused_ static inline struct dir_store *dir_of(struct store *s)
{
        return (struct dir_store *)s;
}

/* As err_errno(); but what a network's disk says when its server came back as another is -ENODEV,
 * as of a disk that is not there. */
int dir_failed(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);
/* The folder, opened anew for every call: a disk may be unplugged and plugged in again in between.
 * -ENODEV it is not there. */
int dir_open_root(const struct dir_store *d, int *ret, struct err *e);
/* Opens below the folder, following no link on the way. A descriptor, or -errno. */
int dir_open_below(int root, const char *name, int flags, mode_t mode);
/* -EINVAL: it would lead out of the folder, or is an upload's. */
int dir_check_name(const char *name, struct err *e);

/* store_dir_upload.c */
void dir_abort(struct store_upload *base);
int dir_begin(struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e);
int dir_put_part(struct store_upload *base, const struct store_part *p, struct err *e);
int dir_finish(
        struct store_upload *base, uint64_t size, const uint8_t tree_hash[32], struct err *e);
int dir_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e);
const char *dir_token(struct store_upload *u);
int dir_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);

/* store_dir_objects.c */
int dir_state(struct store *s, const char *name, struct store_state *ret, struct err *e);
int dir_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e);
int dir_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e);
int dir_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
int dir_remove(struct store *s, const char *name, struct err *e);
