/* seal_helpers.h - what the tests of the sealed format share: keys, messages in memory. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>

#include "base.h"
#include "buf.h"
#include "keys.h"
#include "seal.h"

#include <cmocka.h>

#define FRAME SEAL_FRAME_PLAIN

/* A folder of its own with two key pairs (2,048 bits: these are made in every run). */
struct seal_keys {
        char dir[64];
        struct keys_public *pub[2];
        struct keys_private *priv[2];
};

static inline void seal_keys_path(const struct seal_keys *k, const char *name, int i, char out[128])
{
        (void)snprintf(out, 128, "%s/%s%d.pem", k->dir, name, i);
}

static inline void seal_keys_init(struct seal_keys *k)
{
        *k = (struct seal_keys){.dir = "/tmp/seal-test-XXXXXX"};
        assert_non_null(mkdtemp(k->dir));
        for (int i = 0; i < 2; i++) {
                char priv[128], pub[128];
                seal_keys_path(k, "private", i, priv);
                seal_keys_path(k, "public", i, pub);
                assert_int_equal(keys_generate(2048, priv, pub, NULL, NULL), 0);
                assert_int_equal(keys_public_load(pub, &k->pub[i], NULL), 0);
                assert_int_equal(keys_private_load(priv, NULL, NULL, &k->priv[i], NULL), 0);
        }
}

static inline void seal_keys_done(struct seal_keys *k)
{
        for (int i = 0; i < 2; i++) {
                char path[128];
                seal_keys_path(k, "private", i, path);
                (void)unlink(path);
                seal_keys_path(k, "public", i, path);
                (void)unlink(path);
                keys_public_free(k->pub[i]);
                keys_private_free(k->priv[i]);
        }
        (void)rmdir(k->dir);
}

/* Bytes that repeat nowhere near: a mistake by a frame, a block or a byte shows. */
static inline uint8_t seal_byte_at(uint64_t i)
{
        uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull;
        return (uint8_t)(x >> 56 ^ x >> 24);
}

static inline uint8_t *seal_bytes(size_t n)
{
        uint8_t *p = malloc(n + 1);
        assert_non_null(p);
        for (size_t i = 0; i < n; i++)
                p[i] = seal_byte_at(i);
        return p;
}

static inline int seal_to_buf(void *ctx, const void *data, size_t len, _unused_ struct err *e)
{
        buf_add(ctx, data, len);
        return 0;
}

/* Seals `len` bytes for the first `n` recipients, given to the writer in pieces of `chunk`. */
static inline void seal_message(
        const struct seal_keys *k, size_t n, size_t len, size_t chunk, struct buf *out)
{
        const struct seal_pair context[] = {{"format", "1"}, {"archive", "test"}};
        const struct keys_public *to[] = {k->pub[0], k->pub[1]};
        _cleanup_free_ uint8_t *plain = seal_bytes(len);
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        assert_int_equal(seal_writer_new(to, n, context, 2, seal_to_buf, out, &w, NULL), 0);
        for (size_t at = 0; at < len; at += MIN(chunk, len - at))
                assert_int_equal(seal_write(w, plain + at, MIN(chunk, len - at), NULL), 0);
        assert_int_equal(seal_finish(w, NULL), 0);
        assert_int_equal(seal_writer_wire(w), out->len);
        assert_false(buf_oom(out));
}

struct seal_memory {
        const uint8_t *data;
        size_t len;
        unsigned calls;
        size_t widest;
};

static inline int seal_memory_pread(
        void *ctx, void *data, size_t len, uint64_t offset, struct err *e)
{
        struct seal_memory *m = ctx;
        m->calls++;
        m->widest = MAX(m->widest, len);
        if (offset > m->len || len > m->len - offset)
                return err_set(e, -EPROTO, "the object is shorter than it says");
        memcpy(data, m->data + offset, len);
        return 0;
}

static inline struct seal_memory seal_memory_of(const struct buf *b)
{
        return (struct seal_memory){.data = (const uint8_t *)buf_str(b), .len = b->len};
}

static inline struct seal_source seal_source_of(struct seal_memory *m)
{
        return (struct seal_source){.pread = seal_memory_pread, .ctx = m, .size = m->len};
}

/* Reads all of a message: 0 and the plaintext, or the first error on the way. */
static inline int seal_read_all(
        const struct buf *message, seal_unwrap_fn unwrap, void *ctx, struct buf *out, struct err *e)
{
        struct seal_memory m = seal_memory_of(message);
        const struct seal_source source = seal_source_of(&m);
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        int result = seal_reader_new(&source, unwrap, ctx, &r, e);
        if (result < 0)
                return result;
        size_t len = (size_t)seal_reader_size(r);
        _cleanup_free_ uint8_t *plain = malloc(len + 1);
        assert_non_null(plain);
        result = seal_pread(r, plain, len, 0, e);
        if (result == 0)
                result = seal_check_end(r, e);
        if (result == 0)
                buf_add(out, plain, len);
        return result;
}
