/* json_log.h - JSON_DATABASE: the flat log of all jobs, as the Python program keeps it.
 *
 * Floor 3. One object; an entry a job under the Unix time at which it began, decimal with a
 * fraction. Rewritten as a stream under a lock on FILE.lock, the entries of others kept byte for
 * byte, replaced atomically, so that it is valid JSON at every moment; the mode of the file stays.
 * A log that is broken is left as it is: -EPROTO with file and line. Two programs may use one log.
 * Waiting for the lock can be interrupted. What is in an entry is the caller's business. Memory
 * does not grow with the log. Any thread. */
#pragma once

#include "base.h"
#include "err.h"

struct json_log {
        const char *path;
        /* While waiting for the lock, several times a second: a negative value ends it. NULL
         * allowed. */
        int (*tick)(void *ctx, struct err *e);
        void *ctx;
};

/* Adds the entry {"JOB SUCCEED": false} for a job that began at `time` (ns). If that microsecond is
 * taken, the next free one. The key is as Python writes the number; the caller frees it. Makes the
 * file (mode 0600) if there is none. */
int json_log_begin(const struct json_log *l, int64_t time, char **ret_key, struct err *e);

/* Writes the value of the entry `key`, in place of what was there, or at the end. `write` gives
 * JSON text whose lines are indented as json.dump(indent=2) does one level deep. */
int json_log_put(const struct json_log *l, const char *key,
        int (*write)(void *ctx, FILE *f, struct err *e), void *ctx, struct err *e);

/* A text in quotes, in ASCII, as Python writes it: bytes that are not UTF-8 as \udc80 to \udcff. */
void json_log_text(FILE *f, const char *s);
