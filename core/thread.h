/* thread.h - starting a thread that no signal interrupts.
 *
 * Floor 1. Signals are for the program's own threads, which they wake; a library has no say in
 * which of its threads takes one. Any thread. */
#pragma once

#include "base.h"

#include <pthread.h>

/* As pthread_create(), with every signal blocked in it. 0 or -errno. */
int thread_start(pthread_t *ret, void *(*fn)(void *), void *arg);
