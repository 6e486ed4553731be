/* mount.h - one mounted autoglacier: what all parts of fs/ share.
 *
 * Made once by main.c; lives until the process ends. */
#pragma once

#include "handles.h"
#include "node.h"

#include <pthread.h>
#include <stdatomic.h>

struct catalog;
struct engine;
struct inode;
struct notifier;
struct staging;
struct vtree;

struct mount {
        struct engine *engine;
        struct staging *staging;
        struct fuse_session *session;
        char *mountpoint;
        dev_t own;           /* the device number of the mount itself; 0 if not known */
        bool root_daemon;    /* runs as root and serves everybody: acts with the caller's ids */
        bool acls;           /* the disk below keeps access control lists, and the kernel knows */
        bool tells_at_close; /* what is below the staging area may tell at close that a write failed
                              */

        struct inode_table *inodes;
        struct inode *root;
        atomic_uint generation; /* of the staging area; one more with every freeze */
        atomic_uint writers;    /* handles open for writing */

        struct handles handles; /* all that is open */
        struct vtree *vtree;
        struct notifier *notifier;
};

_unused_ static inline struct mount *mount_of(fuse_req_t req)
{
        return fuse_req_userdata(req);
}
