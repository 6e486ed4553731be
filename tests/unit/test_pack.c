/* test_pack.c - how the stream is divided into blocks */
#include "pack.h"

#include "seal_helpers.h"

#define MEMBER (64u * KiB)

struct seen {
        struct seal_keys keys;
        unsigned n;
        uint32_t len[64];
        uint64_t end; /* of the last block; blocks follow each other without a gap */
};

static int setup(void **state)
{
        static struct seen s;
        seal_keys_init(&s.keys);
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

/* Members of 64 KiB, `total` bytes in all; the end becomes known when `known_at` are written. */
static void run_members(
        struct seen *s, uint64_t total, uint64_t known_at, uint64_t expected, uint64_t each)
{
        static const uint8_t member[MEMBER];
        const struct keys_public *recipients[] = {s->keys.pub[0]};
        const struct pack_params params = {.kind = COMPRESS_NONE,
                .level = -1,
                .workers = 2,
                .volume_size = UINT64_MAX,
                .part_size = MiB,
                .recipients = recipients,
                .n_recipients = 1,
                .id = "test",
                .first_volume = 1};
        const struct pack_sink sink = {begin, block, part, end, s};
        struct pack *p;
        s->n = 0;
        s->end = 0;
        assert_int_equal(pack_new(&params, &sink, &p, NULL), 0);
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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_long_member_is_cut_between_records),
                cmocka_unit_test(each_worker_gets_its_share_of_what_is_left),
                cmocka_unit_test(an_end_that_becomes_known_in_the_middle_counts_from_there),
                cmocka_unit_test(what_is_short_is_not_cut_into_crumbs),
                cmocka_unit_test(a_wrong_expectation_costs_no_byte_and_no_crumbs),
        };
        return cmocka_run_group_tests_name("pack", tests, setup, teardown);
}
