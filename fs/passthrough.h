/* passthrough.h - FUSE operations on real entries: the staging area, and frozen trees to look at.
 *
 * Every call is relative to an O_PATH descriptor and never follows a link. Changing requests hold
 * the freeze lock shared; on an inode of a frozen generation they answer ESTALE, and the kernel
 * looks again. The root's reserved names are the business of root.c. */
#pragma once

#include "inode.h"

extern const struct fuse_lowlevel_ops passthrough_ops;

/* What stands behind a number that the kernel has, and back; the root has a number of its own. */
struct inode *passthrough_inode(struct mount *m, fuse_ino_t ino);
fuse_ino_t passthrough_ino(const struct mount *m, const struct inode *i);

/* Whether it belongs to the live tree, as far as is known. Under staging_enter(). */
bool passthrough_current(const struct mount *m, const struct inode *i);
/* 0 if it, and entries below it, may be changed: else EROFS or ESTALE. Under staging_enter(). */
int passthrough_may_change(const struct mount *m, const struct inode *i);

/* The entry `name` in the folder fd, with one more lookup. 0 or an errno value. */
int passthrough_lookup(
        struct mount *m, struct inode *dir, const char *name, struct fuse_entry_param *ret);
/* The same for a file that was just opened in the folder and has no name; `fd` is borrowed. */
int passthrough_unnamed(struct mount *m, struct inode *dir, int fd, struct fuse_entry_param *ret);
/* The same for a frozen tree; `dirfd` is borrowed. */
int passthrough_view(struct mount *m, int dirfd, const char *name, fuse_ino_t parent,
        struct fuse_entry_param *ret);
/* The same for something that is open already (O_PATH; taken). */
int passthrough_show(
        struct mount *m, int fd, const char *name, fuse_ino_t parent, struct fuse_entry_param *ret);

/* Whether the filesystem below the staging area keeps ACLs. */
bool passthrough_keeps_acls(const struct mount *m);
