/* inode.h - entries of the staging area that the kernel knows: O_PATH descriptors by device and
 * inode.
 *
 * Any thread. The table has one lock; nothing here blocks on the disk while it is held, except
 * close. */
#pragma once

#include "mount.h"

#include <sys/stat.h>

/* Whether it has some: not looked yet, looked and none, some were given. */
enum inode_capabilities { CAPABILITIES_UNKNOWN, CAPABILITIES_NONE, CAPABILITIES_MAYBE };

struct inode {
        struct node node;
        int fd; /* O_PATH|O_NOFOLLOW */
        dev_t dev;
        ino_t ino;
        mode_t type;  /* S_IFMT bits */
        bool view;    /* seen through archives/NAME/files: read only */
        bool special; /* the root: never in the table */
        atomic_uint generation;
        atomic_uint writers;      /* handles open for writing */
        atomic_uint capabilities; /* enum inode_capabilities */

        /* Where it was last found, so that the kernel can be told to forget it, and people told its
         * name. */
        fuse_ino_t parent;
        char *name;

        struct inode *next_hash;
        struct inode *older, *newer; /* by last lookup */
};

struct inode_table;

/* `max_fds`: how many descriptors the process may have; at half of them the kernel is asked to
 * forget entries. NULL when out of memory. */
struct inode_table *inode_table_new(size_t max_fds);
void inode_table_free(struct inode_table *t);

/* openat() for whatever the kernel asks for. Without a descriptor left it waits half a second at
 * most for the kernel to forget entries. */
int inode_open(struct mount *m, int dirfd, const char *name, int flags, mode_t mode);

/* An entry as a lookup has found it. */
struct inode_found {
        int fd; /* O_PATH */
        const struct stat *st;
        bool view;
        unsigned generation; /* of the folder, when the entry was opened */
        fuse_ino_t parent;
        const char *name; /* or NULL: it has none */
        const struct fuse_lowlevel_ops *ops;
};
/* Its inode, with one more lookup. The descriptor is taken: kept or closed. NULL: out of memory. */
struct inode *inode_get(struct mount *m, const struct inode_found *f);
void inode_forget(struct mount *m, struct inode *i, uint64_t n);
/* The entry has a new name. */
void inode_renamed(struct mount *m, dev_t dev, ino_t ino, fuse_ino_t parent, const char *name);
/* The entry, if it is known, belongs to the live tree again. */
void inode_revive(struct mount *m, dev_t dev, ino_t ino);
/* How many entries the kernel knows. */
size_t inode_table_known(const struct inode_table *t);
/* Many descriptors are in use: the kernel should be told to forget some. */
bool inode_table_crowded(const struct inode_table *t);

struct inode_name {
        fuse_ino_t parent;
        char *name; /* the caller frees it */
};
/* Up to `max` of the longest unused. */
size_t inode_oldest(struct inode_table *t, struct inode_name *out, size_t max);
/* Every name directly below `parent`; the caller frees the array and its names. */
size_t inode_below(struct inode_table *t, fuse_ino_t parent, struct inode_name **ret);
/* Name of a linked, current entry that is open for writing, into buf; false if there is none.
 * Litter does not count, nor does `except` (its device and number; or NULL). */
bool inode_busy(struct mount *m, const struct stat *except, char *buf, size_t len);
