/* Patterns find what Python's glob module finds; the expectations are written from its manual. */
#include "buf.h"
#include "glob.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <sys/stat.h>

static int setup(void **state)
{
        static char dir[] = "/tmp/ag-glob-XXXXXX";
        assert_non_null(mkdtemp(dir));
        assert_int_equal(chdir(dir), 0);
        assert_int_equal(
                system("mkdir -p a/b/c a/.hidden/y .h/x 'a/[x]' && touch top.txt .dot a/f "
                       "a/b/g.txt "
                       "a/b/c/h.txt a/.hidden/y/q .h/x/z 'a/[x]/w' '\303\251.txt' && ln -s ../../a "
                       "a/b/round && ln -s nowhere a/dangling"),
                0);
        *state = dir;
        return 0;
}

static int teardown(void **state)
{
        char cmd[64];
        (void)snprintf(cmd, sizeof cmd, "rm -rf %s", (char *)*state);
        return chdir("/") == 0 ? system(cmd) : -1;
}

static int collect(void *ctx, const char *path, struct err *e _unused_)
{
        buf_addf(ctx, "%s ", path);
        return 0;
}

static void expect(const char *pattern, const char *names)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct err e = {0};
        assert_int_equal(glob_each(pattern, collect, &b, NULL, &e), 0);
        if (!streq(buf_str(&b), names))
                fail_msg("%s finds: %s", pattern, buf_str(&b));
}

static void star_passes_over_hidden_names(void **state _unused_)
{
        expect("*", "a top.txt \303\251.txt ");
        expect(".*", ".dot .h ");
        expect("a/*", "a/[x] a/b a/dangling a/f ");
        expect("a/.*", "a/.hidden ");
        expect("*/*/*.txt", "a/b/g.txt ");
}

static void question_mark_and_sets_match_one_character(void **state _unused_)
{
        expect("?.txt", "\303\251.txt ");
        expect("[!t].txt", "\303\251.txt ");
        expect("[s-u]op.txt", "top.txt ");
        expect("a/[[]x]/w", "a/[x]/w ");
        expect("[", "");
}

static void two_stars_stand_for_any_number_of_folders(void **state _unused_)
{
        expect("a/b/**/*.txt", "a/b/g.txt a/b/c/h.txt ");
        expect("**/q", "");
        expect("**/.hidden/**/q", "a/.hidden/y/q ");
        expect("a/b/c/**", "a/b/c/ a/b/c/h.txt ");
        expect("**/**/top.txt", "top.txt ");
}

static void slash_at_the_end_finds_folders_only(void **state _unused_)
{
        expect("*/", "a/ ");
        expect("top.txt/", "");
}

static void plain_names_are_found_if_they_are_there(void **state _unused_)
{
        expect("a/b/../f", "a/b/../f ");
        expect("a/dangling", "a/dangling ");
        expect("nothing", "");
}

static void circle_of_links_ends(void **state _unused_)
{
        uint64_t n = 0;
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(glob_each("**", collect, &b, &n, NULL), 0);
        assert_true(n < 40);
}

static int stop(void *ctx, const char *path _unused_, struct err *e _unused_)
{
        return --*(int *)ctx == 0 ? -ECANCELED : 0;
}

static void caller_can_end_the_search(void **state _unused_)
{
        int left = 2;
        assert_int_equal(glob_each("a/*", stop, &left, NULL, NULL), -ECANCELED);
        assert_int_equal(left, 0);
}

static void long_patterns_of_stars_take_no_time(void **state _unused_)
{
        assert_false(glob_match("*a*a*a*a*a*a*a*a*a*a*a*b",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(star_passes_over_hidden_names),
                cmocka_unit_test(question_mark_and_sets_match_one_character),
                cmocka_unit_test(two_stars_stand_for_any_number_of_folders),
                cmocka_unit_test(slash_at_the_end_finds_folders_only),
                cmocka_unit_test(plain_names_are_found_if_they_are_there),
                cmocka_unit_test(circle_of_links_ends),
                cmocka_unit_test(caller_can_end_the_search),
                cmocka_unit_test(long_patterns_of_stars_take_no_time),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
