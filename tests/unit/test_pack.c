/* test_pack.c - how the stream is divided into blocks, and what is hashed on its way */
#include "pack.h"

#include "seal_helpers.h"

#include <openssl/evp.h>

#define MEMBER (64u * KiB)

struct seen {
        struct seal_keys keys;
        const struct keys_public *recipients[1];
        unsigned n;
        uint32_t len[64];
        uint64_t end; /* of the last block; blocks follow each other without a gap */
        struct stretch {
                uint64_t end;
                struct pack_hash *hash;
        } hashed[8]; /* known when their block comes */
};

static int setup(void **state)
{
        static struct seen s;
        seal_keys_init(&s.keys);
        s.recipients[0] = s.keys.pub[0];
        *state = &s;
        return 0;
}

static int teardown(void **state)
{
        seal_keys_done(&((struct seen *)*state)->keys);
        return 0;
}

static int begin(void *ctx _unused_, unsigned number _unused_, uint64_t tar_start _unused_,
        struct err *e _unused_)
{
        return 0;
}

static int block(void *ctx, const struct pack_block *b, struct err *e _unused_)
{
        struct seen *s = ctx;
        assert_true(s->n < ARRAY_SIZE(s->len));
        assert_int_equal(b->tar_offset, s->end);
        assert_int_equal(
                b->tar_offset % 512, 0); /* whoever has one volume alone finds the headers */
        s->end += b->tar_len;
        s->len[s->n++] = b->tar_len;
        for (const struct stretch *h = s->hashed; h->hash && h->end <= s->end; h++) {
                uint8_t sum[64];
                assert_true(pack_hash_get(h->hash, sum));
        }
        return 0;
}

static int part(void *ctx _unused_, const struct pack_part *p _unused_, struct err *e _unused_)
{
        return 0;
}

static int end(void *ctx _unused_, const struct pack_volume *v _unused_, struct err *e _unused_)
{
        return 0;
}

static struct pack *new_pack(struct seen *s, unsigned workers)
{
        const struct pack_params params = {.kind = COMPRESS_NONE,
                .level = -1,
                .workers = workers,
                .volume_size = UINT64_MAX,
                .part_size = MiB,
                .recipients = s->recipients,
                .n_recipients = 1,
                .id = "test",
                .first_volume = 1};
        const struct pack_sink sink = {begin, block, part, end, s};
        struct pack *p;
        s->n = 0;
        s->end = 0;
        memset(s->hashed, 0, sizeof s->hashed);
        assert_int_equal(pack_new(&params, &sink, &p, NULL), 0);
        return p;
}

/* Members of 64 KiB, `total` bytes in all; the end becomes known when `known_at` are written. */
static void run_members(
        struct seen *s, uint64_t total, uint64_t known_at, uint64_t expected, uint64_t each)
{
        static const uint8_t member[MEMBER];
        struct pack *p = new_pack(s, 2);
        for (uint64_t at = 0; at < total; at += MEMBER) {
                if (at >= known_at)
                        pack_expect(p, expected);
                if (at % each == 0)
                        pack_member(p);
                assert_int_equal(pack_write(p, member, MEMBER, NULL), 0);
        }
        assert_int_equal(pack_finish(p, NULL), 0);
        pack_free(p);
        assert_int_equal(s->end, total);
}

static void run(struct seen *s, uint64_t total, uint64_t known_at, uint64_t expected)
{
        run_members(s, total, known_at, expected, MEMBER);
}

static void a_long_member_is_cut_between_records(void **state)
{
        struct seen *s = *state;
        run_members(s, 60 * MiB, 0, 60 * MiB + 12345, 60 * MiB);
        assert_true(s->n >= 4);
}

static void each_worker_gets_its_share_of_what_is_left(void **state)
{
        struct seen *s = *state;
        run(s, 40 * MiB, 0,
                40 * MiB); /* three blocks would leave one worker alone with the third */
        assert_int_equal(s->n, 4);
        for (unsigned i = 0; i < s->n; i++)
                assert_in_range(s->len[i], 10 * MiB - 3 * MEMBER, 10 * MiB + 3 * MEMBER);
}

static void an_end_that_becomes_known_in_the_middle_counts_from_there(void **state)
{
        struct seen *s = *state;
        run(s, 52 * MiB, 20 * MiB, 52 * MiB);
        assert_int_equal(s->n, 4);
        assert_true(s->len[0] > 14 * MiB);
        for (unsigned i = 1; i < s->n; i++)
                assert_in_range(s->len[i], 11 * MiB, 14 * MiB);
}

static void what_is_short_is_not_cut_into_crumbs(void **state)
{
        struct seen *s = *state;
        run(s, 6 * MiB, 0, 6 * MiB);
        assert_int_equal(s->n, 1);
}

static void a_wrong_expectation_costs_no_byte_and_no_crumbs(void **state)
{
        struct seen *s = *state;
        const uint64_t wrong[] = {1, 30 * MiB, 50 * MiB, 1000 * MiB, UINT64_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                run(s, 40 * MiB, 0, wrong[i]);
                assert_in_range(s->n, 3, 6);
        }
}

/* ---- hashes ---- */

#define HEAD 512u

static void write_zeros(struct pack *p, uint64_t len)
{
        static const uint8_t zeros[MiB];
        for (size_t n; len > 0; len -= n) {
                n = (size_t)MIN(len, (uint64_t)sizeof zeros);
                assert_int_equal(pack_write(p, zeros, n, NULL), 0);
        }
}

/* After a header that is not hashed, bytes that are no others' either, in pieces of odd sizes. */
static void write_hashed(
        struct pack *p, struct seen *s, size_t i, uint64_t len, uint64_t *end, uint8_t sum[64])
{
        static uint8_t data[100003];
        EVP_MD_CTX *sha = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestInit_ex(sha, EVP_sha512(), NULL), 1);
        memset(data, 'h', HEAD);
        assert_int_equal(pack_write(p, data, HEAD, NULL), 0);
        assert_int_equal(pack_hash(p, len, &s->hashed[i].hash, NULL), 0);
        assert_false(pack_hash_get(s->hashed[i].hash, sum));
        s->hashed[i].end = *end += HEAD + len;
        for (uint64_t left = len; left > 0;) {
                size_t n = (size_t)MIN(left, (uint64_t)sizeof data);
                memset(data, (int)(i + left % 251), n);
                assert_int_equal(EVP_DigestUpdate(sha, data, n), 1);
                assert_int_equal(pack_write(p, data, n, NULL), 0);
                left -= n;
        }
        assert_int_equal(EVP_DigestFinal_ex(sha, sum, NULL), 1);
        EVP_MD_CTX_free(sha);
        *end += -len % 512;
        write_zeros(p, -len % 512);
}

static void what_goes_through_many_blocks_has_the_hash_of_all_of_it(void **state)
{
        struct seen *s = *state;
        const uint64_t len[] = {
                1, 5000, PACK_BLOCK_SIZE - 10240, PACK_BLOCK_SIZE - HEAD, 50 * MiB + 1, 3 * MiB, 7};
        const unsigned workers[] = {1, 2, 5};
        for (size_t w = 0; w < ARRAY_SIZE(workers); w++) {
                uint8_t want[ARRAY_SIZE(len)][64], sum[64];
                struct pack *p = new_pack(s, workers[w]);
                uint64_t at = 0;
                for (size_t i = 0; i < ARRAY_SIZE(len); i++)
                        write_hashed(p, s, i, len[i], &at, want[i]);
                assert_int_equal(pack_finish(p, NULL), 0);
                pack_free(p);
                for (size_t i = 0; i < ARRAY_SIZE(len); i++) {
                        assert_true(pack_hash_get(s->hashed[i].hash, sum));
                        assert_memory_equal(sum, want[i], 64);
                        pack_hash_free(s->hashed[i].hash);
                }
        }
}

static void a_hash_that_nobody_waits_for_harms_nothing(void **state)
{
        struct seen *s = *state;
        struct pack *p = new_pack(s, 2);
        struct pack_hash *a, *b, *c;
        assert_int_equal(pack_hash(p, 0, &a, NULL), -EINVAL);
        assert_int_equal(pack_hash(p, 20 * MiB, &a, NULL), 0);
        assert_int_equal(pack_hash(p, 1, &b, NULL), -EINVAL); /* one after the other */
        pack_hash_free(a);
        write_zeros(p, 20 * MiB);
        assert_int_equal(pack_hash(p, 100 * MiB, &b, NULL), 0);
        write_zeros(p, 40 * MiB);
        pack_free(p);
        uint8_t sum[64];
        assert_false(pack_hash_get(b, sum));
        pack_hash_free(b);
        p = new_pack(s, 2);
        assert_int_equal(pack_hash(p, 1, &c, NULL), 0);
        pack_hash_free(c);
        pack_free(p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_long_member_is_cut_between_records),
                cmocka_unit_test(each_worker_gets_its_share_of_what_is_left),
                cmocka_unit_test(an_end_that_becomes_known_in_the_middle_counts_from_there),
                cmocka_unit_test(what_is_short_is_not_cut_into_crumbs),
                cmocka_unit_test(a_wrong_expectation_costs_no_byte_and_no_crumbs),
                cmocka_unit_test(what_goes_through_many_blocks_has_the_hash_of_all_of_it),
                cmocka_unit_test(a_hash_that_nobody_waits_for_harms_nothing),
        };
        return cmocka_run_group_tests_name("pack", tests, setup, teardown);
}
