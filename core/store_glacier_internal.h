/* store_glacier_internal.h - shared by the store_glacier*.c files and nobody else. */
#pragma once

#include "aws.h"
#include "glacier_book.h"
#include "store.h"

#include <jansson.h>
#include <pthread.h>

#define OUTPUT_LIFE    (24 * 3600 * CLOCK_NSEC) /* a job's output is there for so long */
#define INVENTORY_LAGS (24 * 3600 * CLOCK_NSEC) /* an archive is in an inventory so much later */

struct node; /* of store_glacier_output.c */

struct glacier {
        struct store base;
        struct aws *aws;
        char *vault, *book_path;
        pthread_mutex_t lock;
        struct glacier_book *book; /* opened on first use, under the lock */
        char id[33];               /* store id, "" until the vault was asked, under the lock */
        struct node *node;         /* the piece of output fetched last, under the lock */
};

static inline struct glacier *glacier_of(struct store *s)
{
        return (struct glacier *)s;
}

/* A request; `below` is what comes after /-/vaults/VAULT in the path. */
struct glacier_call {
        const char *what, *right, *method, *below;
        struct sigv4_pair query[2], headers[4];
        size_t n_query, n_headers;
        const void *body;
        size_t body_len;
        const uint8_t *sha256;
        void *into;
        size_t into_len;
        bool once, counts; /* as in aws.h */
};
int glacier_call(
        struct glacier *g, const struct glacier_call *c, struct aws_answer *ret, struct err *e);

/* Takes the marker of the page `o`: where the next one begins, "" if there is none. -EPROTO: it is
 * that of the page itself, so there would be no end. `what` was asked for. */
int glacier_next_page(
        const json_t *o, char marker[GLACIER_ID_MAX], const char *what, struct err *e);

/* The book and the vault's id: what nearly every call begins with. -ENODEV: no such vault. */
int glacier_ready(struct glacier *g, struct err *e);

/* Older archives of the name that `o` has replaced. Where they may not be removed they stay, and
 * nobody reads them. */
void glacier_remove_others(struct glacier *g, const struct glacier_object *o);

/* store_glacier_upload.c */
int glacier_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e);
int glacier_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e);
const char *glacier_token(struct store_upload *u);
int glacier_put_part(struct store_upload *u, const struct store_part *p, struct err *e);
int glacier_finish(
        struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
void glacier_abort(struct store_upload *u);
void glacier_leave(struct store_upload *u);
int glacier_sweep(
        struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);

/* store_glacier_job.c. o NULL: the inventory. */
int glacier_ask(struct glacier *g, const struct glacier_object *o, const struct store_thaw *t,
        struct err *e);
/* Asks how far a job is, and notes it. -ENOENT: the service does not know it any more, or it
 * failed. */
int glacier_look_at(struct glacier *g, struct glacier_job *j, struct err *e);
/* All jobs of an archive that the service still knows, as one: not done before all are. Of the
 * inventory the newest. ret->id is "" if there is none. */
int glacier_job_now(
        struct glacier *g, const struct glacier_object *o, struct glacier_job *ret, struct err *e);

/* store_glacier_output.c */
int glacier_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e);
void glacier_node_free(struct node *n);
/* Takes the output of an inventory job into the book. */
int glacier_take_inventory(struct glacier *g, const struct glacier_job *j, struct err *e);
