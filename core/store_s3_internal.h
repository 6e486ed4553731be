/* store_s3_internal.h - shared by the store_s3_*.c files and nobody else. */
#pragma once

#include "store_s3.h"

#include "aws.h"
#include "buf.h"

#include <pthread.h>

#define S3_INDEX_CLASS "STANDARD"

/* What is known of the service, learned by asking. */
enum s3_knows { S3_UNKNOWN, S3_YES, S3_NO };

struct s3_store {
        struct store base;
        struct aws *aws;
        char *bucket, *prefix; /* prefix "" or with '/' at its end */
        char *storage_class;
        bool path_style;
        _Atomic int conditions; /* does it have If-None-Match? enum s3_knows */
        _Atomic int thaws;      /* are its cold classes cold? */
};

_unused_ static inline struct s3_store *s3_of(struct store *s)
{
        return (struct s3_store *)s;
}

/* One request. Set what, right, method, query, headers, body in `c`; bucket and key are added. */
struct s3_request {
        struct aws_call call;
        const char *name; /* NULL: the bucket itself */
};
int s3_do(struct s3_store *s, const struct s3_request *r, struct aws_answer *a, struct err *e);
int s3_hidden_error(
        struct s3_store *s, const struct s3_request *r, struct aws_answer *a, struct err *e);

/* store_s3_state.c */
int s3_state(struct store *s, const char *name, struct store_state *ret, struct err *e);
int s3_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e);
int s3_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e);
int s3_remove(struct store *s, const char *name, struct err *e);
/* A whole object of at most `max` bytes. */
int s3_get_small(struct s3_store *s, const char *name, size_t max, struct buf *ret, struct err *e);
bool s3_is_cold(const struct s3_store *s, const char *storage_class);
/* x-amz-restore: ongoing-request="false", expiry-date="…" in any order. */
void s3_parse_restore(const char *text, struct store_state *st);

/* store_s3_list.c */
int s3_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
int s3_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);
int s3_abort_upload(struct s3_store *s, const char *name, const char *token, struct err *e);

/* store_s3_upload.c */
int s3_begin(struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e);
int s3_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e);
const char *s3_token(struct store_upload *u);
int s3_put_part(struct store_upload *u, const struct store_part *p, struct err *e);
int s3_finish(struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], char *ret_address,
        struct err *e);
void s3_abort(struct store_upload *u);
void s3_leave(struct store_upload *u);

/* store_s3_put.c: an object in one request */
struct s3_put {
        const char *name, *storage_class;
        const void *data;
        size_t len;
        const uint8_t *sha256; /* NULL: computed */
        bool only_new;         /* -EEXIST if it is there, where the service can say so */
};
int s3_put(struct s3_store *s, const struct s3_put *p, struct err *e);
