#include "clock.h"

#include <inttypes.h>

/* One second less than fits: manifests hold no more (manifest_time_parse). */
#define LAST_SECOND (INT64_MAX / CLOCK_NSEC - 1)

int64_t clock_of(int64_t seconds, int64_t ns)
{
        if (seconds > LAST_SECOND)
                return LAST_SECOND * CLOCK_NSEC + CLOCK_NSEC - 1;
        if (seconds < -LAST_SECOND)
                return -LAST_SECOND * CLOCK_NSEC;
        return seconds * CLOCK_NSEC + ns;
}

static int64_t now(clockid_t id)
{
        struct timespec ts;
        (void)clock_gettime(id, &ts); /* cannot fail for these clocks */
        return clock_of(ts.tv_sec, ts.tv_nsec);
}

int64_t clock_now(void)
{
        return now(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
        return now(CLOCK_MONOTONIC);
}

struct timespec clock_timespec(int64_t t)
{
        int64_t rest = t % CLOCK_NSEC, before = rest < 0;
        return (struct timespec){
                .tv_sec = t / CLOCK_NSEC - before, .tv_nsec = rest + before * CLOCK_NSEC};
}

static void format(int64_t t, const char *fmt, char out[CLOCK_TEXT_MAX])
{
        time_t s = clock_timespec(t).tv_sec;
        struct tm tm;
        if (!gmtime_r(&s, &tm) || strftime(out, CLOCK_TEXT_MAX, fmt, &tm) == 0)
                (void)snprintf(out, CLOCK_TEXT_MAX, "%" PRId64, (int64_t)s); /* fits */
}

void clock_iso(int64_t t, char out[CLOCK_TEXT_MAX])
{
        format(t, "%Y-%m-%dT%H:%M:%SZ", out);
}

void clock_name(int64_t t, char out[CLOCK_TEXT_MAX])
{
        format(t, "%Y-%m-%dT%H-%M-%SZ", out);
}

void clock_iso_ns(int64_t t, char out[CLOCK_TEXT_MAX])
{
        char s[CLOCK_TEXT_MAX];
        format(t, "%Y-%m-%dT%H:%M:%S", s);
        (void)snprintf(out, CLOCK_TEXT_MAX, "%.28s.%09dZ", s, (int)clock_timespec(t).tv_nsec);
}

void clock_words(int64_t ns, char out[CLOCK_TEXT_MAX])
{
        long long s = (ns + CLOCK_NSEC / 2) / CLOCK_NSEC;
        if (s < 60)
                (void)snprintf(out, CLOCK_TEXT_MAX, "%lld s", s);
        else if (s < 3600)
                (void)snprintf(out, CLOCK_TEXT_MAX, "%lld min %lld s", s / 60, s % 60);
        else if (s < 2 * 86400)
                (void)snprintf(out, CLOCK_TEXT_MAX, "%lld h %lld min", s / 3600, s % 3600 / 60);
        else
                (void)snprintf(out, CLOCK_TEXT_MAX, "%lld days", s / 86400);
}

void clock_bytes_words(uint64_t bytes, char out[CLOCK_TEXT_MAX])
{
        static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
        size_t u = 0;
        double v = (double)bytes;
        while (v >= 999.5 && u + 1 < ARRAY_SIZE(units)) {
                v /= 1000;
                u++;
        }
        (void)snprintf(
                out, CLOCK_TEXT_MAX, u > 0 && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

int clock_parse_duration(const char *s, int64_t *ret_seconds)
{
        char *end;
        errno = 0;
        long long v = strtoll(s, &end, 10);
        if (end == s || errno || v < 0 || v > 100ll * 365 * 86400)
                return -EINVAL;
        int64_t unit = *end == 0 || streq(end, "s") ? 1
                       : streq(end, "m")            ? 60
                       : streq(end, "h")            ? 3600
                       : streq(end, "d")            ? 86400
                                                    : 0;
        if (unit == 0 || v > INT64_MAX / 4 / unit / CLOCK_NSEC)
                return -EINVAL;
        *ret_seconds = v * unit;
        return 0;
}
