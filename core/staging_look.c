#include "staging_internal.h"

#include "exclude.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* Looking at the live tree without changing it. */

/* The target of a link at the top, as an absolute path: relative texts are meant from the
 * mountpoint. */
static char *target_of(int top, const char *name, const char *mountpoint)
{
        char text[PATH_MAX];
        ssize_t n = readlinkat(top, name, text, sizeof text - 1);
        if (n < 0)
                return NULL;
        text[n] = 0;
        if (text[0] == '/')
                return strdup(text);
        return io_join(mountpoint && *mountpoint ? mountpoint : "/", text);
}

static DIR *open_current(struct staging *s, struct err *e)
{
        int fd;
        if (staging_open_current(s, &fd, e) < 0)
                return NULL;
        DIR *d = fdopendir(fd);
        if (!d) {
                err_errno(e, -errno, "cannot list the staging area");
                (void)close(fd); /* only read */
        }
        return d;
}

static bool is_dot(const char *name)
{
        return streq(name, ".") || streq(name, "..");
}

/* A link into the own mount would ask the filesystem that asks here: it is left to gather, which
 * knows. */
static bool leads_home(const char *target, const char *mountpoint)
{
        const char *rest = mountpoint && *mountpoint ? startswith(target, mountpoint) : NULL;
        return rest && (*rest == '/' || *rest == 0);
}

static int check_link(int top, const char *name, const char *mountpoint, struct err *e)
{
        _cleanup_free_ char *target = target_of(top, name, mountpoint);
        if (!target)
                return err_errno(e, -errno, "cannot read the link %s", name);
        struct stat st;
        if (leads_home(target, mountpoint) || stat(target, &st) == 0 || errno == EACCES)
                return 0;
        return err_set(e, -ENOENT,
                "the link %s leads to %s, which is not there (%s); remove it or mend it", name,
                target, strerrordesc_np(errno));
}

int staging_check(struct staging *s, const char *mountpoint, struct err *e)
{
        struct err local = {0};
        DIR *d = open_current(s, e ? e : (e = &local));
        if (!d)
                return e->code;
        int q = 0;
        bool any = false;
        struct dirent *de;
        while (q == 0 && (de = readdir(d)) != NULL) {
                if (is_dot(de->d_name) || exclude_is_litter(de->d_name))
                        continue;
                any = true;
                if (de->d_type == DT_LNK)
                        q = check_link(dirfd(d), de->d_name, mountpoint, e);
                else if (de->d_type != DT_UNKNOWN && de->d_type != DT_DIR && de->d_type != DT_REG)
                        continue;
        }
        (void)closedir(d); /* only read */
        if (q == 0 && !any)
                q = err_set(e, -ENODATA,
                        "nothing is staged: copy or link something into the folder first");
        return q;
}

struct count {
        const char *mountpoint;
        const char *const *exclude;
        uint64_t left;
        struct staging_summary sum;
};

static void count_dir(struct count *c, int fd, dev_t dev, const char *path, bool top);

static void count_linked(struct count *c, int dirfd, const char *name, const char *path)
{
        _cleanup_free_ char *target = target_of(dirfd, name, c->mountpoint);
        struct stat st;
        c->sum.links++;
        if (!target || leads_home(target, c->mountpoint) || stat(target, &st) < 0)
                return;
        if (S_ISREG(st.st_mode)) {
                c->sum.files++;
                c->sum.bytes += (uint64_t)st.st_size;
        } else if (S_ISDIR(st.st_mode)) {
                int fd = open(target, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
                c->sum.dirs++;
                if (fd >= 0)
                        count_dir(c, fd, st.st_dev, path, false);
        }
}

static void count_entry(
        struct count *c, int dirfd, dev_t dev, const char *path, const char *name, bool top)
{
        struct stat st;
        if (exclude_is_litter(name)) {
                c->sum.litter++;
                return;
        }
        if (exclude_matches(c->exclude, path)) {
                c->sum.excluded++;
                return;
        }
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return;
        if (S_ISREG(st.st_mode)) {
                c->sum.files++;
                c->sum.bytes += (uint64_t)st.st_size;
        } else if (S_ISLNK(st.st_mode)) {
                if (top)
                        count_linked(c, dirfd, name, path);
                else
                        c->sum.links++;
        } else if (S_ISDIR(st.st_mode)) {
                c->sum.dirs++;
                int fd = st.st_dev == dev ? openat(dirfd, name,
                                                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                                          : -1;
                if (fd >= 0)
                        count_dir(c, fd, dev, path, false);
        }
}

/* Takes the descriptor. */
static void count_dir(struct count *c, int fd, dev_t dev, const char *path, bool top)
{
        DIR *d = fdopendir(fd);
        if (!d) {
                (void)close(fd); /* only read */
                return;
        }
        struct dirent *de;
        while ((de = readdir(d)) != NULL) {
                if (is_dot(de->d_name))
                        continue;
                if (c->left == 0) {
                        c->sum.truncated = true;
                        break;
                }
                c->left--;
                _cleanup_free_ char *below = io_join(path, de->d_name);
                if (below)
                        count_entry(c, dirfd(d), dev, below, de->d_name, top);
        }
        (void)closedir(d); /* only read */
}

int staging_summarize(struct staging *s, const char *mountpoint, const char *const *exclude,
        uint64_t max_entries, struct staging_summary *ret, struct err *e)
{
        int fd;
        int q = staging_open_current(s, &fd, e);
        if (q < 0)
                return q;
        struct stat st;
        if (fstat(fd, &st) < 0) {
                q = -errno;
                (void)close(fd); /* only read */
                return err_errno(e, q, "cannot look at the staging area");
        }
        struct count c = {.mountpoint = mountpoint, .exclude = exclude, .left = max_entries};
        count_dir(&c, fd, st.st_dev, "", true);
        *ret = c.sum;
        return 0;
}
