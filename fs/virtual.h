/* virtual.h - everything in the mount that is not a file on disk: control files and archives/.
 *
 * Nodes are found again by (kind, archive, member). Content is rendered when a file is opened (and
 * when its size is asked for, which must be exact) and does not change while it is open. */
#pragma once

#include "mount.h"

#include <sys/stat.h>

struct vtree;
extern const struct fuse_lowlevel_ops virtual_ops;

int vtree_new(struct mount *m, struct vtree **ret, struct err *e);
void vtree_free(struct vtree *t);

/* The root's own names. */
const char *virtual_root_entry(struct mount *m, size_t k, struct stat *ret);
int virtual_root_lookup(struct mount *m, const char *name, struct fuse_entry_param *ret);

/* What stands for a name of the root that a freeze took away: for the notifier alone, which removes
 * it, so that windows see it go. */
int virtual_gone(struct mount *m, struct fuse_entry_param *ret);

/* `.commit` disappears until it is created again, or a second has passed. */
void virtual_hide_commit(struct mount *m);
void virtual_create_commit(fuse_req_t req, struct fuse_file_info *fi);
/* A rename onto `.commit` commits the text of that file, which is then gone. */
void virtual_rename_commit(fuse_req_t req, fuse_ino_t parent, const char *name);

/* The state of an archive changed: open windows look again. Called from a worker thread. */
void virtual_changed(void *ctx, const char *id);
