/* store_retry.h - a store around a store that tries again what may work later.
 *
 * Floor 4. Tries again after -EAGAIN and -EBUSY (the service has too much to do), with full jitter
 * (backoff.h) and what the service asked for; up to `tries` times, then the error comes out and the
 * caller waits longer, visibly. Nothing else is tried again. A listing that broke goes on after the
 * last name that was delivered, where the names came in order; otherwise its error comes out. The
 * flag of store_control ends the waiting at once. Any thread, as the store inside. */
#pragma once

#include "store.h"

#define STORE_RETRY_TRIES 12u

/* Takes *inner. tries: from 1. */
int store_retry_new(struct store **inner, unsigned tries, struct store **ret, struct err *e);
