/* What goes in comes out: sizes, ranges, recipients, context, and how writer and reader behave. */
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

static struct seal_reader *open_reader(struct seal_memory *m, int key)
{
        const struct seal_source source = seal_source_of(m);
        struct seal_reader *r = NULL;
        struct err e = {0};
        if (seal_reader_new(&source, seal_unwrap_with_key, keys.priv[key], &r, &e) < 0)
                fail_msg("%s", e.text);
        return r;
}

static size_t header_size(const struct seal_source *source)
{
        struct seal_header h = {0};
        assert_int_equal(seal_header_read(source, &h, NULL), 0);
        size_t len = h.len;
        seal_header_done(&h);
        return len;
}

static void check_round_trip(size_t len, size_t chunk)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, len, chunk, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        assert_int_equal(seal_reader_size(r), len);
        const struct seal_source source = seal_source_of(&m);
        assert_int_equal(seal_wire_size(header_size(&source), len), message.len);

        _cleanup_buf_ struct buf plain = BUF_INIT;
        struct err e = {0};
        assert_int_equal(
                seal_read_all(&message, seal_unwrap_with_key, keys.priv[0], &plain, &e), 0);
        _cleanup_free_ uint8_t *want = seal_bytes(len);
        assert_int_equal(plain.len, len);
        assert_memory_equal(buf_str(&plain), want, len);
}

static void messages_of_every_size_come_back(_unused_ void **state)
{
        static const size_t sizes[] = {
                0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME - 1, 2 * FRAME, 3 * FRAME + 17};
        static const size_t chunks[] = {4093, FRAME, SIZE_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
                for (size_t j = 0; j < ARRAY_SIZE(chunks); j++)
                        check_round_trip(sizes[i], chunks[j]);
}

static void single_bytes_make_the_same_message(_unused_ void **state)
{
        check_round_trip(1000, 1);
}

/* ---- the writer ---- */

struct lengths {
        size_t len[16];
        unsigned n;
        int fail_at; /* -1: never */
};

static int note_length(void *ctx, _unused_ const void *data, size_t len, struct err *e)
{
        struct lengths *l = ctx;
        if ((int)l->n == l->fail_at)
                return err_set(e, -ENOSPC, "the sink is full");
        assert_true(l->n < ARRAY_SIZE(l->len));
        l->len[l->n++] = len;
        return 0;
}

static struct seal_writer *open_writer(struct lengths *l)
{
        const struct keys_public *to[] = {keys.pub[0]};
        struct seal_writer *w = NULL;
        assert_int_equal(seal_writer_new(to, 1, NULL, 0, note_length, l, &w, NULL), 0);
        return w;
}

static void full_frames_are_exactly_one_mib_on_the_wire(_unused_ void **state)
{
        struct lengths l = {.fail_at = -1};
        _cleanup_(seal_writer_freep) struct seal_writer *w = open_writer(&l);
        assert_int_equal(l.n, 1); /* the header does not wait for data */
        assert_int_equal(l.len[0], seal_writer_wire(w));
        _cleanup_free_ uint8_t *data = seal_bytes(3 * FRAME + 5);
        assert_int_equal(seal_write(w, data, 3 * FRAME + 5, NULL), 0);
        assert_int_equal(l.n, 4);
        assert_int_equal(seal_finish(w, NULL), 0);
        assert_int_equal(l.n, 5);
        for (unsigned i = 1; i <= 3; i++)
                assert_int_equal(l.len[i], MiB);
        assert_int_equal(l.len[4], 24 + 5 + 16);
}

static void an_exact_frame_becomes_the_final_one(_unused_ void **state)
{
        struct lengths l = {.fail_at = -1};
        _cleanup_(seal_writer_freep) struct seal_writer *w = open_writer(&l);
        _cleanup_free_ uint8_t *data = seal_bytes(FRAME);
        assert_int_equal(seal_write(w, data, FRAME, NULL), 0);
        assert_int_equal(seal_finish(w, NULL), 0);
        assert_int_equal(l.n, 2);
        assert_int_equal(l.len[1], 24 + FRAME + 16);
}

static void an_error_of_the_sink_ends_the_writer(_unused_ void **state)
{
        struct lengths l = {.fail_at = 2};
        struct err e = {0};
        _cleanup_(seal_writer_freep) struct seal_writer *w = open_writer(&l);
        _cleanup_free_ uint8_t *data = seal_bytes(4 * FRAME);
        assert_int_equal(seal_write(w, data, 4 * FRAME, &e), -ENOSPC);
        assert_string_equal(e.text, "the sink is full");
        l.fail_at = -1;
        assert_int_equal(seal_write(w, data, 1, &e), -ENOSPC);
        assert_int_equal(seal_finish(w, &e), -ENOSPC);
        assert_int_equal(l.n, 2); /* nothing came after the failure */
}

static void nothing_is_written_after_the_final_frame(_unused_ void **state)
{
        struct lengths l = {.fail_at = -1};
        _cleanup_(seal_writer_freep) struct seal_writer *w = open_writer(&l);
        assert_int_equal(seal_finish(w, NULL), 0);
        assert_int_equal(seal_write(w, "x", 1, NULL), -EINVAL);
        assert_int_equal(seal_finish(w, NULL), -EINVAL);
        assert_int_equal(l.n, 2);
}

static void each_message_has_its_own_id_and_keys(_unused_ void **state)
{
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        seal_message(&keys, 1, 100, 100, &a);
        seal_message(&keys, 1, 100, 100, &b);
        assert_int_equal(a.len, b.len);
        assert_memory_not_equal(a.data + 3, b.data + 3, SEAL_MESSAGE_ID);
        assert_memory_not_equal(a.data + a.len - 116, b.data + b.len - 116, 100);
}

/* ---- the context and the recipients that a writer takes ---- */

static int try_context(const struct seal_pair *context, size_t n)
{
        const struct keys_public *to[] = {keys.pub[0]};
        _cleanup_buf_ struct buf out = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        struct err e = {0};
        int r = seal_writer_new(to, 1, context, n, seal_to_buf, &out, &w, &e);
        assert_true(r == 0 || (out.len == 0 && *e.text));
        return r;
}

static void a_context_that_is_not_possible_is_refused(_unused_ void **state)
{
        static char big[65536];
        memset(big, 'x', sizeof big - 1);
        const struct seal_pair twice[] = {{"b", "1"}, {"a", "2"}, {"b", "3"}};
        const struct seal_pair bad[] = {{"", "no name"}, {"aws-crypto-public-key", "reserved"},
                {"\xff", "not UTF-8"}, {"value", "\xc0\x80"}, {"large", big}};
        assert_int_equal(try_context(twice, 3), -EINVAL);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(try_context(&bad[i], 1), -EINVAL);
        assert_int_equal(try_context(twice, 2), 0);
}

static void the_context_is_read_back(_unused_ void **state)
{
        const struct seal_pair context[] = {
                {"z", "last"}, {"empty", ""}, {"name", "ä € 漢"}, {"A", "first"}};
        const struct keys_public *to[] = {keys.pub[0]};
        _cleanup_buf_ struct buf out = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        assert_int_equal(
                seal_writer_new(to, 1, context, ARRAY_SIZE(context), seal_to_buf, &out, &w, NULL),
                0);
        assert_int_equal(seal_finish(w, NULL), 0);
        struct seal_memory m = seal_memory_of(&out);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        for (size_t i = 0; i < ARRAY_SIZE(context); i++)
                assert_string_equal(seal_reader_context(r, context[i].key), context[i].value);
        assert_null(seal_reader_context(r, "last"));
        assert_null(seal_reader_context(r, ""));
        assert_memory_equal(seal_reader_message_id(r), seal_writer_message_id(w), SEAL_MESSAGE_ID);
}

static void a_message_without_context_is_read(_unused_ void **state)
{
        const struct keys_public *to[] = {keys.pub[0]};
        _cleanup_buf_ struct buf out = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        assert_int_equal(seal_writer_new(to, 1, NULL, 0, seal_to_buf, &out, &w, NULL), 0);
        assert_int_equal(seal_finish(w, NULL), 0);
        struct seal_memory m = seal_memory_of(&out);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        assert_null(seal_reader_context(r, "format"));
        assert_int_equal(seal_check_end(r, NULL), 0);
}

static int collect(void *ctx, const char *fingerprint)
{
        buf_addf(ctx, "%s\n", fingerprint);
        return 0;
}

static char *recipients_of(const struct buf *message)
{
        struct seal_memory m = seal_memory_of(message);
        const struct seal_source source = seal_source_of(&m);
        struct buf names = BUF_INIT;
        assert_int_equal(seal_recipients(&source, collect, &names, NULL), 0);
        return buf_steal(&names);
}

static void every_recipient_reads_and_is_listed(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 2, FRAME + 1, SIZE_MAX, &message);
        for (int i = 0; i < 2; i++) {
                _cleanup_buf_ struct buf plain = BUF_INIT;
                assert_int_equal(
                        seal_read_all(&message, seal_unwrap_with_key, keys.priv[i], &plain, NULL),
                        0);
                assert_int_equal(plain.len, FRAME + 1);
        }
        _cleanup_free_ char *names = recipients_of(&message);
        char want[2 * KEYS_FINGERPRINT_LEN + 3];
        (void)snprintf(want, sizeof want, "%s\n%s\n", keys_public_fingerprint(keys.pub[0]),
                keys_public_fingerprint(keys.pub[1]));
        assert_string_equal(names, want);
}

static void a_recipient_listed_twice_counts_once(_unused_ void **state)
{
        const struct keys_public *to[] = {keys.pub[1], keys.pub[1], keys.pub[1]};
        _cleanup_buf_ struct buf out = BUF_INIT;
        _cleanup_(seal_writer_freep) struct seal_writer *w = NULL;
        assert_int_equal(seal_writer_new(to, 3, NULL, 0, seal_to_buf, &out, &w, NULL), 0);
        _cleanup_free_ char *names = recipients_of(&out);
        assert_int_equal(strlen(names), KEYS_FINGERPRINT_LEN + 1);
}

static void nobody_as_recipient_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf out = BUF_INIT;
        struct seal_writer *w = NULL;
        assert_int_equal(seal_writer_new(NULL, 0, NULL, 0, seal_to_buf, &out, &w, NULL), -EINVAL);
        assert_int_equal(out.len, 0);
        assert_null(w);
}

static void another_key_is_told_which_one_is_needed(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT, plain = BUF_INIT;
        struct err e = {0};
        seal_message(&keys, 1, 10, 10, &message);
        assert_int_equal(
                seal_read_all(&message, seal_unwrap_with_key, keys.priv[1], &plain, &e), -ENOKEY);
        assert_non_null(strstr(e.text, keys_public_fingerprint(keys.pub[0])));
}

static int locked(_unused_ void *ctx, _unused_ const char *fingerprint,
        _unused_ const uint8_t *wrapped, _unused_ size_t len, _unused_ uint8_t *ret, struct err *e)
{
        return err_set(e, -EACCES, "the key is under lock");
}

static void an_error_of_the_unwrapper_comes_through(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT, plain = BUF_INIT;
        struct err e = {0};
        seal_message(&keys, 2, 10, 10, &message);
        assert_int_equal(seal_read_all(&message, locked, NULL, &plain, &e), -EACCES);
        assert_string_equal(e.text, "the key is under lock");
}

/* ---- the reader ---- */

static void check_range(struct seal_reader *r, uint64_t offset, size_t len)
{
        _cleanup_free_ uint8_t *got = malloc(len + 1);
        assert_non_null(got);
        assert_int_equal(seal_pread(r, got, len, offset, NULL), 0);
        for (size_t i = 0; i < len; i++)
                if (got[i] != seal_byte_at(offset + i))
                        fail_msg("byte %zu of the range at %llu is wrong", i,
                                (unsigned long long)offset);
}

static void any_range_reads_the_same_bytes(_unused_ void **state)
{
        const size_t len = 20 * FRAME + 12345;
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, len, 16 * MiB, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        static const uint64_t edges[] = {0, 1, FRAME - 1, FRAME, FRAME + 1, 16 * FRAME - 1,
                16 * FRAME, 20 * FRAME - 1, 20 * FRAME, 20 * FRAME + 12344, 20 * FRAME + 12345};
        for (size_t i = 0; i < ARRAY_SIZE(edges); i++)
                for (size_t j = i; j < ARRAY_SIZE(edges); j++)
                        check_range(r, edges[i], (size_t)(edges[j] - edges[i]));
        srand(1);
        for (int i = 0; i < 100; i++) {
                size_t offset = (size_t)rand() % len;
                check_range(r, offset, MIN((size_t)rand() % 70000, len - offset));
        }
        assert_int_equal(seal_check_end(r, NULL), 0);
}

static void reading_behind_the_end_is_refused(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 100, 100, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        uint8_t byte;
        assert_int_equal(seal_pread(r, &byte, 1, 100, NULL), -EINVAL);
        assert_int_equal(seal_pread(r, &byte, 1, UINT64_MAX, NULL), -EINVAL);
        assert_int_equal(seal_pread(r, &byte, SIZE_MAX, 1, NULL), -EINVAL);
        assert_int_equal(seal_pread(r, &byte, 0, 100, NULL), 0);
}

static void wide_reads_fetch_in_runs_of_sixteen_frames(_unused_ void **state)
{
        const size_t len = 33 * FRAME;
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, len, 16 * MiB, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        m.calls = 0;
        m.widest = 0;
        check_range(r, 0, len);
        assert_int_equal(m.calls, 3);
        assert_true(m.widest <= 16 * MiB + 8);
}

static void small_reads_fetch_each_frame_once(_unused_ void **state)
{
        const size_t len = 3 * FRAME;
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, len, SIZE_MAX, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        m.calls = 0;
        for (size_t at = 0; at < len; at += FRAME / 4)
                check_range(r, at, FRAME / 4);
        assert_int_equal(m.calls, 3);
        assert_int_equal(seal_check_end(r, NULL), 0);
        assert_int_equal(m.calls, 3);
}

static void an_error_of_the_source_comes_through(_unused_ void **state)
{
        _cleanup_buf_ struct buf message = BUF_INIT;
        seal_message(&keys, 1, 3 * FRAME, SIZE_MAX, &message);
        struct seal_memory m = seal_memory_of(&message);
        _cleanup_(seal_reader_freep) struct seal_reader *r = open_reader(&m, 0);
        m.len = 2 * MiB; /* it shrinks while it is read */
        uint8_t byte;
        struct err e = {0};
        assert_int_equal(seal_pread(r, &byte, 1, 0, &e), 0);
        assert_int_equal(seal_pread(r, &byte, 1, 2 * FRAME, &e), -EPROTO);
        assert_string_equal(e.text, "the object is shorter than it says");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_of_every_size_come_back),
                cmocka_unit_test(single_bytes_make_the_same_message),
                cmocka_unit_test(full_frames_are_exactly_one_mib_on_the_wire),
                cmocka_unit_test(an_exact_frame_becomes_the_final_one),
                cmocka_unit_test(an_error_of_the_sink_ends_the_writer),
                cmocka_unit_test(nothing_is_written_after_the_final_frame),
                cmocka_unit_test(each_message_has_its_own_id_and_keys),
                cmocka_unit_test(a_context_that_is_not_possible_is_refused),
                cmocka_unit_test(the_context_is_read_back),
                cmocka_unit_test(a_message_without_context_is_read),
                cmocka_unit_test(every_recipient_reads_and_is_listed),
                cmocka_unit_test(a_recipient_listed_twice_counts_once),
                cmocka_unit_test(nobody_as_recipient_is_refused),
                cmocka_unit_test(another_key_is_told_which_one_is_needed),
                cmocka_unit_test(an_error_of_the_unwrapper_comes_through),
                cmocka_unit_test(any_range_reads_the_same_bytes),
                cmocka_unit_test(reading_behind_the_end_is_refused),
                cmocka_unit_test(wide_reads_fetch_in_runs_of_sixteen_frames),
                cmocka_unit_test(small_reads_fetch_each_frame_once),
                cmocka_unit_test(an_error_of_the_source_comes_through),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
