/* child.h - another program, run to its end: what it reads, what it says, and how long it may take.
 *
 * Floor 2. The program gets a process group of its own, default signal handling, an empty signal
 * mask and only three descriptors. When its time is over or a callback fails, the whole group is
 * ended: SIGTERM, and SIGKILL two seconds later. Not here: shells. Any thread; the
 * callbacks come in the calling thread. Memory does not grow with what the program prints. */
#pragma once

#include "base.h"
#include "err.h"

struct child_params {
        const char *const *argv; /* NULL-terminated; argv[0] is a path, or looked for in PATH */
        const char *const *env;  /* NULL-terminated "KEY=value" beside our own; NULL allowed */
        int in_fd;               /* its standard input; -EBADF: nothing to read */
        int64_t limit_ns;        /* 0: none */
        /* What it prints, as it comes. A negative value ends it and is returned. */
        int (*out)(void *ctx, const char *data, size_t len, struct err *e);
        int (*err)(void *ctx, const char *data, size_t len, struct err *e);
        /* Called several times a second; likewise. NULL allowed. */
        int (*tick)(void *ctx, struct err *e);
        void *ctx;
};

/* 0: it has ended, *ret_status as waitpid(2) gives it. -ETIME: its time was over. -ENOEXEC: it
 * could not be started. */
int child_run(const struct child_params *p, int *ret_status, struct err *e);
/* "ended with status 3", "was killed by signal 9 (Killed)"; NULL if all is well. The caller frees
 * it. */
char *child_why(int status);
