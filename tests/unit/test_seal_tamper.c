/* What was altered is refused: bits, frames, lengths. */
#include "seal_helpers.h"

#include "seal_internal.h"

static struct seal_keys keys;

static int setup(_unused_ void **state)
{
        seal_keys_init(&keys);
        return 0;
}

static int teardown(_unused_ void **state)
{
        seal_keys_done(&keys);
        return 0;
}

static int read_it(const struct buf *message, struct err *e)
{
        _cleanup_buf_ struct buf plain = BUF_INIT;
        return seal_read_all(message, seal_unwrap_with_key, keys.priv[0], &plain, e);
}

/* Refused as altered or broken, and in words. */
static void assert_refused(const struct buf *message)
{
        struct err e = {0};
        int r = read_it(message, &e);
        if (r != -EBADMSG && r != -EPROTO && r != -EPROTONOSUPPORT && r != -ENOKEY)
                fail_msg("%d (%s) instead of a refusal", r, e.text);
        assert_int_equal(e.code, r);
        assert_true(strlen(e.text) > 10);
}

static void copy(struct buf *to, const struct buf *from, size_t start, size_t end)
{
        buf_add(to, from->data + start, end - start);
}

static size_t header_size(const struct buf *message)
{
        struct seal_header h;
        assert_int_equal(seal_header_parse(message->data, message->len, &h, NULL), 0);
        size_t len = h.len;
        seal_header_done(&h);
        return len;
}

/* ---- bits ---- */

static void a_flipped_bit_anywhere_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 2, 40, 40, &message);
        assert_int_equal(read_it(&message, NULL), 0);
        for (size_t i = 0; i < message.len; i++) {
                /* all bits where it is cheap; one in each byte of the wrapped keys */
                unsigned step = i > 200 && i < header_size(&message) - 60 ? 7 : 1;
                for (unsigned bit = (unsigned)i % step; bit < 8; bit += step) {
                        message.data[i] ^= (char)(1 << bit);
                        /* the other recipient's key is none of ours, but the tag covers it */
                        assert_refused(&message);
                        message.data[i] ^= (char)(1 << bit);
                }
        }
        assert_int_equal(read_it(&message, NULL), 0);
}

static void a_flipped_bit_in_any_field_of_a_full_frame_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME + 9, SIZE_MAX, &message);
        const size_t frame = header_size(&message) + MiB;
        /* number, IV, first, middle and last ciphertext byte, tag */
        static const size_t at[] = {0, 3, 4, 11, 15, 16, 524288, MiB - 17, MiB - 16, MiB - 1};
        for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
                message.data[frame + at[i]] ^= 0x10;
                assert_refused(&message);
                message.data[frame + at[i]] ^= 0x10;
        }
        assert_int_equal(read_it(&message, NULL), 0);
}

static void no_byte_of_a_bad_frame_is_released(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME, SIZE_MAX, &message);
        message.data[header_size(&message) + 2 * MiB - 1] ^= 1; /* the tag of the second frame */
        struct seal_memory m = seal_memory_of(&message);
        const struct seal_source source = seal_source_of(&m);
        _cleanup_(seal_reader_freep) struct seal_reader *r = NULL;
        assert_int_equal(seal_reader_new(&source, seal_unwrap_with_key, keys.priv[0], &r, NULL), 0);

        uint8_t got[64], untouched[64];
        memset(got, 0xaa, sizeof got);
        memset(untouched, 0xaa, sizeof untouched);
        struct err e = {0};
        for (int again = 0; again < 2; again++) {
                assert_int_equal(seal_pread(r, got, sizeof got, FRAME, &e), -EBADMSG);
                assert_memory_equal(got, untouched, sizeof got);
        }
        assert_non_null(strstr(e.text, "frame 2"));

        /* its neighbours stand by themselves */
        assert_int_equal(seal_pread(r, got, sizeof got, 0, NULL), 0);
        assert_int_equal(got[0], seal_byte_at(0));
        assert_int_equal(seal_pread(r, got, sizeof got, 2 * FRAME, NULL), 0);
        assert_int_equal(got[0], seal_byte_at(2 * FRAME));
        assert_int_equal(seal_check_end(r, NULL), 0);
}

/* ---- frames ---- */

/* The message with its frames (0 to 3, the last being final) in another order. */
static void rearranged(const struct buf *message, const int *order, size_t n, struct buf *out)
{
        size_t head = header_size(message);
        copy(out, message, 0, head);
        for (size_t i = 0; i < n; i++) {
                size_t start = head + (size_t)order[i] * MiB;
                copy(out, message, start, order[i] == 3 ? message->len : start + MiB);
        }
}

static void frames_exchanged_dropped_or_repeated_are_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME + 5, SIZE_MAX, &message);
        static const struct {
                int order[5];
                size_t n;
        } cases[] = {
                {{1, 0, 2, 3}, 4},
                {{0, 2, 1, 3}, 4},
                {{0, 1, 3}, 3},
                {{1, 2, 3}, 3},
                {{0, 1, 1, 3}, 4},
                {{0, 0, 1, 2, 3}, 5},
                {{0, 1, 2, 2, 3}, 5},
                {{3}, 1},
                {{0, 1, 2, 3, 3}, 5},
                {{0, 1, 2}, 3},
                {{0}, 1},
                {{0, 3, 1, 2}, 4},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf changed = BUF_INIT;
                rearranged(&message, cases[i].order, cases[i].n, &changed);
                assert_refused(&changed);
        }
        _cleanup_buf_ struct buf same = BUF_INIT;
        rearranged(&message, (const int[]){0, 1, 2, 3}, 4, &same);
        assert_int_equal(read_it(&same, NULL), 0);
}

static void a_frame_of_another_message_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        seal_message(&keys, 1, 2 * FRAME, SIZE_MAX, &a);
        seal_message(&keys, 1, 2 * FRAME, SIZE_MAX, &b);
        size_t head = header_size(&a);
        memcpy(a.data + head, b.data + head, MiB);
        assert_refused(&a);
}

static void the_body_of_another_message_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        seal_message(&keys, 1, 100, 100, &a);
        seal_message(&keys, 1, 100, 100, &b);
        size_t head = header_size(&a);
        memcpy(a.data + head, b.data + head, a.len - head);
        assert_refused(&a);
}

/* ---- lengths ---- */

static void a_message_cut_off_anywhere_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 60, 60, &message);
        for (size_t len = 0; len < message.len; len++) {
                _cleanup_buf_ struct buf cut = BUF_INIT;
                copy(&cut, &message, 0, len);
                assert_refused(&cut);
        }
}

static void a_message_cut_off_near_a_frame_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME, SIZE_MAX, &message);
        size_t head = header_size(&message);
        for (size_t frame = 0; frame < 3; frame++)
                for (size_t d = 0; d < 100; d++) {
                        _cleanup_buf_ struct buf cut = BUF_INIT;
                        copy(&cut, &message, 0, MIN(head + frame * MiB + d, message.len - 1));
                        assert_refused(&cut);
                }
}

static void what_is_appended_is_refused(_unused_ void **state)
{
        static const size_t sizes[] = {0, 100, FRAME};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_buf_ struct buf message = BUF_INIT, twice = BUF_INIT;
                seal_message(&keys, 1, sizes[i], SIZE_MAX, &message);
                copy(&twice, &message, 0, message.len);
                copy(&twice, &message, 0, message.len);
                assert_refused(&twice);
                for (int n = 0; n < 50; n++) {
                        buf_addc(&message, (char)n);
                        assert_refused(&message);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
                cmocka_unit_test(a_flipped_bit_in_any_field_of_a_full_frame_is_refused),
                cmocka_unit_test(no_byte_of_a_bad_frame_is_released),
                cmocka_unit_test(frames_exchanged_dropped_or_repeated_are_refused),
                cmocka_unit_test(a_frame_of_another_message_is_refused),
                cmocka_unit_test(the_body_of_another_message_is_refused),
                cmocka_unit_test(a_message_cut_off_anywhere_is_refused),
                cmocka_unit_test(a_message_cut_off_near_a_frame_is_refused),
                cmocka_unit_test(what_is_appended_is_refused),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
