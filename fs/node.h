/* node.h - what a number that the kernel holds stands for.
 *
 * A FUSE node id is the address of a struct node (FUSE_ROOT_ID is the root, a real node). `ops`
 * says who answers for it: the passthrough for entries of the staging area (and of a frozen tree
 * that is being looked at), the virtual tree for everything that is not a file on disk. Dispatch is
 * one indirection and nothing else. */
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)

#include "base.h"
#include "err.h"

#include <fuse3/fuse_lowlevel.h>

struct node {
        const struct fuse_lowlevel_ops *ops;
        uint64_t lookups; /* references that the kernel holds; under the lock of the table it is in
                           */
};

/* Inode numbers of virtual nodes: far from what filesystems hand out. */
#define NODE_VIRTUAL_INO (1ull << 62)
#define NODE_ROOT_INO    (NODE_VIRTUAL_INO | 1)

/* Staged entries may be cached: the backing is private, and what we change behind the kernel's back
 * we invalidate. */
#define NODE_TIMEOUT 60.0
