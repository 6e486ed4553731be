#include "catalog_helpers.h"

#include "manifest.h"

#include <jansson.h>

#define A "20261122T212703Z-00000001"

static const struct put odd[] = {
        {.path = "photos", .type = 'd', .at = 0},
        {.path = "photos/a.jpg", .type = 'f', .at = 512, .size = 1000, .sum = 1},
        {.path = "photos/invalid \xff\xfe name", .type = 'f', .at = 2048, .size = 10, .sum = 2},
        {.path = "new\nline \"quoted\" \\ \x01\x7f", .type = 'f', .at = 3072, .size = 0, .sum = 3},
        {.path = "implied/Größe 写真", .type = 'f', .at = 3584, .size = 1, .sum = 4},
        {.path = "link", .type = 'l', .at = 4608, .link = "../\x80/photos"},
        {.path = "twin", .type = 'h', .at = 5120, .size = 1000, .link = "photos/a.jpg"},
        {.path = "last", .type = 'f', .at = 5632, .size = 4096, .sum = 5},
};

static void put_whole_archive(struct catalog *c)
{
        put_archive(c, A, "odd names,\nin two lines");
        put_members(c, A, odd, ARRAY_SIZE(odd));
        struct catalog_archive a;
        OK(catalog_archive_get(c, A, &a, E));
        a.n_returned = 1;
        OK(catalog_archive_update(c, &a, E));
        catalog_archive_done(&a);
        for (unsigned i = 0; i < 3; i++) {
                struct catalog_block b = {.volume = 1,
                        .number = i,
                        .tar_offset = 4096ull * i,
                        .tar_len = 4096,
                        .plain_offset = 100 * i + 12,
                        .plain_len = 100};
                OK(catalog_block_add(c, A, &b, E));
        }
        struct catalog_volume v = {.number = 1,
                .object = "archives/0a1b2c3d/" A "-0001.tar.xz.esdk",
                .tar_end = 12288,
                .plain_size = 400,
                .size = 1048576};
        memset(v.tree_hash, 0xab, sizeof v.tree_hash);
        memset(v.message_id, 0xcd, sizeof v.message_id);
        OK(catalog_volume_done(c, A, &v, E));
        OK(catalog_volume_begin(c, A, 2, "archives/0a1b2c3d/not-done", 12288, E));
        OK(catalog_event(c, A, 'w', "something \xff odd", E));
}

static char *write_text(struct catalog *c, size_t *ret_len)
{
        uint64_t size;
        _cleanup_close_ int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        OK(manifest_write(c, A, 1, fd, &size, E));
        char *text = calloc(1, (size_t)size + 1);
        assert_non_null(text);
        assert_int_equal(io_pread_full(fd, text, (size_t)size + 1, 0), size);
        *ret_len = (size_t)size;
        return text;
}

/* Written from the catalogue and from an earlier manifest, it is the same; one that has lost a
 * member is not believed. */
static void members_copied_from_an_earlier_manifest_are_the_same(void **state)
{
        struct scratch *s = *state;
        put_whole_archive(s->c);
        size_t len;
        _cleanup_free_ char *text = write_text(s->c, &len);
        const char *lost = strstr(text, "{\"path\":\"photos/a.jpg\"");
        assert_non_null(lost);
        for (int damaged = 0; damaged < 4; damaged++) {
                _cleanup_close_ int from = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
                _cleanup_close_ int to = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
                const char *rest = damaged == 1 ? strchr(lost, '\n') + 1 : lost;
                assert_int_equal(io_write_full(from, text, (size_t)(lost - text)), 0);
                if (damaged != 2)
                        assert_int_equal(io_write_full(from, rest, strlen(rest)), 0);
                uint64_t size;
                if (damaged == 3) /* only who copies cannot know that it was altered */
                        assert_int_equal(pwrite(from, "P", 1, lost - text + 9), 1);
                OK(manifest_write_again(s->c, A, 1, from, to, &size, E));
                _cleanup_free_ char *again = calloc(1, (size_t)size + 1);
                assert_non_null(again);
                assert_int_equal(io_pread_full(to, again, (size_t)size + 1, 0), size);
                if (damaged == 3) {
                        assert_int_equal(again[lost - text + 9], 'P');
                        again[lost - text + 9] = 'p';
                }
                assert_string_equal(again, text);
        }
}

/* Its row is needed until the archive is packed: a volume may end in it. */
static void file_that_broke_off_is_not_named(void **state)
{
        static const struct put cut = {.path = "cut", .type = 'f', .at = 12288, .size = 4096};
        struct scratch *s = *state;
        size_t len, with;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        put_members(s->c, A, &cut, 1);
        _cleanup_free_ char *again = write_text(s->c, &with);
        assert_string_equal(again, text);
}

struct text {
        const char *p;
        size_t left, step; /* at most `step` bytes a call */
};

static ssize_t pull_text(void *ctx, void *data, size_t len, struct err *e _unused_)
{
        struct text *t = ctx;
        size_t n = MIN(MIN(t->left, len), t->step);
        memcpy(data, t->p, n);
        t->p += n;
        t->left -= n;
        return (ssize_t)n;
}

static int read_text(struct catalog *c, const char *text, size_t len, size_t step)
{
        struct text t = {.p = text, .left = len, .step = step};
        char *id = NULL;
        scratch_err = (struct err){0};
        int q = manifest_read(pull_text, &t, c, &id, E);
        if (q == 0)
                assert_string_equal(id, A);
        else
                assert_null(id);
        free(id);
        return q;
}

static struct catalog *open_second(const struct scratch *s)
{
        struct catalog *c;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/second.db", s->dir);
        OK(catalog_open(path, &c, E));
        return c;
}

/* The text without what differs between two runs. */
static char *without_times(const char *text)
{
        char *s = strdup(text);
        char *p = strstr(s, "\"written_unix\":\"");
        assert_non_null(p);
        memset(p + 16, '0', 20);
        return s;
}

/* ---- format ---- */

static void manifest_fills_whole_records_with_lines_of_json(void **state)
{
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        assert_int_equal(len % 512, 0);
        assert_int_equal(text[len - 1], '\n');
        unsigned lines = 0;
        for (char *p = text, *nl; (nl = strchr(p, '\n')); p = nl + 1, lines++) {
                json_t *o = json_loadb(p, (size_t)(nl - p), JSON_REJECT_DUPLICATES, NULL);
                assert_true(json_is_object(o));
                json_decref(o);
        }
        assert_int_equal(lines, 1 + ARRAY_SIZE(odd) + 3 + 1 + 1 + 1);
        assert_ptr_equal(
                strstr(text, "{\"manifest\":\"autoglacier\",\"version\":1,\"id\":\"" A "\""), text);
        assert_non_null(strstr(text, "\"path_base64\":\"cGhvdG9zL2ludmFsaWQg//4gbmFtZQ==\""));
        assert_non_null(strstr(text, "\"mtime\":\"-1.500000000\""));
        assert_non_null(strstr(text, "\"mode\":\"0644\""));
        assert_null(strstr(text, "not-done"));
        assert_null(strstr(text, "\"type\":\"i\""));
}

static void manifest_of_an_unknown_archive_is_refused(void **state)
{
        struct scratch *s = *state;
        uint64_t size = 4711;
        FAILS(manifest_write(s->c, "none", 1, 1, &size, E), -ENOENT);
        assert_int_equal(size, 4711);
}

static void full_disk_stops_the_manifest(void **state)
{
        struct scratch *s = *state;
        uint64_t size;
        put_whole_archive(s->c);
        _cleanup_close_ int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        FAILS(manifest_write(s->c, A, 1, fd, &size, E), -ENOSPC);
}

/* ---- round trip ---- */

static void manifest_made_of_what_was_read_is_the_same(void **state)
{
        static const size_t steps[] = {1, 7, 511, 1 << 20};
        struct scratch *s = *state;
        size_t len, again_len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        struct catalog *c = open_second(s);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                if (read_text(c, text, len, steps[i]) != 0)
                        fail_msg("%s", scratch_err.text);
                _cleanup_free_ char *again = write_text(c, &again_len);
                _cleanup_free_ char *x = without_times(text);
                _cleanup_free_ char *y = without_times(again);
                assert_string_equal(x, y);
                OK(catalog_archive_remove(c, A, E));
        }
        catalog_close(c);
}

static void archive_read_back_counts_as_stored(void **state)
{
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        struct catalog *c = open_second(s);
        assert_int_equal(read_text(c, text, len, 4096), 0);
        struct catalog_archive a, b;
        OK(catalog_archive_get(s->c, A, &a, E));
        OK(catalog_archive_get(c, A, &b, E));
        assert_int_equal(b.state, ARCHIVE_INCOMPLETE); /* one entry had gone back */
        assert_true(b.packed && b.released && b.stored > 0);
        assert_string_equal(b.name, a.name);
        assert_string_equal(b.description, a.description);
        assert_int_equal(b.created, a.created);
        assert_int_equal(b.level, -1);
        assert_int_equal(b.n_files, 5);
        assert_int_equal(b.n_dirs, 1);
        assert_int_equal(b.n_links, 1);
        assert_int_equal(b.n_hardlinks, 1);
        assert_int_equal(b.bytes, 1000 + 10 + 1 + 4096);
        assert_int_equal(b.stored_bytes, 1048576);
        assert_int_equal(b.tar_bytes, 12288);
        assert_int_equal(b.n_warnings, 1);
        struct catalog_totals t;
        OK(catalog_member_totals(c, A, &t, E));
        assert_int_equal(b.sums_bytes, t.sums_bytes);
        catalog_archive_done(&a);
        catalog_archive_done(&b);
        catalog_close(c);
}

static void archive_that_is_there_is_not_touched(void **state)
{
        struct scratch *s = *state;
        size_t len, after_len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        assert_int_equal(read_text(s->c, text, len, 4096), -EEXIST);
        _cleanup_free_ char *after = write_text(s->c, &after_len);
        _cleanup_free_ char *x = without_times(text);
        _cleanup_free_ char *y = without_times(after);
        assert_string_equal(x, y);
}

/* ---- what is refused ---- */

static void expect_nothing_left(struct catalog *c)
{
        bool empty = false;
        OK(catalog_is_empty(c, &empty, E));
        assert_true(empty);
}

static void manifest_cut_anywhere_is_refused(void **state)
{
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        struct catalog *c = open_second(s);
        for (size_t n = 0; n < len; n += 61) {
                assert_int_equal(read_text(c, text, n, 4096), -EPROTO);
                expect_nothing_left(c);
        }
        assert_int_equal(read_text(c, text, len - 1, 4096), -EPROTO);
        expect_nothing_left(c);
        catalog_close(c);
}

/* Replaces the first `from` by `to`. */
static char *altered(const char *text, const char *from, const char *to)
{
        const char *at = strstr(text, from);
        assert_non_null(at);
        struct buf b = BUF_INIT;
        buf_add(&b, text, (size_t)(at - text));
        buf_adds(&b, to);
        buf_adds(&b, at + strlen(from));
        return buf_steal(&b);
}

static void manifest_that_breaks_a_rule_is_refused(void **state)
{
        static const struct {
                const char *from, *to;
                int code;
        } cases[] = {
                {"{\"manifest\":\"autoglacier\"", "{\"manifest\":\"other\"", -EPROTO},
                {"\"version\":1", "\"version\":2", -EPROTONOSUPPORT},
                {"\"id\":\"2026", "\"id\":\"../2026", -EPROTO},
                {"\"origin\":\"0a1b2c3d\"", "\"origin\":\"../up\"", -EPROTO},
                {"\"created_unix\":\"17", "\"created_unix\":\"x17", -EPROTO},
                {"\"created_unix\":\"17", "\"created_unix\":\"99917", -EPROTO},
                {"\"recipients\":[]", "\"recipients\":[\"; rm\"]", -EPROTO},
                {"\"level\":-1", "\"level\":\"-1\"", -EPROTO},
                {"{\"path\":\"photos\"", "{\"path\":\"/photos\"", -EPROTO},
                {"{\"path\":\"photos\"", "{\"path\":\"../photos\"", -EPROTO},
                {"{\"path\":\"photos\"", "{\"path\":\"\"", -EPROTO},
                {"{\"path\":\"photos\",\"type\":\"d\"", "{\"path\":\"photos\",\"type\":\"i\"",
                        -EPROTO},
                {"{\"path\":\"photos\",\"type\":\"d\"",
                        "{\"path\":\"photos\",\"type\":\"l\",\"link\":\"/etc\"", -EPROTO},
                {"{\"path\":\"photos\"", "{\"what\":\"photos\"", -EPROTO},
                {"\"mode\":\"0644\"", "\"mode\":\"10000\"", -EPROTO},
                {"\"mode\":\"0644\"", "\"mode\":\"0888\"", -EPROTO},
                {"\"uid\":1000", "\"uid\":-1", -EPROTO},
                {"\"uid\":1000", "\"uid\":4294967296", -EPROTO},
                {"\"size\":1000", "\"size\":1e3", -EPROTO},
                {"\"mtime\":\"-1.500000000\"", "\"mtime\":\"-1.5\"", -EPROTO},
                {"\"sha512\":\"", "\"sha512\":\"0", -EPROTO},
                {"cGhvdG9zL2ludmFsaWQg//4gbmFtZQ==", "cGhvdG9zL2ludmFsaWQg//4gbmFtZQ=", -EPROTO},
                {"cGhvdG9zL2ludmFsaWQg//4gbmFtZQ==", "cGhvdG9zAGx1ZAAg", -EPROTO},
                {"\"type\":\"h\"", "\"type\":\"z\"", -EPROTO},
                {",\"link\":\"photos/a.jpg\"", "", -EPROTO},
                {"\"plain_length\":100", "\"plain_length\":4294967296", -EPROTO},
                {"\"object\":\"archives/", "\"object\":\"archives/../", -EPROTO},
                {"\"object\":\"archives/", "\"object\":\"/archives/", -EPROTO},
                {"\"tree_hash\":\"ab", "\"tree_hash\":\"", -EPROTO},
                {"\"members\":8", "\"members\":9", -EPROTO},
                {"\"blocks\":3", "\"blocks\":2", -EPROTO},
                {"{\"event\"", "{\"event\":\"twice\",\"event\"", -EPROTO},
                {"{\"event\"", "[]\n{\"event\"", -EPROTO},
                {"{\"event\"", "\n{\"event\"", -EPROTO},
                {"{\"end\":true", "{\"end\":true,\"members\":8,\"blocks\":3}\n{\"end\":true",
                        -EPROTO},
        };
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        struct catalog *c = open_second(s);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *bad = altered(text, cases[i].from, cases[i].to);
                int q = read_text(c, bad, strlen(bad), 4096);
                if (q != cases[i].code)
                        print_message(
                                "case %zu (%s): %d %s\n", i, cases[i].to, q, scratch_err.text);
                assert_int_equal(q, cases[i].code);
                assert_true(strlen(scratch_err.text) > 10);
                expect_nothing_left(c);
        }
        catalog_close(c);
}

static void line_without_end_does_not_fill_memory(void **state)
{
        struct scratch *s = *state;
        size_t len = 3 * MiB;
        _cleanup_free_ char *text = malloc(len);
        memset(text, ' ', len);
        assert_int_equal(read_text(s->c, text, len, 65536), -EPROTO);
        assert_non_null(strstr(scratch_err.text, "too long"));
}

static ssize_t pull_nothing(
        void *ctx _unused_, void *data _unused_, size_t len _unused_, struct err *e)
{
        return err_set(e, -EIO, "the disk is gone, says the test");
}

static void error_of_the_source_is_passed_on(void **state)
{
        struct scratch *s = *state;
        char *id = NULL;
        FAILS(manifest_read(pull_nothing, NULL, s->c, &id, E), -EIO);
        assert_non_null(strstr(scratch_err.text, "says the test"));
}

static void name_that_cannot_be_a_folder_is_made_anew(void **state)
{
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        _cleanup_free_ char *bad = altered(text, "\"name\":\"2026", "\"name\":\"../2026");
        struct catalog *c = open_second(s);
        struct catalog_archive a;
        assert_int_equal(read_text(c, bad, strlen(bad), 4096), 0);
        OK(catalog_archive_get(c, A, &a, E));
        assert_string_equal(a.name, "2026-11-22T21-27-03Z_odd-names-in-two-lines");
        catalog_archive_done(&a);
        catalog_close(c);
}

/* ---- the locator ---- */

static void locator_reads_back(void **state _unused_)
{
        char record[MANIFEST_RECORD];
        const struct manifest_locator l = {.tar_offset = INT64_MAX,
                .size = 1536,
                .volume = 4000000000u,
                .plain_offset = 77,
                .block_tar_offset = INT64_MAX - 1};
        struct manifest_locator m;
        memset(record, 'x', sizeof record);
        manifest_locator_write(&l, record);
        assert_int_equal(record[511], '\n');
        assert_int_equal(record[510], ' ');
        OK(manifest_locator_parse(record, &m, E));
        assert_true(m.tar_offset == l.tar_offset && m.size == 1536 && m.volume == l.volume &&
                    m.plain_offset == 77 && m.block_tar_offset == l.block_tar_offset);
        record[0] = 'x';
        FAILS(manifest_locator_parse(record, &m, E), -EPROTO);
        memset(record, 0, sizeof record);
        FAILS(manifest_locator_parse(record, &m, E), -EPROTO);
        manifest_locator_write(&l, record);
        *strstr(record, "\"manifest_locator\":1") = ' ';
        FAILS(manifest_locator_parse(record, &m, E), -EPROTO);
        manifest_locator_write(&l, record);
        strstr(record, "\"manifest_locator\":1")[19] = '2';
        FAILS(manifest_locator_parse(record, &m, E), -EPROTONOSUPPORT);
        memset(record, ' ', sizeof record);
        (void)memcpy(record, "{\"manifest_locator\":1,\"offset\":-5}", 34);
        FAILS(manifest_locator_parse(record, &m, E), -EPROTO);
}

static void only_a_locator_may_follow_the_end(void **state)
{
        struct scratch *s = *state;
        size_t len;
        put_whole_archive(s->c);
        _cleanup_free_ char *text = write_text(s->c, &len);
        struct catalog *c = open_second(s);
        text = realloc(text, len + 2 * MANIFEST_RECORD);
        const struct manifest_locator l = {.tar_offset = 1};
        manifest_locator_write(&l, text + len);
        manifest_locator_write(&l, text + len + MANIFEST_RECORD);
        assert_int_equal(read_text(c, text, len + 2 * MANIFEST_RECORD, 100), -EPROTO);
        assert_int_equal(read_text(c, text, len + MANIFEST_RECORD - 1, 100), -EPROTO);
        expect_nothing_left(c);
        assert_int_equal(read_text(c, text, len + MANIFEST_RECORD, 100), 0);
        catalog_close(c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(manifest_fills_whole_records_with_lines_of_json),
                T(manifest_of_an_unknown_archive_is_refused),
                T(full_disk_stops_the_manifest),
                T(manifest_made_of_what_was_read_is_the_same),
                T(members_copied_from_an_earlier_manifest_are_the_same),
                T(file_that_broke_off_is_not_named),
                T(archive_read_back_counts_as_stored),
                T(archive_that_is_there_is_not_touched),
                T(manifest_cut_anywhere_is_refused),
                T(manifest_that_breaks_a_rule_is_refused),
                T(line_without_end_does_not_fill_memory),
                T(error_of_the_source_is_passed_on),
                T(name_that_cannot_be_a_folder_is_made_anew),
                T(locator_reads_back),
                T(only_a_locator_may_follow_the_end),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
