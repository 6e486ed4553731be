/* crash.h - named points at which a test can kill the program, and patience that it can shorten.
 *
 * Floor 0. Compiled to nothing unless the build has -Dcrash_points=true. Then, where the
 * environment's AUTOGLACIER_CRASH_AT is "name" (or "name:N": the Nth time), the program dies by
 * SIGKILL there; with AUTOGLACIER_CRASH_STOP set it stops (SIGSTOP) instead, so that a test can cut
 * the power first. */
#pragma once

#include "base.h"

#ifdef CRASH_POINTS
void crash_point(const char *name);
/* `seconds`, or less where the environment's variable `name` says so: a test waits for nobody. */
unsigned crash_patience(const char *name, unsigned seconds);
#else
_unused_ static inline void crash_point(const char *name)
{
        (void)name; /* no crash points in this build */
}

_unused_ static inline unsigned crash_patience(const char *name, unsigned seconds)
{
        (void)name; /* likewise */
        return seconds;
}
#endif
