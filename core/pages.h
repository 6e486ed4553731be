/* pages.h - large buffers on large pages.
 *
 * Floor 1. Tables that are searched at random, and buffers of many MiB, cost less on pages of 2
 * MiB, which the kernel gives where it is asked to and has them
 * (Documentation/admin-guide/mm/transhuge.rst). Where not, they are ordinary memory. Not for what
 * is small: each buffer begins on a page of its own. Any thread. */
#pragma once

#include "base.h"

/* Zeros, of which only what is touched takes memory. NULL when there is none. `size` > 0. */
void *pages_new(size_t size);
/* Of the same size. NULL does nothing. */
void pages_free(void *p, size_t size);
