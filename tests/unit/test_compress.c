/* Whole compressed files as a stream: what the usual tools wrote, joined, cut, broken. */
#include "compress.h"

#include "buf.h"
#include "io.h"
#include "tree.h"

struct source {
        struct buf data;
        size_t at, piece; /* bytes a read at most */
};

static ssize_t pull(void *ctx, void *data, size_t len, _unused_ struct err *e)
{
        struct source *s = ctx;
        size_t n = MIN(MIN(len, s->piece), s->data.len - s->at);
        if (n > 0)
                memcpy(data, s->data.data + s->at, n);
        s->at += n;
        return (ssize_t)n;
}

static int decode(struct source *s, enum compress_kind kind, struct buf *ret)
{
        _cleanup_(compress_decoder_freep) struct compress_decoder *d = NULL;
        struct err e = {0};
        char chunk[5000];
        assert_int_equal(compress_decoder_new(kind, pull, s, &d, &e), 0);
        for (;;) {
                ssize_t n = compress_decoder_read(d, chunk, sizeof chunk, &e);
                if (n < 0)
                        assert_true(*e.text);
                if (n <= 0)
                        return (int)n;
                buf_add(ret, chunk, (size_t)n);
        }
}

static const struct kind {
        enum compress_kind kind;
        const char *tool;
} kinds[] = {
        {COMPRESS_NONE, "cat"},
        {COMPRESS_LZMA, "xz -c"},
        {COMPRESS_GZIP, "gzip -c"},
        {COMPRESS_BZIP2, "bzip2 -c"},
        {COMPRESS_ZSTD, "zstd -qc"},
};

static char dir[64];

static int setup(_unused_ void **state)
{
        tree_setup(dir);
        tree_sh("cd $T && for i in $(seq 20000); do echo line $i; done >a && "
                "head -c 200000 /dev/urandom >b && cat a b >ab");
        return 0;
}

static int teardown(_unused_ void **state)
{
        tree_remove(dir);
        return 0;
}

static void load(const char *name, struct buf *ret)
{
        _cleanup_free_ char *path = io_join(dir, name);
        assert_int_equal(io_read_file(AT_FDCWD, path, 16 * MiB, ret, NULL), 0);
}

static void files_of_the_usual_tools_joined_come_out_whole(_unused_ void **state)
{
        _cleanup_buf_ struct buf want = BUF_INIT;
        load("ab", &want);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_buf_ struct buf command = BUF_INIT;
                buf_addf(&command, "cd $T && { %s <a && %s <b; } >packed", kinds[i].tool,
                        kinds[i].tool);
                tree_sh(buf_str(&command));
                for (size_t piece = 7; piece < 200000; piece *= 113) {
                        struct source s = {.piece = piece};
                        _cleanup_buf_ struct buf got = BUF_INIT;
                        load("packed", &s.data);
                        assert_int_equal(decode(&s, kinds[i].kind, &got), 0);
                        assert_int_equal(got.len, want.len);
                        assert_memory_equal(got.data, want.data, want.len);
                        buf_done(&s.data);
                }
        }
}

static void what_is_cut_or_altered_is_refused(_unused_ void **state)
{
        for (size_t i = 1; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_buf_ struct buf command = BUF_INIT;
                buf_addf(&command, "cd $T && %s <a >packed", kinds[i].tool);
                tree_sh(buf_str(&command));
                struct source s = {.piece = 4096};
                load("packed", &s.data);
                size_t whole = s.data.len;
                const size_t cuts[] = {0, 1, 5, whole / 2, whole - 1};
                for (size_t k = 0; k < ARRAY_SIZE(cuts); k++) {
                        _cleanup_buf_ struct buf got = BUF_INIT;
                        s.data.len = cuts[k];
                        s.at = 0;
                        assert_int_equal(decode(&s, kinds[i].kind, &got), -EPROTO);
                }
                _cleanup_buf_ struct buf got = BUF_INIT;
                s.data.len = whole;
                s.at = 0;
                s.data.data[0] ^= 1;
                assert_int_equal(decode(&s, kinds[i].kind, &got), -EPROTO);
                s.data.data[0] ^= 1;
                buf_addc(&s.data, 'x'); /* litter behind the end */
                s.at = 0;
                assert_int_equal(decode(&s, kinds[i].kind, &got), -EPROTO);
                buf_done(&s.data);
        }
}

/* Eight photos of one size with their headers: an even spacing of samples met the headers alone. */
static void files_of_one_size_are_still_seen_as_what_they_are(_unused_ void **state)
{
        enum { HEADER = 2112, FILE_SIZE = 2000000 + HEADER, LEN = 8 * FILE_SIZE };
        _cleanup_free_ uint8_t *in = malloc(LEN);
        _cleanup_free_ uint8_t *out = malloc(compress_bound(COMPRESS_LZMA, LEN));
        _cleanup_(compress_encoder_freep) struct compress_encoder *c = NULL;
        struct compress_block block;
        struct err e = {0};
        uint32_t dice = 7;
        size_t n = 0;
        assert_true(in && out);
        for (size_t i = 0; i < LEN; i++) {
                dice = dice * 1664525u + 1013904223u;
                in[i] = i % FILE_SIZE < HEADER ? 'h' : (uint8_t)(dice >> 24);
        }
        assert_int_equal(compress_encoder_new(COMPRESS_LZMA, -1, &c, &e), 0);
        assert_int_equal(compress_encode(c, COMPRESS_ANYTHING, in, LEN, out,
                                 compress_bound(COMPRESS_LZMA, LEN), &n, &block, &e),
                0);
        assert_true(n > LEN); /* stored: the headers would have shrunk */
        memset(in, 'h', LEN / 2);
        assert_int_equal(compress_encode(c, COMPRESS_ANYTHING, in, LEN / 2, out,
                                 compress_bound(COMPRESS_LZMA, LEN), &n, &block, &e),
                0);
        assert_true(n < LEN / 100);
}

/* Headers of 16 KiB of zeros in files of a megabyte and a half: a sample in fifty meets one, in
 * some blocks none, in others three. */
static void photos_are_stored_whatever_the_samples_meet(_unused_ void **state)
{
        enum { HEADER = 16 * 1024, LEN = 16 * 1024 * 1024, BLOCKS = 16 };
        _cleanup_free_ uint8_t *in = malloc(LEN);
        _cleanup_free_ uint8_t *out = malloc(compress_bound(COMPRESS_LZMA, LEN));
        _cleanup_(compress_encoder_freep) struct compress_encoder *c = NULL;
        uint32_t dice = 7;
        assert_true(in && out);
        assert_int_equal(compress_encoder_new(COMPRESS_LZMA, 0, &c, NULL), 0);
        for (size_t k = 0; k < BLOCKS; k++) {
                struct compress_block block;
                size_t n, file = 1300000 + k * 31337;
                for (size_t i = 0; i < LEN; i++) {
                        dice = dice * 1664525u + 1013904223u;
                        in[i] = (i + k * 99991) % file < HEADER ? 0 : (uint8_t)(dice >> 24);
                }
                assert_int_equal(compress_encode(c, COMPRESS_ANYTHING, in, LEN, out,
                                         compress_bound(COMPRESS_LZMA, LEN), &n, &block, NULL),
                        0);
                assert_true(n > LEN);
        }
}

/* What lzma is set for differs; what comes back must not. */
static void text_and_hashes_come_back_as_they_were(_unused_ void **state)
{
        enum { LEN = 300000 };
        static uint8_t in[LEN], out[2 * LEN], back[LEN];
        static const enum compress_content what[] = {COMPRESS_ANYTHING, COMPRESS_HASHES};
        uint32_t dice = 7;
        for (size_t i = 0; i < LEN; i++) {
                dice = dice * 1664525u + 1013904223u;
                in[i] = (uint8_t) "0123456789abcdef"[dice >> 28];
        }
        for (int level = -1; level <= 9; level++) {
                _cleanup_(compress_encoder_freep) struct compress_encoder *c = NULL;
                assert_int_equal(compress_encoder_new(COMPRESS_LZMA, level, &c, NULL), 0);
                for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
                        struct compress_block block;
                        size_t n;
                        assert_int_equal(compress_encode(c, what[i], in, LEN, out, sizeof out, &n,
                                                 &block, NULL),
                                0);
                        assert_true(n < LEN * 6 / 10);
                        assert_int_equal(
                                compress_decode(COMPRESS_LZMA, out, n, back, LEN, NULL), 0);
                        assert_memory_equal(in, back, LEN);
                }
        }
}

/* ---- blocks that hold their content as it is ---- */

static void noise(uint8_t *p, size_t len)
{
        uint32_t dice = 11;
        for (size_t i = 0; i < len; i++) {
                dice = dice * 1664525u + 1013904223u;
                p[i] = (uint8_t)(dice >> 24);
        }
}

static void check_parts(enum compress_kind kind, const uint8_t *in, size_t len)
{
        _cleanup_(compress_encoder_freep) struct compress_encoder *c = NULL;
        struct err e = {0};
        size_t cap = compress_bound(kind, len), packed = 0;
        _cleanup_free_ uint8_t *block = malloc(cap), *out = malloc(len);
        struct compress_block b;
        assert_int_equal(compress_encoder_new(kind, -1, &c, &e), 0);
        assert_int_equal(
                compress_encode(c, COMPRESS_ANYTHING, in, len, block, cap, &packed, &b, &e), 0);
        const size_t at[] = {0, 1, 65535, 65536, 65537, 131071, 200000, len / 2, len - 1};
        const size_t want[] = {1, 2, 512, 65535, 65536, 65537, 300000, len};
        for (size_t i = 0; i < ARRAY_SIZE(at) * ARRAY_SIZE(want); i++) {
                struct compress_part p = {at[i / ARRAY_SIZE(want)], want[i % ARRAY_SIZE(want)]};
                struct compress_part w = {0};
                if (p.at >= len)
                        continue;
                p.len = MIN(p.len, len - p.at);
                assert_true(compress_stored(kind, packed, len, &p, &w));
                assert_in_range(w.len, p.len, p.len + 65536 + 3 * (p.len / 65536 + 2));
                assert_true(w.at + w.len <= packed);
                _cleanup_free_ uint8_t *part = malloc(w.len); /* nothing behind it is looked at */
                memcpy(part, block + w.at, w.len);
                assert_int_equal(compress_stored_take(kind, &p, part, out), 0);
                assert_memory_equal(out, in + p.at, p.len);
        }
}

static void parts_of_what_is_stored_come_out_alone(_unused_ void **state)
{
        static const size_t lengths[] = {200001, 400000, 65536 * 5, 65536 * 5 + 1, 3000000};
        _cleanup_free_ uint8_t *in = malloc(3000000);
        noise(in, 3000000);
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                check_parts(COMPRESS_NONE, in, lengths[i]);
                check_parts(COMPRESS_LZMA, in, lengths[i]);
        }
}

static void what_is_not_stored_is_not_taken_for_it(_unused_ void **state)
{
        struct compress_part w, p = {70000, 10};
        uint8_t chunk[70000] = {0}, out[10];
        assert_false(compress_stored(COMPRESS_LZMA, 50000, 200000, &p, &w));
        assert_false(compress_stored(COMPRESS_LZMA, 199000, 200000, &p, &w));
        assert_false(compress_stored(COMPRESS_LZMA, 4, 0, &p, &w));
        assert_false(compress_stored(COMPRESS_NONE, 199999, 200000, &p, &w));
        assert_false(compress_stored(COMPRESS_ZSTD, 200000, 200000, &p, &w));
        /* by its length it might be: a chunk of LZMA, one that was cut, one that resets */
        memcpy(chunk, "\xe0\xff\xff", 3);
        assert_int_equal(compress_stored_take(COMPRESS_LZMA, &p, chunk, out), -EPROTO);
        memcpy(chunk, "\x02\x00\x10", 3);
        assert_int_equal(compress_stored_take(COMPRESS_LZMA, &p, chunk, out), -EPROTO);
        memcpy(chunk, "\x01\xff\xff", 3);
        assert_int_equal(compress_stored_take(COMPRESS_LZMA, &p, chunk, out), -EPROTO);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(files_of_the_usual_tools_joined_come_out_whole),
                cmocka_unit_test(what_is_cut_or_altered_is_refused),
                cmocka_unit_test(files_of_one_size_are_still_seen_as_what_they_are),
                cmocka_unit_test(photos_are_stored_whatever_the_samples_meet),
                cmocka_unit_test(text_and_hashes_come_back_as_they_were),
                cmocka_unit_test(parts_of_what_is_stored_come_out_alone),
                cmocka_unit_test(what_is_not_stored_is_not_taken_for_it),
        };
        return cmocka_run_group_tests_name("compress", tests, setup, teardown);
}
