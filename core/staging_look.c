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

#define DEPTH_MAX 128 /* descriptors are for the work that goes on meanwhile, too */
#define AVOID_MAX 8

struct count {
        const char *mountpoint;
        const char *const *exclude;
        const atomic_bool *stop; /* or NULL */
        struct stat avoid[AVOID_MAX];
        size_t n_avoid;
        uint64_t left;
        unsigned depth;
        struct staging_size size; /* what will be read: without holes, hard links once */
        struct staging_summary sum;
};

static void count_dir(struct count *c, int fd, dev_t dev, const char *path, bool top);

static void count_file(struct count *c, const struct stat *st)
{
        uint64_t size = (uint64_t)st->st_size, there = (uint64_t)st->st_blocks * 512;
        bool sparse = size > 64 * KiB && there < size / 2; /* small ones may have no block at all */
        c->sum.files++;
        c->sum.bytes += size;
        uint64_t content = (sparse ? there : size) / MAX((uint64_t)st->st_nlink, (uint64_t)1);
        c->size.bytes += content;
        c->size.tar += (content + 511) / 512 * 512;
}

/* A pax header, with one block of records, stands for the fraction of a second. */
static void count_header(struct count *c, const struct stat *st)
{
        c->size.tar += st->st_mtim.tv_nsec ? 1536 : 512;
}

static bool is_avoided(const struct count *c, const struct stat *st)
{
        for (size_t i = 0; i < c->n_avoid; i++)
                if (c->avoid[i].st_dev == st->st_dev && c->avoid[i].st_ino == st->st_ino)
                        return true;
        return false;
}

static void count_linked(struct count *c, int dirfd, const char *name, const char *path)
{
        _cleanup_free_ char *target = target_of(dirfd, name, c->mountpoint);
        struct stat st;
        c->sum.links++;
        if (!target || leads_home(target, c->mountpoint) || stat(target, &st) < 0)
                return;
        if (S_ISREG(st.st_mode)) {
                count_file(c, &st);
        } else if (S_ISDIR(st.st_mode) && !is_avoided(c, &st)) {
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
        count_header(c, &st);
        if (S_ISREG(st.st_mode)) {
                count_file(c, &st);
        } else if (S_ISLNK(st.st_mode)) {
                if (top)
                        count_linked(c, dirfd, name, path);
                else
                        c->sum.links++;
        } else if (S_ISDIR(st.st_mode) && !is_avoided(c, &st)) {
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
        DIR *d = c->depth < DEPTH_MAX ? fdopendir(fd) : NULL;
        if (!d) {
                c->sum.truncated = true;
                (void)close(fd); /* only read */
                return;
        }
        c->depth++;
        struct dirent *de;
        while ((de = readdir(d)) != NULL) {
                if (is_dot(de->d_name))
                        continue;
                if (c->left == 0 || (c->stop && atomic_load(c->stop))) {
                        c->sum.truncated = true;
                        break;
                }
                c->left--;
                _cleanup_free_ char *below = io_join(path, de->d_name);
                if (below)
                        count_entry(c, dirfd(d), dev, below, de->d_name, top);
        }
        (void)closedir(d); /* only read */
        c->depth--;
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

/* ---- what a commit will read ---- */

static void measure_tree(struct count *c, const struct staging *s, const char *id)
{
        int fd;
        struct stat st;
        if (staging_open_frozen(s, id, &fd, NULL) < 0) {
                c->sum.truncated = true;
                return;
        }
        if (fstat(fd, &st) == 0)
                count_dir(c, fd, st.st_dev, "", true);
        else
                (void)close(fd); /* only read */
}

static void measure_path(struct count *c, const char *path)
{
        struct stat st;
        if (lstat(path, &st) < 0)
                return;
        count_header(c, &st);
        if (S_ISREG(st.st_mode))
                count_file(c, &st);
        if (!S_ISDIR(st.st_mode) || is_avoided(c, &st))
                return;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0)
                count_dir(c, fd, st.st_dev, path + (*path == '/'), false);
}

struct staging_size staging_measure(const struct staging *s, const struct staging_measure *m)
{
        struct count c = {.mountpoint = m->mountpoint,
                .exclude = m->exclude,
                .stop = m->stop,
                .left = m->max_entries};
        for (size_t i = 0; m->avoid && m->avoid[i] && c.n_avoid < AVOID_MAX; i++)
                c.n_avoid += stat(m->avoid[i], &c.avoid[c.n_avoid]) == 0;
        if (m->id)
                measure_tree(&c, s, m->id);
        for (size_t i = 0; m->files && m->files[i] && !atomic_load(m->stop); i++)
                measure_path(&c, m->files[i]);
        if (c.sum.truncated || atomic_load(m->stop))
                return (struct staging_size){0, 0};
        return c.size;
}
