/* store_s3_internal.h - shared by the store_s3_*.c files and nobody else. */
#pragma once

#include "store_s3.h"

#include "aws.h"
#include "buf.h"

#include <pthread.h>

#define S3_INDEX_CLASS "STANDARD"
#define S3_MAX_PARTS   10000u

/* What is known of the service, learned by asking. */
enum s3_knows { S3_UNKNOWN, S3_YES, S3_NO };

/* Headers that can be left out. A request has one kind of them at most. */
enum s3_optional { S3_CHECKSUMS, S3_ATTRIBUTES, S3_OPTIONAL };

struct s3_store {
        struct store base;
        struct aws *aws;
        char *bucket, *prefix; /* prefix "" or with '/' at its end */
        char *storage_class;
        bool path_style;
        _Atomic int conditions;         /* does it have If-None-Match? enum s3_knows */
        _Atomic int thaws;              /* are its cold classes cold? */
        _Atomic int takes[S3_OPTIONAL]; /* does it take such headers? */
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
/* 44 characters of base64. */
bool s3_decode_sha256(const char *text, uint8_t out[32]);
/* x-amz-restore: ongoing-request="false", expiry-date="…" in any order. */
void s3_parse_restore(const char *text, struct store_state *st);

/* store_s3_list.c */
int s3_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
int s3_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);
int s3_abort_upload(struct s3_store *s, const char *name, const char *token, struct err *e);

/* An upload. */
struct s3_part {
        uint64_t size; /* 0: the service has not got it */
        char etag[100];
        uint8_t sha256[32];
        bool confirmed; /* the service gave that SHA-256 itself */
};

struct s3_upload {
        struct store_upload base;
        char *name, *id; /* id NULL: not begun at the service */
        bool index, replace;
        pthread_mutex_t begin_lock; /* held while it is begun */
        pthread_mutex_t lock;       /* parts */
        struct s3_part *parts;      /* number - 1 */
        unsigned n_parts, room;
        /* An index object is kept back as long as it is one part: then it goes in one request. */
        void *held;
        size_t held_len;
        uint8_t held_sha256[32];
};

_unused_ static inline struct s3_upload *s3_up(struct store_upload *u)
{
        return (struct s3_upload *)u;
}

_unused_ static inline struct s3_store *s3_store_of(const struct s3_upload *u)
{
        return s3_of(u->base.store);
}

/* store_s3_upload.c */
struct s3_upload *s3_upload_new(struct store *s, const struct store_new *n, const char *id);
void s3_upload_free(struct s3_upload *u);
/* What the service has of part `number`. Any thread. */
int s3_note_part(struct s3_upload *u, unsigned number, const struct s3_part *part);
int s3_check_number(const struct s3_upload *u, unsigned number, struct err *e);
int s3_send_part(struct s3_upload *u, const struct store_part *p, struct err *e);
int s3_begin(struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e);
/* store_s3_resume.c */
int s3_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e);
/* store_s3_upload.c, store_s3_finish.c */
const char *s3_token(struct store_upload *u);
int s3_put_part(struct store_upload *u, const struct store_part *p, struct err *e);
int s3_finish(struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
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
