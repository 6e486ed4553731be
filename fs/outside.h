/* outside.h - paths that must not lead into the own mount.
 *
 * A request that opens something below the own mount waits for another request, and a link that
 * leads back to itself for ever more of them, until no thread is left. So paths that users have
 * written are walked here, step by step. Any thread. */
#pragma once

#include "mount.h"

/* Once the mount is there; asks it nothing. */
void outside_init(struct mount *m);
/* Whether fd (O_PATH will do) is on the own mount. */
bool outside_is_ours(const struct mount *m, int fd);
/* Opens an absolute path (O_PATH), links followed. 0 or an errno value; ELOOP if the own mount is
 * on the way. The caller closes *ret. */
int outside_open(const struct mount *m, const char *path, int *ret);
