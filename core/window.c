#include "window.h"

#include "clock.h"

#include <time.h>

#define DAY_MINUTES (24 * 60)

static bool minute_inside(int at, int from, int to)
{
        if (from == to)
                return true;
        return from < to ? at >= from && at < to : at >= from || at < to;
}

/* The next time the clock on the wall shows `minute` of the day. mktime() knows of summer time. */
static int64_t next_at(const struct tm *local, int minute, int64_t now)
{
        struct tm t = *local;
        bool tomorrow = minute <= local->tm_hour * 60 + local->tm_min;
        t.tm_mday += tomorrow;
        t.tm_hour = minute / 60;
        t.tm_min = minute % 60;
        t.tm_sec = 0;
        t.tm_isdst = -1;
        int64_t at = (int64_t)mktime(&t) * CLOCK_NSEC;
        return at > now ? at - now : CLOCK_NSEC; /* an hour that a clock change leaves out */
}

int64_t window_wait(const char *spec, int64_t now)
{
        int a, b, c, d;
        if (!spec || sscanf(spec, "%2d:%2d-%2d:%2d", &a, &b, &c, &d) != 4)
                return 0;
        int from = (a * 60 + b) % DAY_MINUTES, to = (c * 60 + d) % DAY_MINUTES;
        time_t seconds = now / CLOCK_NSEC;
        struct tm local;
        if (!localtime_r(&seconds, &local))
                return 0;
        if (minute_inside(local.tm_hour * 60 + local.tm_min, from, to))
                return 0;
        return next_at(&local, from, now);
}

void rate_init(struct rate *r, uint64_t bytes_a_second)
{
        *r = (struct rate){.bytes_a_second = bytes_a_second};
        pthread_mutex_init(&r->lock, NULL);
}

void rate_done(struct rate *r)
{
        pthread_mutex_destroy(&r->lock);
}

int64_t rate_take(struct rate *r, uint64_t bytes, int64_t now)
{
        if (r->bytes_a_second == 0)
                return 0;
        int64_t cost = (int64_t)((double)bytes * 1e9 / (double)r->bytes_a_second);
        pthread_mutex_lock(&r->lock);
        int64_t at = MAX(r->next, now);
        r->next = at + cost;
        pthread_mutex_unlock(&r->lock);
        return at - now;
}
