#include "exclude.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *path)
{
        const char *const list[] = {pattern, NULL};
        return exclude_matches(list, path);
}

static void litter_of_file_managers_is_known(void **state)
{
        (void)state;
        static const char *const yes[] = {".Trash-1000", ".DS_Store", ".goutputstream-ABC123",
                ".directory", "Thumbs.db", ".commit.swp", ".commit~", "#.commit#", ".#.commit",
                ".commit.part"};
        for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
                assert_true(exclude_is_litter(yes[i]));
}

static void names_that_only_look_like_litter_are_kept(void **state)
{
        (void)state;
        static const char *const no[] = {"Trash-1000", ".Trash", ".DS_Store2", "directory",
                ".directory.bak", "thumbs.dbx", "desktop.ini", ".fuse_hidden0001",
                "a.goutputstream-1", ".commit", "a.swp", ""};
        for (size_t i = 0; i < ARRAY_SIZE(no); i++)
                assert_false(exclude_is_litter(no[i]));
}

static void pattern_without_slash_is_held_against_the_last_component(void **state)
{
        (void)state;
        assert_true(matches("*.o", "a.o"));
        assert_true(matches("*.o", "deep/below/a.o"));
        assert_true(matches("cache", "home/u/cache"));
        assert_false(matches("cache", "home/cache/u"));
        assert_false(matches("*.o", "a.o/b.c"));
        assert_true(matches("[ab]?", "x/b1"));
}

static void pattern_with_slash_is_held_against_the_whole_path_from_its_beginning(void **state)
{
        (void)state;
        assert_true(matches("a/b", "a/b"));
        assert_false(matches("a/b", "x/a/b"));
        assert_false(matches("a/b", "a/b/c"));
        assert_true(matches("/a/b", "a/b"));
        assert_true(matches("/a", "a"));
        assert_false(matches("/a", "x/a"));
}

static void trailing_slash_is_ignored(void **state)
{
        (void)state;
        assert_true(matches("build/", "x/build"));
        assert_true(matches("a/build/", "a/build"));
        assert_false(matches("a/build/", "b/build"));
}

static void one_star_does_not_cross_a_slash_and_two_do(void **state)
{
        (void)state;
        assert_true(matches("a/*/c", "a/b/c"));
        assert_false(matches("a/*/c", "a/b/b/c"));
        assert_true(matches("a/**/c", "a/b/b/c"));
        assert_true(matches("a/**/c", "a/c"));
        assert_true(matches("**/node_modules", "node_modules"));
        assert_true(matches("**/node_modules", "w/x/node_modules"));
        assert_false(matches("**/node_modules", "w/x/node_modules/y"));
        assert_true(matches("a/**", "a/b/c"));
        assert_true(matches("**/b/**/d/*.o", "x/b/b/c/d/d/y.o"));
        assert_false(matches("**/b/**/d/*.o", "x/b/b/c/d/e/y.o"));
}

static void a_hidden_name_matches_a_star(void **state)
{
        (void)state;
        assert_true(matches("*", ".hidden"));
        assert_true(matches("a/*", "a/.hidden"));
}

static void bytes_that_are_not_utf8_match_themselves(void **state)
{
        (void)state;
        assert_true(matches("\xff*", "a/\xff\xfe"));
        assert_true(matches("a\nb", "a\nb"));
}

static void empty_patterns_and_lists_match_nothing(void **state)
{
        (void)state;
        assert_false(matches("", "a"));
        assert_false(exclude_matches(NULL, "a"));
        const char *const none[] = {NULL};
        assert_false(exclude_matches(none, "a"));
}

static void any_pattern_of_the_list_is_enough(void **state)
{
        (void)state;
        const char *const list[] = {"*.o", "tmp/", "", "a/b", NULL};
        assert_true(exclude_matches(list, "x/tmp"));
        assert_true(exclude_matches(list, "a/b"));
        assert_false(exclude_matches(list, "a/c"));
}

static void many_double_stars_do_not_take_exponential_time(void **state)
{
        (void)state;
        char path[4001];
        for (size_t i = 0; i < 2000; i++)
                memcpy(path + 2 * i, "a/", 2);
        path[4000] = 'b';
        char last[4002];
        memcpy(last, path, 4000);
        last[4000] = 'b';
        last[4001] = 0;
        assert_false(matches("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/c", last));
        assert_true(matches("**/a/**/a/**/a/**/a/**/a/**/a/**/a/**/b", last));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(litter_of_file_managers_is_known),
                cmocka_unit_test(names_that_only_look_like_litter_are_kept),
                cmocka_unit_test(pattern_without_slash_is_held_against_the_last_component),
                cmocka_unit_test(
                        pattern_with_slash_is_held_against_the_whole_path_from_its_beginning),
                cmocka_unit_test(trailing_slash_is_ignored),
                cmocka_unit_test(one_star_does_not_cross_a_slash_and_two_do),
                cmocka_unit_test(a_hidden_name_matches_a_star),
                cmocka_unit_test(bytes_that_are_not_utf8_match_themselves),
                cmocka_unit_test(empty_patterns_and_lists_match_nothing),
                cmocka_unit_test(any_pattern_of_the_list_is_enough),
                cmocka_unit_test(many_double_stars_do_not_take_exponential_time),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
