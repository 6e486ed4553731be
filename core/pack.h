/* pack.h - the pipeline: a stream of tar bytes becomes compressed, sealed volumes in parts.
 *
 * Floor 3. pack_write() fills blocks of 16 MiB; N workers compress them (or store what does not
 * compress); one thread puts them in order, seals them and hands finished parts to the sink. A
 * fixed set of buffers, made at the start, is the memory bound and the back-pressure. Not here:
 * where the bytes come from, where parts go, what is recorded.
 *
 * One thread calls pack_*; the sink's functions are all called from one other thread, in order. */
#pragma once

#include "base.h"
#include "compress.h"
#include "err.h"

struct keys_public;
struct pack;
struct pack_hash;

#define PACK_BLOCK_SIZE (16u * 1024u * 1024u) /* the most */

/* A block: `tar_len` bytes of the tar stream as `plain_len` bytes of the volume's plaintext. */
struct pack_block {
        unsigned volume;     /* from 1 */
        unsigned number;     /* from 0, counted through the whole commit */
        uint64_t tar_offset; /* in the tar stream of the commit */
        uint32_t tar_len;
        uint64_t plain_offset; /* of its first byte in the volume's compressed file (not sealed) */
        uint32_t plain_len;
};

/* A piece of a sealed volume, ready to be sent. `data` is borrowed for the call. */
struct pack_part {
        unsigned volume;
        unsigned number; /* from 1 */
        uint64_t offset; /* in the sealed volume */
        const void *data;
        size_t len;            /* part_size, the last one less */
        uint8_t tree_hash[32]; /* SHA-256 tree hash, leaves of 1 MiB */
        uint8_t sha256[32];    /* only where pack_params.part_sha256 asks for it, else zeros */
};

struct pack_volume {
        unsigned number;
        uint64_t tar_start, tar_end;
        uint64_t plain_size; /* of the compressed file inside */
        uint64_t size;       /* of the sealed object */
        uint8_t tree_hash[32];
        uint8_t message_id[32];
        unsigned n_blocks, n_parts;
};

/* All return 0 or -errno with words; an error stops the pipeline and comes out of pack_*. */
struct pack_sink {
        int (*volume_begin)(void *ctx, unsigned number, uint64_t tar_start, struct err *e);
        int (*block)(void *ctx, const struct pack_block *b, struct err *e);
        int (*part)(void *ctx, const struct pack_part *p, struct err *e);
        int (*volume_end)(void *ctx, const struct pack_volume *v, struct err *e);
        void *ctx;
};

struct pack_params {
        enum compress_kind kind;
        int level;            /* -1: the default of the kind */
        unsigned workers;     /* 0: one a processor, at most 8 */
        uint64_t volume_size; /* a sealed volume is at most this; at least 64 MiB in use */
        uint32_t part_size;   /* a multiple of 1 MiB */
        bool part_sha256;
        const struct keys_public *const *recipients;
        size_t n_recipients;
        const char *id;        /* goes into the encryption context of every volume */
        unsigned first_volume; /* 1, or the first that is not finished */
        unsigned first_block;  /* 0, or the number of the next block */
        uint64_t tar_start;    /* 0, or where the first unfinished volume begins */
};

/* Makes all buffers and starts the threads. `params` and `sink` are copied, but for the recipients,
 * which are borrowed until pack_free(). -EINVAL for sizes that cannot be; -ENOMEM; -EIO (OpenSSL);
 * -errno where a thread cannot be started. */
int pack_new(const struct pack_params *params, const struct pack_sink *sink, struct pack **ret,
        struct err *e);
/* Takes the next bytes of the tar stream; blocks while all buffers are busy. After an error the
 * only call that makes sense is pack_free(). */
int pack_write(struct pack *p, const void *data, size_t len, struct err *e);
/* The next `len` bytes, one or more, are hashed with SHA-512 by the threads that compress them, one
 * such stretch after the other. *ret is the caller's. */
int pack_hash(struct pack *p, uint64_t len, struct pack_hash **ret, struct err *e);
/* Any thread, also after pack_free(). False: not known yet. It is before the sink's block() is
 * called for the block in which the last of the bytes lies. */
bool pack_hash_get(const struct pack_hash *h, uint8_t ret[64]);
void pack_hash_free(struct pack_hash *h); /* known or not */
DEFINE_CLEANUP(pack_hash_free, struct pack_hash *)
/* Says that a member's header comes next: where the block is nearly full, it ends here. */
void pack_member(struct pack *p);
/* Says that the stream ends near `end`. From then on blocks are cut so that each worker gets its
 * share of what is left, and none is busy alone at the end. 0: not known. */
void pack_expect(struct pack *p, uint64_t end);
/* Says what comes from the next block on. */
void pack_content(struct pack *p, enum compress_content what);
/* Ends the block here, so that several workers share what is too short for many of them. */
void pack_cut(struct pack *p);
/* Ends the block and waits until everything before has gone through the sink's block(). */
int pack_flush(struct pack *p, struct err *e);
/* Ends the last volume; where a run went on at the end of the stream, there is none to end. */
int pack_finish(struct pack *p, struct err *e);
/* Stops the threads and waits for them. */
void pack_free(struct pack *p);
DEFINE_CLEANUP(pack_free, struct pack *)
