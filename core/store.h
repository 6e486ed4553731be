/* store.h - where sealed archives live. One interface; a directory, S3 and Glacier vaults behind
 * it.
 *
 * Floor 3. A store is a struct of required functions (store_ops) that each backend exports through
 * one constructor on the floor above. Retry, delay and faults are stores around a store. Callers
 * know nothing of any service. Names of objects are relative, with '/'
 * ("archives/ORIGIN/ID-0001.tar.xz.esdk").
 *
 * A store may be used by several threads. store_put_part() may be called by several threads at once
 * on one upload where traits.direct is false (no two for the same part number); everything else on
 * an upload by one thread at a time. Calls block; those over a network end with -ECANCELED in under
 * a second once the flag of store_control is up.
 *
 * An upload to a store that is not direct outlives the program: store_begin(), then keep
 * store_token() where it is durable, then parts in any order, then store_finish(). After a crash
 * store_resume() tells which parts the store has. Only store_abort() and store_sweep() take back
 * what was sent; store_leave() lets go of an upload that goes on later. Nothing in normal work
 * removes an object. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct store;
struct store_upload;

enum store_access {
        STORE_READY,   /* can be read now */
        STORE_COLD,    /* must be thawed first */
        STORE_THAWING, /* has been asked for */
};

/* What the store itself says of the content, without reading it. */
enum store_hash {
        STORE_HASH_NONE,
        STORE_HASH_SHA256,       /* of the object's bytes */
        STORE_HASH_SHA256_PARTS, /* SHA-256 over the SHA-256s of its `hash_parts` parts, in order */
        STORE_HASH_TREE,         /* tree_hash.h */
};

struct store_state {
        enum store_access access;
        uint64_t size;
        int64_t modified;       /* ns; 0 if not known */
        int64_t ready_until;    /* ns; 0 if it does not expire */
        enum store_hash hashed; /* not from store_list() */
        unsigned hash_parts;
        uint8_t hash[32];
        char storage_class[32]; /* in the service's words; "" if it has none */
        int64_t seen;           /* ns; the store said all this then and not now; 0: now */
        bool listed;            /* it was in the inventory of that time */
};

struct store_traits {
        bool direct;         /* parts are written in place: no spool, no part SHA-256, no resume */
        bool cold;           /* objects may need thawing, and reading may cost money */
        bool asks;           /* store_init() makes something in somebody's account: only where the
                                user asked for it */
        bool inventory;      /* store_list() tells what an old list said: store_thaw("") asks for a
                                new one, store_state("") takes it in and dates it (modified) */
        uint64_t max_object; /* bytes */
        uint32_t part_size;  /* smallest useful, bytes, a power of two of MiB */
        unsigned max_parts;  /* of one upload; 0: no limit */
        const char *kind;    /* "dir", "s3", "glacier" */
};

struct store_part {
        unsigned number; /* from 1 */
        uint64_t offset;
        const void *data;
        size_t len;               /* the upload's part size, the last one less */
        const uint8_t *tree_hash; /* 32 bytes */
        const uint8_t *sha256;    /* 32 bytes; NULL for direct stores */
};

/* A new object. Strings are borrowed for the call, except where said. */
struct store_new {
        const char *name;
        uint64_t max_size;  /* bytes it may at most have; UINT64_MAX: not known, but one part or few
                             */
        uint32_t part_size; /* of store_part_size(); 0: let store_begin() choose as that does */
        bool index;         /* small, and must always be readable: never goes into a cold class */
        bool replace;       /* an object of that name is replaced, not -EEXIST */
        const char *archive_id;  /* for stores without names; NULL allowed */
        const char *description; /* the user's text, likewise; NULL: private */
};

/* A part that the store has of an unfinished upload. */
struct store_had {
        unsigned number;
        uint64_t size;
        enum store_hash hashed; /* NONE, SHA256 or TREE, of this part */
        uint8_t hash[32];
};
typedef int (*store_had_fn)(void *ctx, const struct store_had *h, struct err *e);

struct store_thaw {
        const char *tier; /* "bulk", "standard", "expedited" */
        unsigned days;
        uint64_t offset; /* what will be read, in whole MiB; a store that thaws whole objects */
        uint64_t len;    /* ignores it. 0: to the end */
};

/* What a caller has to say while calls run. The functions come from the thread that is in
 * the call; any may be NULL. */
struct store_control {
        const atomic_bool *stop; /* true: give up at once with -ECANCELED */
        /* Before `bytes` of a part leave: may block, so as to hold a rate. */
        void (*sending)(void *ctx, size_t bytes);
        /* A try failed with `why` and another follows after `wait_ns`. tries: from 1. */
        void (*waiting)(void *ctx, const struct err *why, unsigned tries, int64_t wait_ns);
        /* What was waited for has got through. */
        void (*over)(void *ctx);
        void *ctx;
        unsigned tries; /* before it is given up; 0: as many as the store thinks right */
};

typedef int (*store_list_fn)(
        void *ctx, const char *name, const struct store_state *st, struct err *e);
/* Whether an unfinished upload is still wanted. */
typedef bool (*store_keep_fn)(void *ctx, const char *name, const char *token);

struct store_ops {
        /* Says that the store is there, writable and the one we mean: -ENODEV with words when the
         * folder is missing or has not the id `expected` (NULL: any). ret_id (NULL allowed) has 33
         * bytes. */
        int (*check)(struct store *s, const char *expected, char *ret_id, struct err *e);
        /* Makes the store, writing its id if there is none. Harmless when repeated. */
        int (*init)(struct store *s, struct err *e);
        /* An upload of a new object. Direct stores discard what an earlier, unfinished upload of
         * the same name left; the others leave it to store_sweep(). -EEXIST if a finished object of
         * that name is there. */
        int (*begin)(struct store *s, const struct store_new *n, struct store_upload **ret,
                struct err *e);
        /* See store_resume(). Direct stores: -ENOTSUP. */
        int (*resume)(struct store *s, const struct store_new *n, const char *token,
                store_had_fn each, void *ctx, struct store_upload **ret, struct err *e);
        const char *(*token)(struct store_upload *u);
        /* Durable and checked by the store when it returns, where the store is not direct. Sending
         * a part again replaces it. */
        int (*put_part)(struct store_upload *u, const struct store_part *p, struct err *e);
        /* Makes the object visible and durable; returns only when every byte is confirmed. Frees
         * the upload, except with -EAGAIN and -EBUSY: then it can be called again. After another
         * failure the upload can be resumed, or swept. */
        int (*finish)(
                struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
        /* Forgets an upload and removes what it left behind. */
        void (*abort)(struct store_upload *u);
        /* Forgets an upload; what was sent stays, so that it can be resumed. */
        void (*leave)(struct store_upload *u);
        /* See store_sweep(). */
        int (*sweep)(
                struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);
        int (*state)(struct store *s, const char *name, struct store_state *ret, struct err *e);
        /* Asks for it. 0 also if it was asked for before, or needs no thawing. */
        int (*thaw)(struct store *s, const char *name, const struct store_thaw *t, struct err *e);
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
        struct store_control control;
        struct store *inner; /* of a store around a store; NULL otherwise */
};

/* Every backend's upload begins with this. */
struct store_upload {
        struct store *store;
        uint32_t part_size; /* every part but the last has it; 0: any (direct stores) */
};

/* Set before other threads use the store. Given on to the stores inside. */
void store_set_control(struct store *s, const struct store_control *c);
bool store_stopped(const struct store *s);

/* Part size for an object of at most max_size bytes: traits.part_size doubled until max_parts are
 * enough. Pure. */
uint32_t store_part_size(const struct store *s, uint64_t max_size);

/* Thin calls through the table. */
int store_check(struct store *s, const char *expected, char *ret_id, struct err *e);
/* The same for those who only read: a store that cannot be written to (a disk mounted read-only) is
 * good enough. */
int store_check_readable(struct store *s, const char *expected, char *ret_id, struct err *e);
int store_init(struct store *s, struct err *e);
int store_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e);
/* What the store knows the upload by: to be durable before the first part is sent. "" for an upload
 * that cannot be resumed (direct stores; small ones that go in one piece). Borrowed. */
const char *store_token(struct store_upload *u);
/* Goes on with an upload of another run. `n` as it was at store_begin(), with the part_size of the
 * upload. `each` is called for every part the store has, in order; send again what differs from
 * what you know. -ENOENT: the upload is gone: ask store_state() whether the object was finished,
 * otherwise begin anew; every part must be sent again. */
int store_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e);
int store_put_part(struct store_upload *u, const struct store_part *p, struct err *e);
/* Takes *u and sets it to NULL, except with -EAGAIN and -EBUSY. */
int store_finish(
        struct store_upload **u, uint64_t size, const uint8_t tree_hash[32], struct err *e);
void store_abort(struct store_upload *u);
DEFINE_CLEANUP(store_abort, struct store_upload *)
void store_leave(struct store_upload *u);
DEFINE_CLEANUP(store_leave, struct store_upload *)
/* Aborts every unfinished upload of an object whose name begins with `prefix` (give the machine's
 * own: "archives/ORIGIN/") that `keep` does not want. Where stores have no names, `prefix` is what
 * names begin with in the upload's description. */
int store_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e);
int store_state(struct store *s, const char *name, struct store_state *ret, struct err *e);
int store_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e);
int store_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e);
int store_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e);
int store_remove(struct store *s, const char *name, struct err *e);
uint64_t store_space(struct store *s);
void store_close(struct store *s);
DEFINE_CLEANUP(store_close, struct store *)
