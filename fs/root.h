/* root.h - the top folder: entries of the staging area, and between them the names that are ours.
 */
#pragma once

#include "inode.h"

extern struct fuse_lowlevel_ops root_ops; /* filled in by root_init() before the session begins */

void root_init(void);
/* The inode of the live tree's top; again after every freeze (root_frozen). */
int root_open(struct mount *m, struct err *e);
/* Called under the freeze lock after the exchange: the next generation begins. */
void root_frozen(struct mount *m);

bool root_is_reserved(const char *name);
/* The k-th name of ours that a listing of the root shows; NULL after the last. */
const char *root_extra(struct mount *m, size_t k, struct stat *ret);
