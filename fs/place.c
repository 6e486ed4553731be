#include "place.h"

#include "io.h"
#include "own_mount.h"
#include "unmount.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

static int clear_dead(const char *path, struct err *e)
{
        if (!own_mount_is_dead(path))
                return 0;
        (void)unmount_dead(path, NULL); /* what counts is whether it answers now */
        if (own_mount_is_dead(path))
                return err_set(e, -ENOTCONN,
                        "%s is a dead mount that cannot be cleared; try: fusermount3 -u -z %s",
                        path, path);
        (void)fprintf(stderr,
                "autoglacier: %s was a dead mount, whose program had been killed; it was taken "
                "away\n",
                path);
        return 0;
}

static int check_empty(const char *path, struct err *e)
{
        DIR *d = opendir(path);
        if (!d)
                return err_errno(e, -errno, "cannot open the mountpoint %s", path);
        unsigned n = 0;
        while (n < 3 && readdir(d))
                n++;       /* "." and ".." */
        (void)closedir(d); /* only read */
        return n < 3 ? 0
                     : err_set(e, -ENOTEMPTY,
                               "%s is not empty; what is in it would be hidden by the mount: use "
                               "an empty folder",
                               path);
}

int place_prepare(const char *path, char **ret, struct err *e)
{
        int q = clear_dead(path, e);
        if (q < 0)
                return q;
        struct stat st;
        if (stat(path, &st) < 0) {
                if (errno != ENOENT)
                        return err_errno(e, -errno, "cannot use the mountpoint %s", path);
                if ((q = io_mkdir_p(path, 0755, e)) < 0)
                        return q;
        } else if (!S_ISDIR(st.st_mode)) {
                return err_set(e, -ENOTDIR, "%s is not a folder", path);
        }
        _cleanup_free_ char *real = realpath(path, NULL);
        if (!real)
                return err_errno(e, -errno, "cannot use the mountpoint %s", path);
        if (own_mount_is_on(real))
                return err_set(e, -EBUSY, "%s is mounted already", real);
        if ((q = check_empty(real, e)) < 0)
                return q;
        *ret = steal(real);
        return 0;
}
