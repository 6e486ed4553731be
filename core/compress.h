/* compress.h - compression of independent blocks into one ordinary .xz, .gz, .bz2 or .zst file.
 *
 * Floor 2. Encoding: each block is compressed by itself (so workers can run in parallel) and the
 * results, put one after the other between compress_head() and compress_tail(), are a file that the
 * usual tools read. xz: one Stream with its Index; gzip, bzip2, zstd: one member, stream or frame a
 * block. Blocks that a cheap trial finds incompressible are stored where the format can do that.
 * Decoding: one block at a time, or a whole file as a stream. Not here: threads, sealing.
 * An object belongs to one thread at a time. */
#pragma once

#include "base.h"
#include "err.h"

enum compress_kind {
        COMPRESS_NONE,
        COMPRESS_LZMA,
        COMPRESS_GZIP,
        COMPRESS_BZIP2,
        COMPRESS_ZSTD,
};

/* ".tar.xz", ".tar.gz", ".tar.bz2", ".tar.zst", ".tar" */
const char *compress_suffix(enum compress_kind kind);
/* "lzma", "gzip", "bzip2", "zstd", "none" (and "", which means none); -EINVAL for any other name.
 */
int compress_parse(const char *name, enum compress_kind *ret);
const char *compress_name(enum compress_kind kind);

/* What a block holds, as far as the caller knows. lzma is set for what it is given: text in general
 * is told by the same samples as what is incompressible. */
enum compress_content {
        COMPRESS_ANYTHING,
        COMPRESS_HASHES, /* lines of text, nearly all of them hashes in hex: a manifest */
};

/* -EINVAL with words if the kind has no such level; -1 is the default of each. */
int compress_check_level(enum compress_kind kind, int level, struct err *e);
/* One worker's encoder: reused from block to block. level -1: the kind's default (xz 6, zstd 3, …);
 * -EINVAL if the level is out of the kind's range. */
struct compress_encoder;
int compress_encoder_new(
        enum compress_kind kind, int level, struct compress_encoder **ret, struct err *e);
void compress_encoder_free(struct compress_encoder *c);
DEFINE_CLEANUP(compress_encoder_free, struct compress_encoder *)
/* The most bytes that a block of `len` bytes can become. */
size_t compress_bound(enum compress_kind kind, size_t len);
/* What the file's tail needs to know of a block (xz: for the Index). */
struct compress_block {
        uint64_t unpadded; /* xz: Unpadded Size; else the compressed length */
        uint64_t plain;    /* uncompressed length */
};
/* Compresses one block, `len` > 0. */
int compress_encode(struct compress_encoder *c, enum compress_content what, const void *in,
        size_t len, void *out, size_t cap, size_t *ret_len, struct compress_block *ret_block,
        struct err *e);

/* The file around the blocks. */
struct compress_file;
int compress_file_new(enum compress_kind kind, struct compress_file **ret, struct err *e);
void compress_file_free(struct compress_file *f);
DEFINE_CLEANUP(compress_file_free, struct compress_file *)
/* Bytes before the first block, borrowed (xz: the Stream Header; else none). */
const void *compress_head(struct compress_file *f, size_t *ret_len);
int compress_add(struct compress_file *f, const struct compress_block *block, struct err *e);
/* Bytes after the last block, borrowed (xz: Index and Stream Footer; else none). */
int compress_tail(struct compress_file *f, const void **ret, size_t *ret_len, struct err *e);
/* Bytes that the tail would have now. */
size_t compress_tail_size(const struct compress_file *f);

/* Decodes exactly one block, as compress_encode() made it. -EPROTO if it is broken or has not
 * exactly `plain_len` bytes. */
int compress_decode(enum compress_kind kind, const void *in, size_t len, void *out,
        size_t plain_len, struct err *e);

/* Bytes of an encoded block. */
struct compress_part {
        size_t at, len;
};
/* A block of `len` bytes that holds `plain_len` as they are, as its length says (none; xz where it
 * did not compress): which part of it is needed for its plain bytes from `at` on. False: all of it.
 */
bool compress_stored(enum compress_kind kind, size_t len, size_t plain_len,
        const struct compress_part *wanted, struct compress_part *ret);
/* Takes the wanted bytes out of that part. -EPROTO: they are not there as they are. */
int compress_stored_take(
        enum compress_kind kind, const struct compress_part *wanted, const void *part, void *out);

/* Decodes a whole file (or several joined), pulled through `read`: up to `len` bytes, 0 at the end.
 * Bounded memory whatever the file says. */
typedef ssize_t (*compress_read_fn)(void *ctx, void *data, size_t len, struct err *e);
struct compress_decoder;
int compress_decoder_new(enum compress_kind kind, compress_read_fn read, void *ctx,
        struct compress_decoder **ret, struct err *e);
void compress_decoder_free(struct compress_decoder *d);
DEFINE_CLEANUP(compress_decoder_free, struct compress_decoder *)
/* Up to `len` bytes; 0 at the end; -EPROTO where the input is broken or cut. */
ssize_t compress_decoder_read(struct compress_decoder *d, void *data, size_t len, struct err *e);
