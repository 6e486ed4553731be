/* notifier.h - tells the kernel what changed behind its back, and windows that something changed.
 *
 * Two threads of their own, since notifications deadlock inside requests on the same folder, and
 * since a touch through the own mount is a request to ourselves. */
#pragma once

#include "mount.h"

/* What is told before notifier_start() waits. 0 or -ENOMEM. */
int notifier_new(struct mount *m, struct notifier **ret, struct err *e);
/* Once the session can take notifications. */
int notifier_start(struct notifier *n, struct err *e);
void notifier_free(struct notifier *n);

/* All names of the root, after a freeze. Open windows are told that they are gone. */
void notifier_forget_all(struct notifier *n);
/* Waits a second at most until that has been done, so that whoever committed finds the new area;
 * not at all where the kernel knows so much that it would be felt: what changes something is told
 * anyway. Not from a request that holds the root locked in the kernel (one that changes names in
 * it). */
void notifier_settle(struct notifier *n);
/* One name of the root. */
void notifier_forget_name(struct notifier *n, const char *name);
/* Too many descriptors: the oldest names. */
void notifier_relieve(struct notifier *n);
/* Windows of archives/ are told that `name` is new there. */
void notifier_appeared(struct notifier *n, const char *name);
/* Whether a request comes from the thread that tells so, and the folder archives/NAME is to be made
 * for it that is there already. Any name for NULL. */
bool notifier_makes(struct notifier *n, fuse_req_t req, const char *name);
/* Whether a request comes from the thread that makes events for windows through the own mount. */
bool notifier_asks(struct notifier *n, fuse_req_t req);
/* Touches `path` (relative to the mountpoint; borrowed) so that open windows look again. */
void notifier_touch(struct notifier *n, const char *path);
