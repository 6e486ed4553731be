/* own_mount.h - which mounts on this machine are autoglacier's, from outside.
 *
 * Floor 1. Reads /proc/self/mountinfo (proc(5)). Any thread. Not here: mounting and unmounting. */
#pragma once

#include "base.h"

#include <sys/types.h>

/* Whether a mount of ours is on `path`, which is a real path. Asks no program. */
bool own_mount_is_on(const char *path);
/* Whether `dev` is the device number of a mount of ours. */
bool own_mount_has_device(dev_t dev);
/* Whether what is mounted on `path` has lost its program, as after kill -9. Asks that program. */
bool own_mount_is_dead(const char *path);
