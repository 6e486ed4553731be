/* Floors 0 and 1: errors, bytes, buffers, files, clocks, secrets. */
#include "buf.h"
#include "bytes.h"
#include "clock.h"
#include "err.h"
#include "io.h"
#include "secret.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* ---- err ---- */

static void an_error_says_what_why_and_what_to_do(void **state _unused_)
{
        struct err e = {0};
        assert_int_equal(err_errno(&e, -ENOENT, "cannot open %s", "a"), -ENOENT);
        assert_int_equal(err_prefix(&e, 0, "archive %d", 7), -ENOENT);
        err_hint(&e, "make it first");
        assert_string_equal(
                e.text, "archive 7: cannot open a: No such file or directory; make it first");
}

static void an_error_cannot_write_on_the_terminal(void **state _unused_)
{
        struct err e = {0};
        err_set(&e, -EIO, "cannot read %s", "a\x1b[2Jb\nc");
        assert_string_equal(e.text, "cannot read a?[2Jb?c");
        err_set(&e, -EIO, "cannot read %s",
                "\xc2\x9b"
                "2J\xc2\xa0\xc2");
        assert_string_equal(e.text, "cannot read ??2J\xc2\xa0\xc2");
}

static void a_long_error_is_cut_and_terminated(void **state _unused_)
{
        struct err e = {0};
        char big[4000];
        memset(big, 'x', sizeof big - 1);
        big[sizeof big - 1] = 0;
        err_set(&e, -EIO, "%s", big);
        err_prefix(&e, -EIO, "%s", big);
        err_hint(&e, "%s", big);
        assert_true(strlen(e.text) < sizeof e.text);
        assert_int_equal(err_set(NULL, -EIO, "nobody listens"), -EIO);
}

/* ---- bytes ---- */

static void reading_past_the_end_gives_zeros_and_says_so(void **state _unused_)
{
        static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
        struct bytes b = bytes_of(data, sizeof data);
        assert_int_equal(bytes_u16(&b), 0x0102);
        assert_int_equal(bytes_u32(&b), 0x03040506);
        assert_int_equal(bytes_u8(&b), 7);
        assert_false(b.bad);
        assert_int_equal(bytes_u32(&b), 0);
        assert_true(b.bad);
        assert_int_equal(bytes_u8(&b), 0); /* though two bytes are left */
        assert_null(bytes_take(&b, 1));
}

static void numbers_are_written_as_they_are_read(void **state _unused_)
{
        uint8_t p[64];
        uint8_t *end = bytes_put_u16(p, 0xfedc);
        end = bytes_put_u32(end, 0x01020304);
        end = bytes_put_u64(end, 0x1122334455667788);
        struct bytes b = bytes_of(p, (size_t)(end - p));
        assert_int_equal(bytes_u16(&b), 0xfedc);
        assert_int_equal(bytes_u32(&b), 0x01020304);
        assert_true(bytes_u64(&b) == 0x1122334455667788);
        assert_false(b.bad);
        assert_int_equal(b.left, 0);
        b = bytes_of("\x0d\x0c\x0b\x0a", 4);
        assert_int_equal(bytes_u32le(&b), 0x0a0b0c0d);
}

static void hex_and_base64_are_exact(void **state _unused_)
{
        char out[64];
        uint8_t back[4];
        bytes_hex("\x00\xff\x10z", 4, out);
        assert_string_equal(out, "00ff107a");
        assert_int_equal(bytes_unhex("00FF107a", back, 4), 0);
        assert_memory_equal(back, "\x00\xff\x10z", 4);
        assert_int_equal(bytes_unhex("00ff10", back, 4), -EINVAL);
        assert_int_equal(bytes_unhex("00ff107g", back, 4), -EINVAL);
        static const char *const cases[][2] = {
                {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) { /* RFC 4648, section 10 */
                bytes_base64(cases[i][0], strlen(cases[i][0]), out);
                assert_string_equal(out, cases[i][1]);
        }
}

static void only_well_formed_utf8_is_utf8(void **state _unused_)
{
        static const char *const good[] = {
                "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
        static const char *const bad[] = {"\x80", "\xc3", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
                "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                "a\xe2\x82"};
        for (size_t i = 0; i < ARRAY_SIZE(good); i++)
                assert_true(bytes_is_utf8(good[i], strlen(good[i])));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_false(bytes_is_utf8(bad[i], strlen(bad[i])));
}

/* ---- buf ---- */

static void a_json_string_is_valid_whatever_the_bytes(void **state _unused_)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        static const char s[] = "a\"\\\n\x01\xff\xc3\xa4";
        buf_add_json(&b, s, sizeof s - 1);
        assert_string_equal(buf_str(&b), "\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\xc3\xa4\"");
}

static void a_buffer_grows_and_is_given_away(void **state _unused_)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_string_equal(buf_str(&b), "");
        for (int i = 0; i < 1000; i++)
                buf_addf(&b, "%04d", i);
        assert_int_equal(b.len, 4000);
        char *s = buf_steal(&b);
        assert_memory_equal(s + 3996, "0999", 5);
        free(s);
        assert_int_equal(b.len, 0);
}

/* ---- io ---- */

struct folder {
        char path[64];
        int fd;
};

static int folder_setup(void **state)
{
        struct folder *f = calloc(1, sizeof *f);
        (void)snprintf(f->path, sizeof f->path, "/tmp/ag-base-XXXXXX");
        assert_non_null(mkdtemp(f->path));
        f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(f->fd >= 0);
        *state = f;
        return 0;
}

static int folder_teardown(void **state)
{
        struct folder *f = *state;
        close(f->fd);
        struct err e = {0};
        assert_int_equal(io_remove_tree(AT_FDCWD, f->path, &e), 0);
        free(f);
        return 0;
}

static void a_file_is_replaced_whole(void **state)
{
        struct folder *f = *state;
        struct err e = {0};
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(io_write_file(f->fd, "x", 0600, "one", 3, &e), 0);
        assert_int_equal(io_write_file(f->fd, "x", 0600, "three", 5, &e), 0);
        assert_int_equal(io_read_file(f->fd, "x", 100, &b, &e), 0);
        assert_string_equal(buf_str(&b), "three");
        assert_int_equal(io_read_file(f->fd, "x", 4, &b, &e), -EFBIG);
        assert_int_equal(faccessat(f->fd, "x.tmp", F_OK, 0), -1);
        assert_int_equal(io_write_file(f->fd, "no/x", 0600, "", 0, &e), -ENOENT);
        assert_non_null(strstr(e.text, "no/x"));
}

static void a_tree_is_removed_without_following_links(void **state)
{
        struct folder *f = *state;
        struct err e = {0};
        assert_int_equal(mkdirat(f->fd, "keep", 0700), 0);
        assert_int_equal(io_write_file(f->fd, "keep/x", 0600, "", 0, &e), 0);
        assert_int_equal(mkdirat(f->fd, "t", 0700), 0);
        assert_int_equal(mkdirat(f->fd, "t/closed", 0700), 0);
        assert_int_equal(io_write_file(f->fd, "t/closed/x", 0600, "", 0, &e), 0);
        assert_int_equal(symlinkat("../keep", f->fd, "t/link"), 0);
        assert_int_equal(fchmodat(f->fd, "t/closed", 0, 0), 0);
        assert_int_equal(io_remove_tree(f->fd, "t", &e), 0);
        assert_int_equal(faccessat(f->fd, "t", F_OK, 0), -1);
        assert_int_equal(faccessat(f->fd, "keep/x", F_OK, 0), 0);
        assert_int_equal(io_remove_tree(f->fd, "missing", &e), 0);
}

static int make_immutable(const struct folder *f, const char *name, int flags)
{
        _cleanup_close_ int fd = openat(f->fd, name, O_RDONLY);
        return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static void what_cannot_be_removed_is_named_with_the_reason(void **state)
{
        struct folder *f = *state;
        struct err e = {0};
        assert_int_equal(mkdirat(f->fd, "t", 0700), 0);
        assert_int_equal(io_write_file(f->fd, "t/fixed", 0600, "", 0, &e), 0);
        if (make_immutable(f, "t/fixed", FS_IMMUTABLE_FL) < 0)
                skip(); /* root's to do, and not on every filesystem */
        int q = io_remove_tree(f->fd, "t", &e);
        assert_int_equal(make_immutable(f, "t/fixed", 0), 0);
        assert_int_equal(q, -EPERM);
        assert_string_equal(e.text, "cannot remove fixed: Operation not permitted");
}

static void folders_are_made_with_their_parents(void **state)
{
        struct folder *f = *state;
        struct err e = {0};
        char path[128];
        (void)snprintf(path, sizeof path, "%s/a/b/c", f->path);
        assert_int_equal(io_mkdir_p(path, 0700, &e), 0);
        assert_int_equal(io_mkdir_p(path, 0700, &e), 0);
        assert_int_equal(io_write_file(f->fd, "file", 0600, "", 0, &e), 0);
        (void)snprintf(path, sizeof path, "%s/file/x", f->path);
        assert_true(io_mkdir_p(path, 0700, &e) < 0);
        (void)snprintf(path, sizeof path, "%s/file", f->path);
        assert_int_equal(io_mkdir_p(path, 0700, &e), -ENOTDIR);
}

static void a_lock_is_held_until_its_descriptor_is_closed(void **state)
{
        struct folder *f = *state;
        struct err e = {0};
        int one, two;
        assert_int_equal(io_lock_file(f->fd, "lock", &one, &e), 0);
        assert_int_equal(io_lock_file(f->fd, "lock", &two, &e), -EAGAIN);
        close(one);
        assert_int_equal(io_lock_file(f->fd, "lock", &two, &e), 0);
        close(two);
}

struct lockers {
        const struct folder *folder;
        atomic_int inside, rounds, clashes;
};

static void *lock_and_remove(void *arg)
{
        struct lockers *l = arg;
        int fd;
        while (atomic_load(&l->rounds) < 20000) {
                int q = io_lock_file(l->folder->fd, "lock", &fd, NULL);
                if (q == -EAGAIN)
                        continue;
                bool alone = q == 0 && atomic_fetch_add(&l->inside, 1) == 0;
                atomic_fetch_sub(&l->inside, 1);
                if (!alone || unlinkat(l->folder->fd, "lock", 0) < 0)
                        atomic_fetch_add(&l->clashes, 1);
                atomic_fetch_add(&l->rounds, 1);
                if (q == 0)
                        close(fd);
        }
        return NULL;
}

static void a_lock_file_that_its_holder_removes_keeps_out_all_others(void **state)
{
        struct lockers l = {.folder = *state};
        pthread_t threads[3];
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, lock_and_remove, &l), 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(l.clashes, 0);
}

/* ---- clock ---- */

static void times_are_utc_and_exact(void **state _unused_)
{
        char s[CLOCK_TEXT_MAX];
        clock_iso(1795383623ll * CLOCK_NSEC, s);
        assert_string_equal(s, "2026-11-22T21:40:23Z");
        clock_name(0, s);
        assert_string_equal(s, "1970-01-01T00-00-00Z");
        clock_iso_ns(-1, s);
        assert_string_equal(s, "1969-12-31T23:59:59.999999999Z");
}

static void seconds_before_1970_are_rounded_down(void **state _unused_)
{
        const struct timespec before = clock_timespec(-1), after = clock_timespec(CLOCK_NSEC + 5);
        assert_true(before.tv_sec == -1 && before.tv_nsec == CLOCK_NSEC - 1);
        assert_true(after.tv_sec == 1 && after.tv_nsec == 5);
}

static void times_outside_what_fits_become_the_first_or_last_moment(void **state _unused_)
{
        char s[CLOCK_TEXT_MAX];
        assert_true(clock_of(1795383623, 5) == 1795383623 * CLOCK_NSEC + 5);
        assert_true(clock_of(-1, CLOCK_NSEC - 1) == -1);
        clock_iso(clock_of(INT64_MAX, 0), s);
        assert_string_equal(s, "2262-04-11T23:47:15Z");
        clock_iso(clock_of(70137964800, 0), s); /* a service's answer, in the year 4192 */
        assert_string_equal(s, "2262-04-11T23:47:15Z");
        clock_iso(clock_of(INT64_MIN, 0), s);
        assert_string_equal(s, "1677-09-21T00:12:45Z");
        clock_iso(INT64_MIN, s);
        assert_string_equal(s, "1677-09-21T00:12:43Z");
}

static void sizes_and_spans_are_readable(void **state _unused_)
{
        static const struct {
                uint64_t bytes;
                const char *words;
        } sizes[] = {{0, "0 B"}, {999, "999 B"}, {1500, "1.5 kB"}, {99949, "99.9 kB"},
                {999499, "999 kB"}, {12345678, "12.3 MB"}};
        char s[CLOCK_TEXT_MAX];
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                clock_bytes_words(sizes[i].bytes, s);
                assert_string_equal(s, sizes[i].words);
        }
        clock_words(3 * CLOCK_NSEC, s);
        assert_string_equal(s, "3 s");
        clock_words(7260 * CLOCK_NSEC, s);
        assert_string_equal(s, "2 h 1 min");
}

static void durations_are_checked(void **state _unused_)
{
        int64_t v;
        assert_int_equal(clock_parse_duration("15m", &v), 0);
        assert_int_equal(v, 900);
        assert_int_equal(clock_parse_duration("5d", &v), 0);
        assert_int_equal(v, 432000);
        static const char *const bad[] = {"", "m", "-1", "1x", "99999999999999999999", "1 h"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(clock_parse_duration(bad[i], &v), -EINVAL);
}

/* ---- secret ---- */

static void a_secret_is_terminated_and_compared(void **state _unused_)
{
        _cleanup_secret_ struct secret *s = NULL;
        assert_int_equal(secret_copy("pass", 4, &s), 0);
        assert_string_equal((char *)s->data, "pass");
        assert_true(secret_equal(s->data, "pass", 4));
        assert_false(secret_equal(s->data, "pasS", 4));
        struct secret *none = NULL;
        assert_int_equal(secret_new(0, &none), -EINVAL);
        assert_int_equal(secret_new(65 * KiB, &none), -EINVAL);
        secret_free(NULL);
}

int main(void)
{
#define IN_FOLDER(t) cmocka_unit_test_setup_teardown(t, folder_setup, folder_teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_error_says_what_why_and_what_to_do),
                cmocka_unit_test(an_error_cannot_write_on_the_terminal),
                cmocka_unit_test(a_long_error_is_cut_and_terminated),
                cmocka_unit_test(reading_past_the_end_gives_zeros_and_says_so),
                cmocka_unit_test(numbers_are_written_as_they_are_read),
                cmocka_unit_test(hex_and_base64_are_exact),
                cmocka_unit_test(only_well_formed_utf8_is_utf8),
                cmocka_unit_test(a_json_string_is_valid_whatever_the_bytes),
                cmocka_unit_test(a_buffer_grows_and_is_given_away),
                IN_FOLDER(a_file_is_replaced_whole),
                IN_FOLDER(a_tree_is_removed_without_following_links),
                IN_FOLDER(what_cannot_be_removed_is_named_with_the_reason),
                IN_FOLDER(folders_are_made_with_their_parents),
                IN_FOLDER(a_lock_is_held_until_its_descriptor_is_closed),
                IN_FOLDER(a_lock_file_that_its_holder_removes_keeps_out_all_others),
                cmocka_unit_test(times_are_utc_and_exact),
                cmocka_unit_test(seconds_before_1970_are_rounded_down),
                cmocka_unit_test(times_outside_what_fits_become_the_first_or_last_moment),
                cmocka_unit_test(sizes_and_spans_are_readable),
                cmocka_unit_test(durations_are_checked),
                cmocka_unit_test(a_secret_is_terminated_and_compared),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
