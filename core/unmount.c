#include "unmount.h"

#include "buf.h"
#include "child.h"
#include "clock.h"

#include <sys/mount.h>

#define SAID_MAX (4u * KiB)

static int take_words(void *ctx, const char *data, size_t len, struct err *e _unused_)
{
        struct buf *said = ctx;
        buf_add(said, data, MIN(len, SAID_MAX - said->len));
        return 0;
}

static int ask_helper(const char *const argv[], const char *mountpoint, struct err *e)
{
        _cleanup_buf_ struct buf said = BUF_INIT;
        const struct child_params p = {.argv = argv,
                .in_fd = -EBADF,
                .limit_ns = 60 * CLOCK_NSEC,
                .err = take_words,
                .ctx = &said};
        int status = 0;
        int q = child_run(&p, &status, e);
        if (q == -ENOEXEC)
                return err_set(
                        e, -ENOENT, "cannot run fusermount3; is the package fuse3 installed?");
        if (q < 0 || status == 0)
                return q;
        if (said.len > 0 && strstr(buf_str(&said), "busy"))
                return err_set(e, -EBUSY,
                        "%s is in use: a program has a file or its working folder there; `fuser "
                        "-vm %s` tells which",
                        mountpoint, mountpoint);
        return err_set(e, -EIO, "cannot unmount %s: %s", mountpoint, buf_str(&said));
}

int unmount_path(const char *mountpoint, struct err *e)
{
        const char *const helper[] = {"fusermount3", "-u", "--", mountpoint, NULL};
        if (geteuid() == 0 && umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
                return 0;
        return ask_helper(helper, mountpoint, e);
}

int unmount_dead(const char *mountpoint, struct err *e)
{
        const char *const helper[] = {"fusermount3", "-u", "-z", "--", mountpoint, NULL};
        if (geteuid() == 0 && umount2(mountpoint, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
                return 0;
        return ask_helper(helper, mountpoint, e);
}
