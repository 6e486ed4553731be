/* seal.h - the archive file: an AWS Encryption SDK message, version 2, suite 0x0478.
 *
 * Floor 2. Writer and strict reader of one format (doc/FORMAT.md). AES-256-GCM in frames, the key
 * derived by HKDF-SHA512 with commitment, the data key wrapped for every recipient. Source: AWS
 * Encryption SDK message format reference. Not here: compression, tar, where the bytes live.
 * A writer or reader belongs to one thread at a time. A writer keeps two frames; a reader keeps
 * one, from its first wide read on a run of 16. */
#pragma once

#include "base.h"
#include "err.h"

struct keys_public;
struct keys_private;
struct seal_writer;
struct seal_reader;

#define SEAL_FRAME_PLAIN 1048544u /* plaintext bytes in a full frame */
#define SEAL_FRAME_WIRE  (1024u * 1024u)
#define SEAL_MESSAGE_ID  32
#define SEAL_RECIPIENTS  64 /* at most */
#define SEAL_HEADER_MAX  (128u * 1024u)

/* Names in the encryption context of a volume: the archive's id, and which volume it is (from 1).
 */
#define SEAL_CONTEXT_ARCHIVE "autoglacier-archive"
#define SEAL_CONTEXT_VOLUME  "autoglacier-volume"

/* One pair of the encryption context: authenticated, not encrypted. UTF-8. */
struct seal_pair {
        const char *key;
        const char *value;
};

/* Takes sealed bytes in order. 0 or -errno; an error ends the writer. */
typedef int (*seal_sink_fn)(void *ctx, const void *data, size_t len, struct err *e);

/* A new message with a fresh data key and message id; the header goes to the sink at once, later
 * each frame in a call of its own. The context needs distinct, non-empty keys that do not begin
 * with "aws-crypto-"; it is stored in the order of its keys. A recipient listed twice counts once.
 * -EINVAL: no recipient, more than 64, a context that is not possible. */
int seal_writer_new(const struct keys_public *const *recipients, size_t n_recipients,
        const struct seal_pair *context, size_t n_context, seal_sink_fn sink, void *ctx,
        struct seal_writer **ret, struct err *e);
/* Takes the next plaintext bytes. -EFBIG: a message ends at 4 PiB. After an error of the sink every
 * call fails with the same code. */
int seal_write(struct seal_writer *w, const void *data, size_t len, struct err *e);
/* Writes the final frame. The writer can then only be freed. */
int seal_finish(struct seal_writer *w, struct err *e);
void seal_writer_free(struct seal_writer *w);
DEFINE_CLEANUP(seal_writer_free, struct seal_writer *)
const uint8_t *seal_writer_message_id(const struct seal_writer *w);
uint64_t seal_writer_wire(const struct seal_writer *w); /* bytes given to the sink so far */

/* The bytes on the wire of a message with `plain` bytes and a header of `header` bytes. */
uint64_t seal_wire_size(uint64_t header, uint64_t plain);

/* Random access to the sealed bytes. pread fills `len` bytes at `offset` or fails: -EPROTO or
 * -EIO where the object is shorter than `size`. */
struct seal_source {
        int (*pread)(void *ctx, void *data, size_t len, uint64_t offset, struct err *e);
        void *ctx;
        uint64_t size; /* bytes of the sealed object */
};

/* Recovers the data key from what was wrapped for `fingerprint`. -ENOKEY: no such key here. */
typedef int (*seal_unwrap_fn)(void *ctx, const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e);
/* An unwrap function whose ctx is a struct keys_private. */
int seal_unwrap_with_key(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e);

/* Reads and authenticates the header. -EPROTO not such a message or broken, -EPROTONOSUPPORT
 * another version or suite, -ENOKEY none of the recipients is ours (their fingerprints are in the
 * words), -EBADMSG does not authenticate. */
int seal_reader_new(const struct seal_source *source, seal_unwrap_fn unwrap, void *ctx,
        struct seal_reader **ret, struct err *e);
void seal_reader_free(struct seal_reader *r);
DEFINE_CLEANUP(seal_reader_free, struct seal_reader *)
/* Plaintext bytes, as the object's size says; proven by seal_check_end(). */
uint64_t seal_reader_size(const struct seal_reader *r);
const uint8_t *seal_reader_message_id(const struct seal_reader *r);
/* The value of a context pair, or NULL. Lives as long as the reader. */
const char *seal_reader_context(const struct seal_reader *r, const char *key);
/* Plaintext at `offset`; no byte of a frame is released before its tag is good. Exactly `len` bytes
 * or an error (-EINVAL past the end, -EPROTO or -EBADMSG where a frame is not what it should be;
 * `data` may then hold bytes of earlier, good frames). Frames are fetched one by one, the last is
 * kept; wide reads fetch in runs of up to 16 frames, all of them checked before any is released. */
int seal_pread(struct seal_reader *r, void *data, size_t len, uint64_t offset, struct err *e);
/* Authenticates the final frame: proof that nothing was cut off or appended. */
int seal_check_end(struct seal_reader *r, struct err *e);

/* The recipients named in a header, without any key: calls `each` with every fingerprint. */
int seal_recipients(const struct seal_source *source,
        int (*each)(void *ctx, const char *fingerprint), void *ctx, struct err *e);
