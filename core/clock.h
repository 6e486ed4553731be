/* clock.h - points in time: nanoseconds since 1970 UTC as int64_t, and how they are written.
 *
 * Floor 1. Any thread. */
#pragma once

#include "base.h"

#include <time.h>

#define CLOCK_NSEC 1000000000ll

int64_t clock_now(void);       /* wall clock, ns */
int64_t clock_monotonic(void); /* for durations, ns; unrelated to clock_now() */

/* Seconds and nanoseconds (0 to 999,999,999) as one number. What lies outside the years 1678 to
 * 2262 becomes the first or last moment of them: times of files and answers of services can be
 * anything.
 */
int64_t clock_of(int64_t seconds, int64_t ns);
/* The same as seconds, rounded down, and 0 to 999,999,999 ns: also a length of time, or a point on
 * the monotonic clock. */
struct timespec clock_timespec(int64_t t);

#define CLOCK_TEXT_MAX 40
/* "2026-11-22T21:27:03Z" */
void clock_iso(int64_t t, char out[CLOCK_TEXT_MAX]);
/* "2026-11-22T21-27-03Z", for names */
void clock_name(int64_t t, char out[CLOCK_TEXT_MAX]);
/* "2026-11-22T21:27:03.123456789Z" */
void clock_iso_ns(int64_t t, char out[CLOCK_TEXT_MAX]);
/* A length of time in words that people read: "4 s", "3 min 20 s", "2 h 5 min", "3 days". */
void clock_words(int64_t duration_ns, char out[CLOCK_TEXT_MAX]);
/* "12.3 MB": decimal units as disks and stores count. */
void clock_bytes_words(uint64_t bytes, char out[CLOCK_TEXT_MAX]);
/* "90", "90s", "15m", "12h", "5d" to seconds; 0 or -EINVAL. */
int clock_parse_duration(const char *s, int64_t *ret_seconds);
