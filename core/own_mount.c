#include "own_mount.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct entry {
        dev_t dev;
        char point[PATH_MAX];
};

/* Blanks, tabs, line ends and backslashes are written as three octal digits: \040. */
static void unescape(char *s)
{
        char *to = s;
        for (; *s; to++) {
                unsigned c;
                if (*s == '\\' && sscanf(s + 1, "%3o", &c) == 1) {
                        *to = (char)c;
                        s += 4;
                } else {
                        *to = *s++;
                }
        }
        *to = 0;
}

/* "36 35 0:45 / /where rw,nosuid shared:1 - fuse.autoglacier autoglacier rw" */
static bool parse(const char *line, struct entry *ret)
{
        unsigned high, low;
        if (!strstr(line, " - fuse.autoglacier ") ||
                sscanf(line, "%*u %*u %u:%u %*s %4095s", &high, &low, ret->point) != 3)
                return false;
        ret->dev = makedev(high, low);
        unescape(ret->point);
        return true;
}

/* Looks for a mount of ours that is on `path` or, without one, has this device. */
static bool find(const char *path, dev_t dev)
{
        _cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
        _cleanup_free_ char *line = NULL;
        size_t room = 0;
        struct entry e;
        while (f && getline(&line, &room, f) > 0)
                if (parse(line, &e) && (path ? streq(e.point, path) : e.dev == dev))
                        return true;
        return false;
}

bool own_mount_is_on(const char *path)
{
        return find(path, 0);
}

bool own_mount_has_device(dev_t dev)
{
        return find(NULL, dev);
}

/* What the kernel remembers of a dead mount can still be seen: the question must reach its program.
 */
bool own_mount_is_dead(const char *path)
{
        struct statx st;
        return statx(AT_FDCWD, path, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0 &&
               (errno == ENOTCONN || errno == ECONNABORTED); /* the latter while it dies */
}
