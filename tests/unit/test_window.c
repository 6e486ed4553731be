/* The span of the day in which may be sent, and the rate. */
#include "clock.h"
#include "window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static int64_t at(int day, int hour, int minute)
{
        struct tm t = {.tm_year = 126,
                .tm_mon = 5,
                .tm_mday = day,
                .tm_hour = hour,
                .tm_min = minute,
                .tm_isdst = -1};
        return (int64_t)mktime(&t) * CLOCK_NSEC;
}

#define MINUTE (60 * CLOCK_NSEC)

static void inside_the_span_nothing_waits(void **state _unused_)
{
        assert_int_equal(window_wait("09:00-17:00", at(3, 9, 0)), 0);
        assert_int_equal(window_wait("09:00-17:00", at(3, 16, 59)), 0);
        assert_int_equal(window_wait("22:00-06:00", at(3, 23, 0)), 0);
        assert_int_equal(window_wait("22:00-06:00", at(3, 5, 59)), 0);
        assert_int_equal(window_wait(NULL, at(3, 12, 0)), 0);
        assert_int_equal(window_wait("08:00-08:00", at(3, 12, 0)), 0);
}

static void outside_it_says_how_long(void **state _unused_)
{
        assert_int_equal(window_wait("09:00-17:00", at(3, 8, 30)), 30 * MINUTE);
        assert_int_equal(window_wait("09:00-17:00", at(3, 17, 0)), 16 * 60 * MINUTE);
        assert_int_equal(window_wait("22:00-06:00", at(3, 6, 0)), 16 * 60 * MINUTE);
        assert_int_equal(window_wait("01:00-02:00", at(30, 2, 30)), (22 * 60 + 30) * MINUTE);
}

static void where_the_clock_changes_the_span_still_opens(void **state _unused_)
{
        setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
        tzset();
        /* 2026-03-29: two o'clock is followed by three o'clock. */
        struct tm t = {.tm_year = 126, .tm_mon = 2, .tm_mday = 29, .tm_hour = 1, .tm_isdst = -1};
        int64_t now = (int64_t)mktime(&t) * CLOCK_NSEC;
        int64_t wait = window_wait("04:00-05:00", now);
        assert_int_equal(wait, 2 * 60 * MINUTE);
        assert_int_equal(window_wait("04:00-05:00", now + wait), 0);
        setenv("TZ", "UTC", 1);
        tzset();
}

static void a_rate_spreads_what_is_sent(void **state _unused_)
{
        struct rate r;
        rate_init(&r, 1000);
        int64_t now = 5 * CLOCK_NSEC;
        assert_int_equal(rate_take(&r, 500, now), 0);
        assert_int_equal(rate_take(&r, 500, now), CLOCK_NSEC / 2);
        assert_int_equal(rate_take(&r, 1000, now + CLOCK_NSEC / 2), CLOCK_NSEC / 2);
        /* After a rest nothing is saved up. */
        now += 100 * CLOCK_NSEC;
        assert_int_equal(rate_take(&r, 1000, now), 0);
        assert_int_equal(rate_take(&r, 1, now), CLOCK_NSEC);
        rate_done(&r);
}

static void no_rate_is_no_limit(void **state _unused_)
{
        struct rate r;
        rate_init(&r, 0);
        assert_int_equal(rate_take(&r, UINT64_MAX / 2, 0), 0);
        assert_int_equal(rate_take(&r, UINT64_MAX / 2, 0), 0);
        rate_done(&r);
}

int main(void)
{
        setenv("TZ", "UTC", 1);
        tzset();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(inside_the_span_nothing_waits),
                cmocka_unit_test(outside_it_says_how_long),
                cmocka_unit_test(where_the_clock_changes_the_span_still_opens),
                cmocka_unit_test(a_rate_spreads_what_is_sent),
                cmocka_unit_test(no_rate_is_no_limit),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
