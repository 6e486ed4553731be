#include "clock.h"
#include "io.h"
#include "store_dir_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* What is there: one file an object. */

static int open_object(
        struct dir_store *d, const char *name, int *ret, struct stat *st, struct err *e)
{
        _cleanup_close_ int root = -EBADF;
        int q = dir_check_name(name, e);
        if (q < 0 || (q = dir_open_root(d, &root, e)) < 0)
                return q;
        _cleanup_close_ int fd = dir_open_below(root, name, O_RDONLY | O_NONBLOCK, 0);
        if (fd == -ENOENT)
                return err_set(e, -ENOENT, "%s is not in the store %s", name, d->path);
        if (fd < 0)
                return dir_failed(e, fd, "cannot open %s in the store %s", name, d->path);
        if (fstat(fd, st) < 0)
                return dir_failed(e, -errno, "cannot look at %s in the store %s", name, d->path);
        if (!S_ISREG(st->st_mode))
                return err_set(e, -EPROTO, "%s in the store is not a file", name);
        *ret = steal_fd(&fd);
        return 0;
}

static struct store_state state_of(const struct stat *st)
{
        return (struct store_state){.access = STORE_READY,
                .size = (uint64_t)st->st_size,
                .modified = clock_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec)};
}

int dir_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int q = open_object(dir_of(s), name, &fd, &st, e);
        if (q == 0)
                *ret = state_of(&st);
        return q;
}

int dir_thaw(struct store *s, const char *name, const struct store_thaw *t _unused_, struct err *e)
{
        struct store_state st;
        return dir_state(s, name, &st, e); /* always ready, if it is there */
}

int dir_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        int q = open_object(dir_of(s), name, &fd, &st, e);
        if (q < 0)
                return q;
        ssize_t n = io_pread_full(fd, data, len, offset);
        if (n < 0)
                return dir_failed(
                        e, (int)n, "cannot read %s in the store %s", name, dir_of(s)->path);
        return (size_t)n == len ? 0
                                : err_set(e, -EPROTO,
                                          "%s in the store ends at byte %llu, before the end of "
                                          "what is asked for",
                                          name, (unsigned long long)st.st_size);
}

struct listing {
        const char *prefix;
        store_list_fn each;
        void *ctx;
        struct err *e;
};

static int list_dir(int dirfd, const char *at, const struct listing *l);

static int list_entry(int dirfd, const char *at, const char *name, const struct listing *l)
{
        _cleanup_free_ char *path = NULL;
        if (asprintf(&path, "%s%s", at, name) < 0) {
                path = NULL;
                return err_oom(l->e);
        }
        struct stat st;
        if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT
                               ? 0
                               : dir_failed(l->e, -errno, "cannot look at %s in the store", path);
        if (S_ISDIR(st.st_mode)) {
                size_t n = MIN(strlen(path), strlen(l->prefix));
                if (strncmp(path, l->prefix, n) != 0)
                        return 0;
                int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (fd < 0)
                        return errno == ENOENT
                                       ? 0
                                       : dir_failed(l->e, -errno,
                                                 "cannot open the folder %s in the store", path);
                _cleanup_free_ char *below = io_join(path, "");
                if (!below) {
                        (void)close(fd); /* only read */
                        return err_oom(l->e);
                }
                return list_dir(fd, below, l);
        }
        if (!S_ISREG(st.st_mode) || !startswith(path, l->prefix) || endswith(path, DIR_PARTIAL))
                return 0;
        struct store_state state = state_of(&st);
        return l->each(l->ctx, path, &state, l->e);
}

/* Takes the descriptor. */
static int list_dir(int dirfd, const char *at, const struct listing *l)
{
        DIR *d = fdopendir(dirfd);
        if (!d) {
                int q = -errno;
                (void)close(dirfd); /* only read */
                return dir_failed(l->e, q, "cannot list the store");
        }
        int q = 0;
        struct dirent *de;
        while (q == 0 && (errno = 0, de = readdir(d)) != NULL)
                if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
                        q = list_entry(dirfd, at, de->d_name, l);
        if (q == 0 && !de && errno)
                q = dir_failed(l->e, -errno, "cannot list the store");
        (void)closedir(d); /* only read */
        return q;
}

int dir_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        int root = -EBADF;
        int q = dir_open_root(dir_of(s), &root, e);
        const struct listing l = {prefix, each, ctx, e};
        return q < 0 ? q : list_dir(root, "", &l);
}

int dir_remove(struct store *s, const char *name, struct err *e)
{
        _cleanup_close_ int root = -EBADF;
        int q = dir_check_name(name, e);
        if (q < 0 || (q = dir_open_root(dir_of(s), &root, e)) < 0)
                return q;
        if (unlinkat(root, name, 0) < 0) {
                if (errno == ENOENT || errno == ENOTDIR)
                        return 0;
                return dir_failed(
                        e, -errno, "cannot remove %s from the store %s", name, dir_of(s)->path);
        }
        q = io_sync_parent(root, name);
        if (q < 0)
                return dir_failed(e, q, "cannot write the folder of %s to the disk", name);
        _cleanup_free_ char *dir = strdup(name);
        for (char *slash; dir && (slash = strrchr(dir, '/')) != NULL;) {
                *slash = 0;
                if (unlinkat(root, dir, AT_REMOVEDIR) < 0)
                        break; /* it holds other objects */
        }
        return 0;
}
