#include "untar_internal.h"

#include <archive_entry.h>
#include <fcntl.h>

#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int untar_plain(const char *path, struct buf *ret, struct err *e)
{
        buf_reset(ret);
        for (const char *p = path; *p;) {
                size_t n = strcspn(p, "/");
                if (n == 2 && p[0] == '.' && p[1] == '.')
                        return err_set(e, -EPROTO,
                                "the tar has a member %s, which would leave the folder: refused",
                                path);
                if (n > 255)
                        return err_set(e, -EPROTO,
                                "the tar has a member %.300s with a name of more than 255 bytes",
                                path);
                if (n > 0 && !(n == 1 && p[0] == '.')) {
                        if (ret->len > 0)
                                buf_addc(ret, '/');
                        buf_add(ret, p, n);
                }
                p += n + (p[n] == '/');
        }
        return buf_oom(ret) ? err_oom(e) : 0;
}

static bool is_ours(const struct untar *u, const struct stat *st)
{
        if (st->st_ctim.tv_sec != u->start.tv_sec)
                return st->st_ctim.tv_sec > u->start.tv_sec;
        return st->st_ctim.tv_nsec >= u->start.tv_nsec;
}

bool untar_may_replace(struct untar *u, const char *name)
{
        struct stat st;
        if (fstatat(descent_fd(&u->descent), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT;
        return !S_ISDIR(st.st_mode) && (u->params.clash == UNTAR_OVERWRITE || is_ours(u, &st));
}

int untar_exists(struct untar *u, const char *name, struct err *e)
{
        struct stat st;
        bool folder = fstatat(descent_fd(&u->descent), name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                      S_ISDIR(st.st_mode);
        return err_set(e, -EEXIST, "%s is there already in %s%s; it was left as it is",
                buf_str(&u->name), u->params.to, folder ? ", as a folder" : "");
}

/* ---- leaving ---- */

/* A descriptor of the folder that can do everything; descent's may be good for looking only. */
static int usable(int fd)
{
        return fd < 0 ? -EBADF : openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void settle(struct untar *u, struct untar_level *l, int fd)
{
        if (l->attrs) {
                untar_attrs(u, fd, l->attrs);
                return;
        }
        if (l->known && u->root)
                (void)fchown(
                        fd, l->was.st_uid, l->was.st_gid); /* no member: nothing was promised */
        struct stat now;
        if (fstat(fd, &now) == 0 && now.st_mode != l->was.st_mode)
                (void)fchmod(fd, l->was.st_mode & 07777); /* it was ours to open up */
        const struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, l->was.st_mtim};
        (void)futimens(fd, ts); /* what could not be set the first time was warned of then */
}

static int leave(struct untar *u, struct err *e)
{
        struct untar_level *l = &u->levels[u->n - 1];
        _cleanup_close_ int fd = -EBADF;
        int r = descent_pop(&u->descent, &fd);
        buf_reset(&u->name); /* warnings name the member in hand */
        buf_add(&u->name, u->path.data, u->path.len);
        if (l->attrs || l->was_ours || l->known) {
                _cleanup_close_ int full = usable(fd);
                if (full < 0)
                        untar_warn_errno(u, "its attributes could not be set");
                else
                        settle(u, l, full);
        }
        archive_entry_free(l->attrs);
        u->n--;
        size_t up = u->n > 0 ? u->levels[u->n - 1].path_len : 0;
        if (r < 0)
                return err_errno(e, r, "the folder above %s was moved away", buf_str(&u->path));
        u->path.len = up;
        if (u->path.data)
                u->path.data[up] = 0;
        return buf_oom(&u->name) ? err_oom(e) : 0;
}

static int leave_to(struct untar *u, size_t levels, struct err *e)
{
        if (u->n <= levels)
                return 0;
        _cleanup_buf_ struct buf name = u->name; /* of the member that is to come next */
        u->name = (struct buf)BUF_INIT;
        int r = 0;
        while (r == 0 && u->n > levels)
                r = leave(u, e);
        struct buf used = u->name;
        u->name = name;
        name = used;
        return r;
}

int untar_leave_all(struct untar *u, struct err *e)
{
        return leave_to(u, 0, e);
}

/* ---- entering ---- */

/* A folder that came out of this tar and was given its final mode may be closed to us by now. */
static int open_up(struct untar *u, int path_fd, const struct stat *st)
{
        if (u->root || !is_ours(u, st) || (st->st_mode & 0700) == 0700)
                return 0;
        char proc[64];
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", path_fd); /* fits */
        return chmod(proc, (st->st_mode | 0700) & 07777) < 0 ? -errno : 0;
}

static int open_there(struct untar *u, const char *name, struct untar_level *l)
{
        _cleanup_close_ int path_fd = openat(
                descent_fd(&u->descent), name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (path_fd < 0)
                return -errno;
        if (fstat(path_fd, &l->was) < 0)
                return -errno;
        l->was_ours = is_ours(u, &l->was);
        int r = open_up(u, path_fd, &l->was);
        if (r < 0)
                return r;
        int fd = usable(path_fd);
        return fd < 0 ? -errno : fd;
}

static int make(struct untar *u, const char *name)
{
        int dir = descent_fd(&u->descent);
        /* closed to others until its member says what it is to be */
        if (mkdirat(dir, name, 0700) < 0)
                return -errno;
        int fd = openat(dir, name, OPEN_FOLDER);
        return fd < 0 ? -errno : fd;
}

/* Something else than a folder has the name. */
static int in_the_way(struct untar *u, const char *name, bool is_member, struct err *e)
{
        struct stat st;
        int dir = descent_fd(&u->descent);
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(e, -errno, "cannot look at %s", name);
        if (is_member && untar_may_replace(u, name))
                return unlinkat(dir, name, 0) < 0 ? err_errno(e, -errno, "cannot replace %s", name)
                                                  : 0;
        const char *what = S_ISLNK(st.st_mode) ? "a link, which is not followed" : "not a folder";
        if (is_ours(u, &st))
                return err_set(e, -EPROTO,
                        "the tar has a member %s, and %s on the way to it is %s: refused",
                        buf_str(&u->name), name, what);
        return err_set(e, -EEXIST, "cannot write %s: %s in %s is %s", buf_str(&u->name), name,
                u->params.to, what);
}

static int enter(struct untar *u, const char *name, bool is_member, struct err *e)
{
        if (u->n == u->cap) {
                size_t cap = MAX((size_t)32, u->cap * 2);
                struct untar_level *v = reallocarray(u->levels, cap, sizeof *v);
                if (!v)
                        return err_oom(e);
                u->levels = v;
                u->cap = cap;
        }
        struct untar_level l = {0};
        int fd = open_there(u, name, &l);
        if (fd == -ENOTDIR || fd == -ELOOP) {
                int r = in_the_way(u, name, is_member, e);
                if (r < 0)
                        return r;
                fd = -ENOENT;
        }
        bool made = fd == -ENOENT;
        if (made)
                fd = make(u, name);
        if (fd < 0)
                return untar_cannot_write(u, fd, e);
        _cleanup_close_ int owned = fd;
        int r = descent_push(&u->descent, &owned);
        if (r < 0)
                return err_errno(e, r, "cannot open the folder of %s", buf_str(&u->name));
        if (u->path.len > 0)
                buf_addc(&u->path, '/');
        buf_adds(&u->path, name);
        l.path_len = u->path.len;
        if (made && !is_member && u->params.folder && !buf_oom(&u->path))
                l.known = u->params.folder(u->params.ctx, buf_str(&u->path), &l.was) > 0;
        u->levels[u->n++] = l;
        return buf_oom(&u->path) ? err_oom(e) : 0;
}

/* How many of the open folders are on the way to `path`. */
static size_t common(const struct untar *u, const char *path, size_t len)
{
        size_t n = 0;
        while (n < u->n) {
                size_t l = u->levels[n].path_len;
                if (l > len || memcmp(u->path.data, path, l) != 0 || (l < len && path[l] != '/'))
                        return n;
                n++;
        }
        return n;
}

static int go(struct untar *u, const char *path, size_t len, bool is_member, struct err *e)
{
        int r = leave_to(u, common(u, path, len), e);
        size_t at = u->path.len > 0 ? u->path.len + 1 : 0;
        while (r == 0 && at < len) {
                size_t n = 0;
                char name[256];
                while (at + n < len && path[at + n] != '/')
                        n++;
                memcpy(name, path + at, n); /* untar_plain() let no longer ones through */
                name[n] = 0;
                r = enter(u, name, is_member && at + n == len, e);
                at += n + 1;
        }
        return r;
}

int untar_go(struct untar *u, const char *path, size_t len, struct err *e)
{
        return go(u, path, len, false, e);
}

int untar_folder(struct untar *u, struct archive_entry *entry, struct err *e)
{
        int r = go(u, u->name.data, u->name.len, true, e);
        if (r < 0)
                return r;
        struct untar_level *l = &u->levels[u->n - 1];
        archive_entry_free(l->attrs);
        l->attrs = archive_entry_clone(entry);
        return l->attrs ? 0 : err_oom(e);
}
