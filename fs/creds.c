#include "creds.h"

#include <sys/fsuid.h>
#include <sys/syscall.h>

#define GROUPS 1024

static struct creds take(uid_t uid, gid_t gid, size_t n, const gid_t *groups)
{
        (void)syscall(SYS_setgroups, n,
                groups); /* root may; if not, the caller has fewer rights, not more */
        setfsgid(gid);
        setfsuid(uid);
        return (struct creds){.changed = true};
}

struct creds creds_take(fuse_req_t req)
{
        const struct fuse_ctx *ctx = fuse_req_ctx(req);
        if (!mount_of(req)->root_daemon || (ctx->uid == 0 && ctx->gid == 0))
                return (struct creds){0};
        gid_t groups[GROUPS];
        int n = fuse_req_getgroups(req, GROUPS, groups);
        return take(ctx->uid, ctx->gid, n < 0 ? 0 : (size_t)MIN(n, GROUPS), groups);
}

struct creds creds_take_ids(const struct mount *m, uid_t uid, gid_t gid)
{
        if (!m->root_daemon)
                return (struct creds){0};
        return take(uid, gid, 0, NULL);
}

void creds_back(struct creds *c)
{
        if (!c->changed)
                return;
        setfsuid(0);
        setfsgid(0);
        (void)syscall(SYS_setgroups, 0, NULL); /* as at the start */
}
