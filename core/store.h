/* store.h - where sealed archives live. One interface; a directory, S3 and Glacier vaults behind
 * it.
 *
 * Floor 3. A store is a struct of required functions (store_ops) that each backend exports through
 * one constructor on the floor above. Retry, delay and faults are stores around a store. Callers
 * know nothing of any service. Names of objects are relative, with '/'
 * ("archives/ORIGIN/ID-0001.tar.xz.esdk"). A store may be used by several threads; an upload by one
 * at a time. Calls block. */
#pragma once

#include "base.h"
#include "err.h"

struct store;
struct store_upload;

enum store_access {
        STORE_READY,   /* can be read now */
        STORE_COLD,    /* must be thawed first */
        STORE_THAWING, /* has been asked for */
};

struct store_state {
        enum store_access access;
        uint64_t size;
        int64_t modified;    /* ns; 0 if not known */
        int64_t ready_until; /* ns; 0 if it does not expire */
};

struct store_traits {
        bool direct;         /* parts are written in place: no spool, no part SHA-256 */
        bool cold;           /* objects may need thawing, and reading may cost money */
        uint64_t max_object; /* bytes */
        uint32_t part_size;  /* wished for, bytes, a multiple of 1 MiB */
        const char *kind;    /* "dir" */
};

struct store_part {
        unsigned number; /* from 1 */
        uint64_t offset;
        const void *data;
        size_t len;
        const uint8_t *tree_hash; /* 32 bytes */
        const uint8_t *sha256;    /* 32 bytes; NULL for direct stores */
};

typedef int (*store_list_fn)(
        void *ctx, const char *name, const struct store_state *st, struct err *e);

struct store_ops {
        /* Says that the store is there, writable and the one we mean: -ENODEV with words when the
         * folder is missing or has not the id `expected` (NULL: any). ret_id (NULL allowed) has 33
         * bytes. */
        int (*check)(struct store *s, const char *expected, char *ret_id, struct err *e);
        /* Makes the store, writing its id if there is none. Harmless when repeated. */
        int (*init)(struct store *s, struct err *e);
        /* An upload of a new object; what an earlier, unfinished upload of the same name left is
         * discarded. -EEXIST if a finished object of that name is there. */
        int (*begin)(struct store *s, const char *name, uint64_t max_size,
                struct store_upload **ret, struct err *e);
        int (*put_part)(struct store_upload *u, const struct store_part *p, struct err *e);
        /* Makes the object visible and durable; returns only when every byte is confirmed. Frees
         * the upload in every case. */
        int (*finish)(
                struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
        /* Forgets an upload and removes what it left behind. */
        void (*abort)(struct store_upload *u);
        int (*state)(struct store *s, const char *name, struct store_state *ret, struct err *e);
        int (*thaw)(
                struct store *s, const char *name, const char *tier, unsigned days, struct err *e);
        /* Exactly `len` bytes at `offset`. -EPROTO if the object ends before; -EREMOTE if cold. */
        int (*get)(struct store *s, const char *name, void *data, size_t len, uint64_t offset,
                struct err *e);
        /* Every finished object whose name begins with `prefix`, in any order. */
        int (*list)(
                struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
        int (*remove)(struct store *s, const char *name, struct err *e); /* missing is no error */
        /* Bytes that can still be stored; UINT64_MAX if there is no limit or it is not known. */
        uint64_t (*space)(struct store *s);
        void (*close)(struct store *s);
};

/* Every backend's struct begins with this. */
struct store {
        const struct store_ops *ops;
        struct store_traits traits;
        char *url;
};

/* Every backend's upload begins with this. */
struct store_upload {
        struct store *store;
};

/* Thin calls through the table. */
int store_check(struct store *s, const char *expected, char *ret_id, struct err *e);
int store_init(struct store *s, struct err *e);
int store_begin(struct store *s, const char *name, uint64_t max_size, struct store_upload **ret,
        struct err *e);
int store_put_part(struct store_upload *u, const struct store_part *p, struct err *e);
/* Takes *u and sets it to NULL. */
int store_finish(
        struct store_upload **u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
void store_abort(struct store_upload *u);
DEFINE_CLEANUP(store_abort, struct store_upload *)
int store_state(struct store *s, const char *name, struct store_state *ret, struct err *e);
int store_thaw(struct store *s, const char *name, const char *tier, unsigned days, struct err *e);
int store_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e);
int store_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
int store_remove(struct store *s, const char *name, struct err *e);
uint64_t store_space(struct store *s);
void store_close(struct store *s);
DEFINE_CLEANUP(store_close, struct store *)
