/* descent.h - the folders on the path of a walk: a stack of any depth on a few descriptors.
 *
 * Floor 1. Trees are deeper than descriptors are plenty. Only the innermost folders stay open; one
 * further up is opened again through ".." when the walk comes back to it, and must then be the
 * folder that it was (device and inode). Not here: names, paths, what is done in a folder. One
 * thread. */
#pragma once

#include "base.h"

struct descent_level;

struct descent {
        struct descent_level *levels;
        size_t n, cap;
        size_t first_open; /* below it all are closed */
        size_t max_open;   /* 0 means DESCENT_OPEN_MAX */
};

#define DESCENT_INIT                                                                               \
        {                                                                                          \
                0                                                                                  \
        }
#define DESCENT_OPEN_MAX  128u
#define _cleanup_descent_ _cleanup_(descent_done)

void descent_done(struct descent *d);
/* Goes into the folder that *fd (O_PATH will do) is open on; takes it. 0 or -errno, with *fd kept.
 */
int descent_push(struct descent *d, int *fd);
/* Goes back up. *ret_fd: the descriptor of the folder that was left, which the caller closes; or
 * -EBADF. 0, or -errno when the folder above could not be opened again (-ESTALE: it is not there
 * any more, or another one is); that one's descriptor is then -EBADF. */
int descent_pop(struct descent *d, int *ret_fd);
/* Of the innermost folder, borrowed; -EBADF if there is none or it was lost. */
int descent_fd(const struct descent *d);
