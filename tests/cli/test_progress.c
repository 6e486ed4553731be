/* How far long work is: the bar is right, and what is no terminal gets no bar. */
#include <setjmp.h>
#include <stdarg.h>

#include "progress.h"

#include <cmocka.h>
#include <fcntl.h>
#include <pty.h>

static void shows(uint64_t done, uint64_t todo, const char *wanted)
{
        char line[64];
        progress_bar(done, todo, 10, line, sizeof line);
        assert_string_equal(line, wanted);
}

static void the_bar_is_as_full_as_the_work_is_done(_unused_ void **state)
{
        shows(0, 100, "[----------]   0 %");
        shows(50, 100, "[#####-----]  50 %");
        shows(99, 100, "[#########-]  99 %");
        shows(100, 100, "[##########] 100 %");
}

static void more_than_was_expected_is_full_and_nothing_expected_is_empty(_unused_ void **state)
{
        shows(500, 100, "[##########] 100 %");
        shows(5, 0, "[----------]   0 %");
        shows(UINT64_MAX, UINT64_MAX, "[##########] 100 %");
}

static void a_short_line_is_cut(_unused_ void **state)
{
        char line[8];
        progress_bar(1, 2, 10, line, sizeof line);
        assert_string_equal(line, "[#####-");
}

/* What is written to stderr while `fd` is stderr. */
static void run_with(int fd)
{
        struct progress p;
        int before = dup(STDERR_FILENO);
        assert_true(dup2(fd, STDERR_FILENO) >= 0);
        progress_begin(&p, "working");
        p.next = 0; /* its time has come */
        progress_show_rate(&p, 50000000, 100000000, 1000000);
        assert_true(p.next > 0);
        p.next = INT64_MAX;
        progress_show_rate(&p, 51000000, 100000000, 1000000); /* its time has not */
        progress_clear(&p);
        assert_true(dup2(before, STDERR_FILENO) >= 0);
        (void)close(before); /* it has been put back */
}

static void what_is_no_terminal_gets_a_plain_line(_unused_ void **state)
{
        int fds[2];
        char out[512] = "";
        assert_int_equal(pipe(fds), 0);
        run_with(fds[1]);
        (void)close(fds[1]); /* so that reading ends */
        assert_true(read(fds[0], out, sizeof out - 1) > 0);
        (void)close(fds[0]); /* only read */
        assert_string_equal(out, "autoglacier: working 50.0 MB of 100 MB, 1.0 MB/s, 50 s left\n");
}

/* What a terminal of so many columns gets to see. */
static void on_a_terminal(unsigned short columns, char *out, size_t size)
{
        int ours, theirs;
        struct winsize w = {.ws_row = 24, .ws_col = columns};
        assert_int_equal(openpty(&ours, &theirs, NULL, NULL, &w), 0);
        run_with(theirs);
        assert_int_equal(write(theirs, "END", 3), 3);
        for (size_t n = 0; !strstr(out, "END");) { /* it may come in pieces */
                ssize_t r = read(ours, out + n, size - 1 - n);
                assert_true(r > 0);
                n += (size_t)r;
        }
        (void)close(ours);   /* only read */
        (void)close(theirs); /* a terminal */
}

static void a_narrow_terminal_gets_what_fits_into_a_line(_unused_ void **state)
{
        char out[512] = "";
        on_a_terminal(12, out, sizeof out);
        assert_string_equal(out, "\r\033[Kworking [##\r\033[KEND");
}

static void a_terminal_that_can_do_nothing_gets_a_plain_line(_unused_ void **state)
{
        char out[512] = "";
        assert_int_equal(setenv("TERM", "dumb", 1), 0);
        on_a_terminal(80, out, sizeof out);
        assert_int_equal(unsetenv("TERM"), 0);
        assert_null(strchr(out, '\033'));
        assert_non_null(strstr(out, "autoglacier: working 50.0 MB of 100 MB"));
}

static void a_terminal_gets_a_bar_that_goes_away_again(_unused_ void **state)
{
        char out[512] = "";
        on_a_terminal(80, out, sizeof out);
        assert_string_equal(out,
                "\r\033[Kworking [########--------]  50 % 50.0 MB of 100 MB, 1.0 MB/s, 50 s "
                "left\r\033[KEND");
}

int main(void)
{
        (void)unsetenv("TERM"); /* whatever the tests are run on; there is one */
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_bar_is_as_full_as_the_work_is_done),
                cmocka_unit_test(more_than_was_expected_is_full_and_nothing_expected_is_empty),
                cmocka_unit_test(a_short_line_is_cut),
                cmocka_unit_test(what_is_no_terminal_gets_a_plain_line),
                cmocka_unit_test(a_terminal_gets_a_bar_that_goes_away_again),
                cmocka_unit_test(a_narrow_terminal_gets_what_fits_into_a_line),
                cmocka_unit_test(a_terminal_that_can_do_nothing_gets_a_plain_line),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
