/* err.h - an error as a value: a code for the program, a sentence for the person.
 *
 * Floor 0. Functions that touch the world return 0 or a negative errno value and take a
 * `struct err *` last, into which they put what failed, on which object and why, with what to do
 * where that is known. `e` may be NULL: the sentence is then lost, the code is not.
 *
 * Vocabulary: -EINVAL caller or configuration wrong, -ENOENT, -EEXIST, -EBADMSG does not
 * authenticate, -EPROTO format broken, -EPROTONOSUPPORT newer than we are, -EACCES refused,
 * -EAGAIN later, -EINPROGRESS thaw pending, -EREMOTE not here yet, -ENOKEY key missing or locked,
 * -ENOSPC, -EIO, -ENOMEM, -ECANCELED, -ERESTART begin again, which no system call says.
 *
 * A struct err belongs to one thread. Core never prints and never exits. */
#pragma once

#include "base.h"

#include <stdarg.h>

#define ERR_TEXT_MAX 1024

struct err {
        int code;                /* 0 or a negative errno value */
        int64_t wait_ns;         /* so long the other side asks to wait; 0 if it did not say */
        char text[ERR_TEXT_MAX]; /* a sentence without newline at the end; always terminated */
};

/* Sets code and sentence; returns `code`. Paths with control characters are shown escaped. */
int err_set(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* As err_set, and appends ": " and the system's words for `code` (a negative errno value). */
int err_errno(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* Puts "what: " before the sentence that is there; returns e->code, or `code` if e is NULL. */
int err_prefix(struct err *e, int code, const char *fmt, ...) _printf_(3, 4);

/* Appends "; hint" to the sentence that is there: what the person can do. */
void err_hint(struct err *e, const char *fmt, ...) _printf_(2, 3);

/* The system's words for a negative errno value. Thread-safe; the string lives for ever. */
const char *err_words(int code);
/* Makes '?' of every control character, also of those above 0x7f as UTF-8 has them: a name in a
 * message must not write on the reader's terminal. All sentences here are tame. */
void err_tame(char *s);

/* Whether what this code stands for may go away by itself, or when somebody outside does something:
 * a disk, a service, room, a right. */
bool err_can_wait(int code);

/* -ENOMEM with the sentence "out of memory". */
int err_oom(struct err *e);
