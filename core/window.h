/* window.h - when may be sent, and how fast: a span of the day, and a rate.
 *
 * Floor 1. Pure: says how long to wait, never waits. Not here: who waits, and on what. */
#pragma once

#include "base.h"

#include <pthread.h>

/* How long until `spec` ("22:00-06:00", local time, as the configuration has checked it) is open:
 * 0 if it is open at `now` (clock_now()), or if spec is NULL. A span over midnight is fine; one
 * that ends where it begins is always open. Any thread. */
int64_t window_wait(const char *spec, int64_t now);

/* A rate that several threads share: each byte reserves its place on the line of time. */
struct rate {
        pthread_mutex_t lock;
        uint64_t bytes_a_second; /* 0: no limit */
        int64_t next;            /* monotonic ns at which the next byte may leave */
};
void rate_init(struct rate *r, uint64_t bytes_a_second);
void rate_done(struct rate *r);
/* Reserves `bytes`; returns the ns to wait before they may leave, from `now` (clock_monotonic()).
 * What was not used for a while is not saved up. Any thread. */
int64_t rate_take(struct rate *r, uint64_t bytes, int64_t now);
