/* Descriptions of archives in vaults, and the inventory read as a stream. */
#include "buf.h"
#include "glacier_text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void description_holds_the_name_and_the_text_percent_encoded(void **state _unused_)
{
        char d[GLACIER_DESCRIPTION_MAX + 1], name[64];
        assert_int_equal(
                glacier_description("archives/a/b-0001.tar.xz.esdk", "Fotos & mehr ü~/", d), 0);
        assert_string_equal(
                d, "autoglacier:archives/a/b-0001.tar.xz.esdk Fotos%20%26%20mehr%20%C3%BC~/");
        assert_true(glacier_description_name(d, name, sizeof name));
        assert_string_equal(name, "archives/a/b-0001.tar.xz.esdk");
        assert_int_equal(glacier_description("n", NULL, d), 0);
        assert_string_equal(d, "autoglacier:n");
}

static void long_text_is_cut_between_characters(void **state _unused_)
{
        char d[GLACIER_DESCRIPTION_MAX + 1], text[2000];
        for (size_t i = 0; i + 2 < sizeof text; i += 2)
                memcpy(text + i, "ü", 3);
        assert_int_equal(glacier_description("name", text, d), 0);
        size_t n = strlen(d), head = strlen("autoglacier:name ");
        assert_true(n <= GLACIER_DESCRIPTION_MAX && n > GLACIER_DESCRIPTION_MAX - 6);
        assert_int_equal((n - head) % 6, 0);
        assert_string_equal(d + n - 6, "%C3%BC");
}

static void name_that_does_not_fit_is_refused(void **state _unused_)
{
        char d[GLACIER_DESCRIPTION_MAX + 1], name[GLACIER_DESCRIPTION_MAX + 1];
        memset(name, 'n', sizeof name);
        name[sizeof name - 1] = 0;
        assert_int_equal(glacier_description(name, NULL, d), -ENAMETOOLONG);
}

static void any_name_comes_back_from_its_description(void **state _unused_)
{
        char d[GLACIER_DESCRIPTION_MAX + 1], name[64];
        assert_int_equal(glacier_description("a b/ü%41+\n\x7f", "text", d), 0);
        assert_string_equal(d, "autoglacier:a%20b/%C3%BC%2541%2B%0A%7F text");
        assert_true(glacier_description_name(d, name, sizeof name));
        assert_string_equal(name, "a b/ü%41+\n\x7f");
}

static void description_of_somebody_else_is_not_ours(void **state _unused_)
{
        char name[8];
        assert_false(glacier_description_name("holiday photos", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:", name, sizeof name));
        assert_false(glacier_description_name("autoglacier: x", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:longername x", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:a%0", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:a%", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:a%00b", name, sizeof name));
        assert_false(glacier_description_name("autoglacier:a%zz", name, sizeof name));
}

static void times_are_read_to_the_nanosecond(void **state _unused_)
{
        assert_int_equal(glacier_time("1970-01-01T00:00:01.5Z"), 1500 * 1000 * 1000);
        assert_int_equal(glacier_time("2012-05-15T17:21:39.339Z"), 1337102499339000000);
        assert_int_equal(glacier_time("2012-05-15T17:21:39"), 0);
        assert_int_equal(glacier_time("yesterday"), 0);
}

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define RECORD(id, text)                                                                           \
        "{\"ArchiveId\": \"" id "\", \"ArchiveDescription\": \"" text "\", "                       \
        "\"CreationDate\": \"2012-05-15T17:19:46.700Z\", \"Size\": 2140123, "                      \
        "\"SHA256TreeHash\": \"" HASH "\"}"
#define FRAME(list)                                                                                \
        "{\"VaultARN\": \"arn:aws:glacier:us-east-1:1:vaults/v\", "                                \
        "\"InventoryDate\": \"2012-05-15T17:21:39.339Z\", \"ArchiveList\": [" list "]}"

static int take(void *ctx, const struct glacier_listed *l, struct err *e _unused_)
{
        assert_int_equal(l->tree_hash[1], 0x11);
        assert_int_equal(l->created, glacier_time("2012-05-15T17:19:46.700Z"));
        buf_addf(ctx, "%s=%s/%llu;", l->archive, l->description, (unsigned long long)l->size);
        return 0;
}

/* Fed in pieces of `step` bytes. */
static int read_all(const char *text, size_t step, struct buf *out, int64_t *date)
{
        struct err e = {0};
        _cleanup_(glacier_inventory_freep) struct glacier_inventory *i = NULL;
        assert_int_equal(glacier_inventory_new(take, out, &i, &e), 0);
        int q = 0;
        for (size_t at = 0, n = strlen(text); q == 0 && at < n; at += step)
                q = glacier_inventory_feed(i, text + at, MIN(step, n - at), &e);
        if (q == 0)
                q = glacier_inventory_end(i, date, &e);
        assert_true(q == 0 || e.text[0]);
        return q;
}

static void inventory_reads_the_same_in_pieces_of_any_size(void **state _unused_)
{
        static const char text[] = FRAME(
                RECORD("one", "a \\\"{[,}\\\\") ",\n  " RECORD("two", "") " , " RECORD("3", "c"));
        for (size_t step = 1; step < sizeof text; step++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                int64_t date;
                assert_int_equal(read_all(text, step, &b, &date), 0);
                assert_string_equal(
                        buf_str(&b), "one=a \"{[,}\\/2140123;two=/2140123;3=c/2140123;");
                assert_int_equal(date, glacier_time("2012-05-15T17:21:39.339Z"));
        }
}

static void inventory_of_an_empty_vault_is_empty(void **state _unused_)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t date;
        assert_int_equal(read_all(FRAME(""), 7, &b, &date), 0);
        assert_string_equal(buf_str(&b), "");
}

static void long_inventory_is_never_whole_in_memory(void **state _unused_)
{
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_buf_ struct buf out = BUF_INIT;
        int64_t date;
        buf_adds(&text, "{\"InventoryDate\": \"2012-05-15T17:21:39Z\", \"ArchiveList\": [");
        for (unsigned i = 0; i < 5000; i++)
                buf_adds(&text, i ? ", " RECORD("x", "y") : RECORD("x", "y"));
        buf_adds(&text, "]}");
        assert_true(text.len > 10 * 64 * KiB); /* ten times what the reader keeps of anything */
        assert_int_equal(read_all(buf_str(&text), 4096, &out, &date), 0);
        assert_int_equal(out.len, 5000 * strlen("x=y/2140123;"));
}

static void broken_inventory_is_refused(void **state _unused_)
{
        static const char *const bad[] = {
                "",
                "[]",
                "}",
                "{\"InventoryDate\": \"2012-05-15T17:21:39Z\"}",
                "{\"InventoryDate\": \"soon\", \"ArchiveList\": []}",
                "{\"InventoryDate\": \"2012-05-15T17:21:39Z\", \"ArchiveList\": [{\"Size\": 1}]}",
                "{\"InventoryDate\": \"2012-05-15T17:21:39Z\", \"ArchiveList\": [",
                FRAME("{\"ArchiveId\": \"a\", \"Size\": -1, \"SHA256TreeHash\": \"" HASH "\"}"),
                FRAME("{\"ArchiveId\": \"a\", \"Size\": 1, \"SHA256TreeHash\": \"00\"}"),
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                int64_t date;
                assert_int_equal(read_all(bad[i], 5, &b, &date), -EPROTO);
        }
        static const char cut[] = FRAME(RECORD("one", "a"));
        for (size_t n = 0; n + 1 < sizeof cut; n++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                _cleanup_free_ char *part = strndup(cut, n);
                int64_t date;
                assert_int_equal(read_all(part, 11, &b, &date), -EPROTO);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(description_holds_the_name_and_the_text_percent_encoded),
                cmocka_unit_test(long_text_is_cut_between_characters),
                cmocka_unit_test(name_that_does_not_fit_is_refused),
                cmocka_unit_test(any_name_comes_back_from_its_description),
                cmocka_unit_test(description_of_somebody_else_is_not_ours),
                cmocka_unit_test(times_are_read_to_the_nanosecond),
                cmocka_unit_test(inventory_reads_the_same_in_pieces_of_any_size),
                cmocka_unit_test(inventory_of_an_empty_vault_is_empty),
                cmocka_unit_test(long_inventory_is_never_whole_in_memory),
                cmocka_unit_test(broken_inventory_is_refused),
        };
        return cmocka_run_group_tests_name("glacier_text", tests, NULL, NULL);
}
