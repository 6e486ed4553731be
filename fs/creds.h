/* creds.h - a root daemon that makes files makes them as the caller.
 *
 * Per thread, by raw system calls: the C library would change all threads. Nothing happens where
 * the daemon is an ordinary user. */
#pragma once

#include "mount.h"

struct creds {
        bool changed;
};

/* Takes on the caller's ids and groups for file access. Must be given back in the same thread. */
struct creds creds_take(fuse_req_t req);
/* The ids of one user, without supplementary groups. */
struct creds creds_take_ids(const struct mount *m, uid_t uid, gid_t gid);
void creds_back(struct creds *c);
#define _cleanup_creds_ _cleanup_(creds_back)
