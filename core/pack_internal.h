/* pack_internal.h - shared by the pack_*.c files and nobody else.
 *
 *   caller --fills--> job --worker--> job --sealer--> event --writer--> sink
 *
 * Jobs are a ring: job number n of the stream is jobs[n % n_jobs]. The sealer takes them in order,
 * whatever order they were done in. Events go to the sink in the order they were made. */
#pragma once

#include "pack.h"

#include "seal.h"
#include "tree_hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>

#define PACK_PARTS  2 /* part buffers: one being filled, one being written */
#define PACK_EVENTS 64

enum job_state { JOB_FREE, JOB_READY, JOB_BUSY, JOB_DONE };

/* What of a block goes into one hash. */
struct pack_piece {
        struct pack_hash *hash; /* NULL: known */
        size_t start, len;
        unsigned number; /* of the hash's pieces, from 0; one a block */
        bool last;
};

struct pack_job {
        enum job_state state;
        enum compress_content what;
        uint64_t tar_offset;
        uint8_t *in, *out;
        size_t in_len, out_len;
        struct compress_block block;
        struct pack_piece *pieces;
        size_t n_pieces, room;
};

enum event_kind { EVENT_BEGIN, EVENT_BLOCK, EVENT_PART, EVENT_END };

struct pack_event {
        enum event_kind kind;
        unsigned number;    /* BEGIN: volume */
        uint64_t tar_start; /* BEGIN */
        union {
                struct pack_block block;
                struct pack_part part;
                struct pack_volume volume;
        };
};

/* The volume that the sealer is making. */
struct pack_making {
        bool open;
        struct pack_volume v;
        struct seal_writer *seal;
        struct compress_file *file;
        uint64_t header; /* bytes of the sealed header */
        struct tree_hash *whole, *part;
        EVP_MD_CTX *sha; /* of the part, where asked for */
        uint8_t *buf;    /* part buffer that is being filled, or NULL */
        size_t len;
        uint64_t offset; /* of the part in the volume */
};

struct pack {
        struct pack_params params;
        struct pack_sink sink;
        char *id;
        EVP_MD *sha512; /* looking it up takes as long as hashing a small file */

        pthread_mutex_t lock;
        pthread_cond_t changed; /* any state below */
        struct err failed;      /* first error of any thread; code 0: none */
        bool stopping, finishing;

        struct pack_job *jobs;
        unsigned n_jobs;
        uint64_t filled, sealed; /* jobs handed over, jobs through the sealer */
        uint64_t written;        /* blocks that the sink's block() has seen */
        bool sealer_done;

        uint8_t *part_bufs[PACK_PARTS];
        bool part_free[PACK_PARTS];
        struct pack_event events[PACK_EVENTS];
        unsigned events_head, events_n;

        pthread_t *threads;
        unsigned n_threads;

        struct pack_making making; /* only the sealer */
        unsigned next_volume, next_block;

        struct pack_job *filling; /* only the caller, as the following */
        uint64_t offset;
        uint64_t expected; /* where the stream will end, about; 0: not known */
        size_t enough;     /* a block that is filled so far ends before a member */
        size_t limit;      /* and here in any case */
        enum compress_content what;
        unsigned n_workers;
        struct pack_hash *hashing; /* of the next bytes; NULL: none */
        uint64_t hash_left;
        unsigned hash_pieces;
};

void pack_fail(struct pack *p, const struct err *why); /* the first one counts */
void *pack_sealer(void *arg);
void *pack_writer(void *arg);
void pack_making_done(struct pack_making *m);

/* pack_hash.c */
int pack_hash_put(struct pack *p, struct pack_job *j, size_t len, struct err *e); /* come next */
int pack_hash_block(struct pack *p, struct pack_job *j, EVP_MD_CTX *own, struct err *e);
void pack_hash_done(struct pack *p);
