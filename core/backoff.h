/* backoff.h - how long to wait before the next try, and the waiting.
 *
 * Floor 1. Full jitter: evenly between nothing and min(20 s, base * 2^tries), base 50 ms, or 1 s
 * when the other side said that it is too much ("Exponential Backoff And Jitter", AWS Architecture
 * Blog). What the other side asked for is kept. Any thread. */
#pragma once

#include "base.h"

#include <stdatomic.h>

/* tries: how many have failed, from 1. asked: what the other side wants, ns; 0 nothing; it counts
 * up to five minutes. random: any 64 bits. Pure. Returns ns. */
int64_t backoff_delay(unsigned tries, bool throttled, int64_t asked, uint64_t random);

/* Sleeps, but at most a moment longer than it takes for *stop (NULL allowed) to become true. 0, or
 * -ECANCELED. */
int backoff_wait(int64_t ns, const atomic_bool *stop);
