/* job_hook.h - the gather hook: a program of the user that may change the list of files.
 *
 * Floor 3. It gets the list on its standard input, each path ended by a zero byte, and prints the
 * list to archive in the same form. What it says on standard error goes to the log. It fails when
 * it ends with a status other than 0, is killed, goes over its time limit, or prints what is not an
 * absolute path of something that is there. Its answer is checked as it comes; memory does not
 * grow. One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

struct job_hook {
        const char *const *argv;
        int64_t limit_ns;
        const char *job; /* its name: AUTOGLACIER_JOB in the hook's environment */
        int list_fd;     /* the list, at its beginning */
        int (*path)(void *ctx, const char *path, struct err *e); /* one of its answer */
        int (*log)(void *ctx, const char *text, struct err *e);  /* one line of what it said */
        int (*tick)(void *ctx, struct err *e);                   /* as in child.h */
        void *ctx;
};
/* 0; -EINVAL and words: the hook failed; or what a callback returned. */
int job_hook_run(const struct job_hook *h, struct err *e);
