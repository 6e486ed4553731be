/* Counts: in the right number, with commas. */
#include <setjmp.h>
#include <stdarg.h>

#include "words.h"

#include <cmocka.h>

static void one_is_singular_and_everything_else_is_not(_unused_ void **state)
{
        assert_string_equal(WORDS(0, "file", NULL), "0 files");
        assert_string_equal(WORDS(1, "file", NULL), "1 file");
        assert_string_equal(WORDS(2, "file", NULL), "2 files");
        assert_string_equal(WORDS(1, "entry", "entries"), "1 entry");
        assert_string_equal(WORDS(0, "entry", "entries"), "0 entries");
        assert_string_equal(WORDS(21, "file is", "files are"), "21 files are");
}

static void thousands_are_set_off_by_commas(_unused_ void **state)
{
        assert_string_equal(WORDS(999, "file", NULL), "999 files");
        assert_string_equal(WORDS(1000, "file", NULL), "1,000 files");
        assert_string_equal(WORDS(1234567, "file", NULL), "1,234,567 files");
        assert_string_equal(WORDS(UINT64_MAX, "byte", NULL), "18,446,744,073,709,551,615 bytes");
}

static void several_may_stand_in_one_line(_unused_ void **state)
{
        char line[64];
        (void)snprintf(line, sizeof line, "%s, %s", WORDS(1, "file", NULL), WORDS(2, "byte", NULL));
        assert_string_equal(line, "1 file, 2 bytes");
}

static void what_is_too_long_is_cut(_unused_ void **state)
{
        char noun[2 * WORDS_MAX];
        memset(noun, 'x', sizeof noun - 1);
        noun[sizeof noun - 1] = 0;
        assert_int_equal(strlen(WORDS(1, noun, NULL)), WORDS_MAX - 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_is_singular_and_everything_else_is_not),
                cmocka_unit_test(thousands_are_set_off_by_commas),
                cmocka_unit_test(several_may_stand_in_one_line),
                cmocka_unit_test(what_is_too_long_is_cut),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
