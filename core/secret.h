/* secret.h - bytes that must not leak: locked in memory, left out of core dumps, wiped at the end.
 *
 * Floor 0. Not for large data: each secret takes whole pages. Any thread; one owner at a time. */
#pragma once

#include "base.h"

struct secret {
        uint8_t *data;
        size_t len;
};

/* A zeroed secret of `len` bytes (1 to 64 KiB), with one more zero byte behind it, so that text in
 * it is terminated. Where mlock is refused (RLIMIT_MEMLOCK) the memory is still kept out of core
 * dumps. 0 or -ENOMEM, -EINVAL. */
int secret_new(size_t len, struct secret **ret);
/* The same, holding a copy of `data`. The caller wipes its own copy. */
int secret_copy(const void *data, size_t len, struct secret **ret);
void secret_free(struct secret *s);
/* Overwrites memory in a way that the compiler does not remove. */
void secret_wipe(void *data, size_t len);
/* Compares in constant time. */
bool secret_equal(const void *a, const void *b, size_t len);

/* The process leaves no core dump, and others of the same user cannot look into it (prctl(2),
 * PR_SET_DUMPABLE). To be called first in main(). Does nothing in builds with AddressSanitizer,
 * whose search for leaks looks into the process. */
void secret_no_core(void);

DEFINE_CLEANUP(secret_free, struct secret *)
#define _cleanup_secret_ _cleanup_(secret_freep)
