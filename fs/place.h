/* place.h - the mountpoint before anything is mounted on it. */
#pragma once

#include "base.h"
#include "err.h"

/* Makes `path` absolute and ready: a dead mount on it is cleared away, a missing one is made,
 * one that is not empty or is mounted already is refused in words. The caller frees it. */
int place_prepare(const char *path, char **ret, struct err *e);
