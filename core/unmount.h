/* unmount.h - takes a FUSE mount away, as root or as an ordinary user.
 *
 * Floor 2. Root needs nobody's help; others have fusermount3, found in PATH. Not here: whether it
 * is a mount of ours, which own_mount.h tells. Any thread; may block for a minute. */
#pragma once

#include "base.h"
#include "err.h"

/* -EBUSY: something uses it. -ENOENT: there is no fusermount3. -EIO with what it said. */
int unmount_path(const char *mountpoint, struct err *e);
/* The same for a mount whose program is gone: whatever uses it has only errors from it. */
int unmount_dead(const char *mountpoint, struct err *e);
