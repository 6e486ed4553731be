/* control.h - the protocol of `.commit`: what a series of writes means. No FUSE in it.
 *
 * One struct control a handle. The first write that holds text commits; later ones extend the
 * description; release seals it. Blank bytes before the text and characters split over writes are
 * kept back. An exact prefix of the help text, which an editor writes back, is dropped. Offsets do
 * not matter. One thread at a time a handle. */
#pragma once

#include "base.h"
#include "err.h"

#define CONTROL_MAX 1024u /* bytes of a description */

/* What happens then; all return 0 or -errno with words. */
struct control_actions {
        int (*commit)(void *ctx, const char *text, size_t len, struct err *e);
        int (*extend)(void *ctx, const char *text, size_t len, struct err *e);
        int (*seal)(void *ctx, struct err *e);
        void *ctx;
};

struct control;

/* `helps`: what the file has shown to those who read it lately (NULL-terminated, copied). NULL when
 * out of memory. */
struct control *control_new(const char *const *helps, const struct control_actions *actions);
void control_free(struct control *c);
DEFINE_CLEANUP(control_free, struct control *)

/* 0: all of it was taken. -EINVAL not UTF-8, -EFBIG too long, or what commit or extend said:
 * nothing of this write was taken, except that a description that is only too long is cut. */
int control_write(struct control *c, const char *data, size_t len, struct err *e);
/* The handle is closed for good. */
int control_release(struct control *c, struct err *e);
bool control_committed(const struct control *c);
