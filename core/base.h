/* base.h - what every file may use: cleanup attributes, small macros.
 *
 * Floor 0. Knows nothing of the project. Any thread. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define KiB (1024u)
#define MiB (1024u * KiB)
#define GiB (1024ull * MiB)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)     ((a) < (b) ? (a) : (b))
#define MAX(a, b)     ((a) > (b) ? (a) : (b))

#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _unused_       __attribute__((unused))
#define _cleanup_(fn)  __attribute__((cleanup(fn)))

/* DEFINE_CLEANUP(foo_free, struct foo *) makes foo_freep() for _cleanup_(foo_freep).
 * foo_free(NULL) must do nothing. */
#define DEFINE_CLEANUP(fn, type)                                                                   \
        _unused_ static inline void fn##p(type *p)                                                 \
        {                                                                                          \
                if (*p)                                                                            \
                        fn(*p);                                                                    \
        }

_unused_ static inline void base_freep(void *p)
{
        free(*(void **)p);
}

_unused_ static inline void base_closep(const int *fd)
{
        if (*fd >= 0) {
                int saved = errno;
                (void)close(*fd); /* readers have nothing to lose; writers fsync before */
                errno = saved;
        }
}

DEFINE_CLEANUP(fclose, FILE *)

#define _cleanup_free_   _cleanup_(base_freep)
#define _cleanup_close_  _cleanup_(base_closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

/* Take the value out of a variable with a cleanup attribute: the caller owns it now. */
#define steal(p)                                                                                   \
        __extension__({                                                                            \
                __typeof__(p) _stolen = (p);                                                       \
                (p) = NULL;                                                                        \
                _stolen;                                                                           \
        })

_unused_ static inline int steal_fd(int *fd)
{
        int r = *fd;
        *fd = -EBADF;
        return r;
}

_unused_ static inline bool streq(const char *a, const char *b)
{
        return strcmp(a, b) == 0;
}

_unused_ static inline const char *startswith(const char *s, const char *prefix)
{
        size_t n = strlen(prefix);
        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

_unused_ static inline bool endswith(const char *s, const char *suffix)
{
        size_t n = strlen(s), m = strlen(suffix);
        return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* True if `path` is `folder` or lies below it, both without '/' in front. The folder may end with
 * '/'; everything lies below "". */
_unused_ static inline bool path_below(const char *path, const char *folder)
{
        size_t n = strlen(folder);
        while (n > 0 && folder[n - 1] == '/')
                n--;
        return strncmp(path, folder, n) == 0 && (path[n] == 0 || path[n] == '/' || n == 0);
}
