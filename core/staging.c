#include "staging_internal.h"

#include "crash.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static void lock_init(pthread_rwlock_t *lock)
{
        pthread_rwlockattr_t attr;
        pthread_rwlockattr_init(&attr);
        /* A busy copy must not keep a freeze waiting for ever. */
        pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
        pthread_rwlock_init(lock, &attr);
        pthread_rwlockattr_destroy(&attr);
}

/* What root stages is served to everybody, so its top is a place for everybody, as /tmp is. */
static int make_current(const struct staging *s, struct err *e)
{
        mode_t mode = geteuid() == 0 ? 01777 : 0700;
        if (mkdirat(s->fd, "current", 0700) < 0)
                return errno == EEXIST ? 0
                                       : err_errno(e, -errno, "cannot make %s/current", s->path);
        if (fchmodat(s->fd, "current", mode, 0) < 0)
                return err_errno(e, -errno, "cannot give %s/current its mode", s->path);
        return 0;
}

int staging_open(const char *path, struct staging **ret, struct err *e)
{
        int q = io_mkdir_p(path, 0700, e);
        if (q < 0)
                return q;
        _cleanup_(staging_closep) struct staging *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->fd = s->sync = -EBADF;
        lock_init(&s->freeze);
        if (!(s->path = strdup(path)))
                return err_oom(e);
        s->fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        s->sync = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->fd < 0 || s->sync < 0)
                return err_errno(e, -errno, "cannot open the staging folder %s", path);
        if ((q = make_current(s, e)) < 0)
                return q;
        *ret = steal(s);
        return 0;
}

void staging_close(struct staging *s)
{
        if (!s)
                return;
        base_closep(&s->fd);
        base_closep(&s->sync);
        pthread_rwlock_destroy(&s->freeze);
        free(s->path);
        free(s);
}

int staging_sync(const struct staging *s, struct err *e)
{
        return syncfs(s->sync) < 0 ? err_errno(e, -errno, "cannot write %s to the disk", s->path)
                                   : 0;
}

const char *staging_path(const struct staging *s)
{
        return s->path;
}

int staging_root_fd(const struct staging *s)
{
        return s->fd;
}

static int open_tree(const struct staging *s, const char *name, int *ret_fd, struct err *e)
{
        int fd = openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && errno == EACCES) {
                /* The user took the folder's own permissions away; they are given back by ID.modes.
                 */
                struct stat st;
                if (fstatat(s->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == geteuid() &&
                        fchmodat(s->fd, name, (st.st_mode & 07777) | 0700, 0) == 0)
                        fd = openat(s->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (fd < 0)
                return err_errno(e, -errno, "cannot open %s/%s", s->path, name);
        *ret_fd = fd;
        return 0;
}

int staging_open_current(const struct staging *s, int *ret_fd, struct err *e)
{
        return open_tree(s, "current", ret_fd, e);
}

int staging_open_frozen(const struct staging *s, const char *id, int *ret_fd, struct err *e)
{
        return open_tree(s, id, ret_fd, e);
}

void staging_enter(struct staging *s)
{
        pthread_rwlock_rdlock(&s->freeze);
}

void staging_leave(struct staging *s)
{
        atomic_fetch_add_explicit(&s->changes, 1, memory_order_relaxed);
        pthread_rwlock_unlock(&s->freeze);
}

uint64_t staging_changes(const struct staging *s)
{
        return atomic_load_explicit(&s->changes, memory_order_relaxed);
}

/* ---- freezing ---- */

static char *beside(const char *id, const char *suffix)
{
        char *p;
        return asprintf(&p, "%s%s", id, suffix) < 0 ? NULL : p;
}

/* The empty sibling takes over what the user has set on the top folder. */
static int copy_attributes(const struct staging *s, const char *id, struct err *e)
{
        _cleanup_close_ int from = -EBADF;
        _cleanup_close_ int to = -EBADF;
        struct stat st;
        int q = open_tree(s, "current", &from, e);
        if (q < 0 || (q = open_tree(s, id, &to, e)) < 0)
                return q;
        if (fstat(from, &st) < 0)
                return err_errno(e, -errno, "cannot look at the staging area");
        char names[4096];
        ssize_t n = flistxattr(from, names, sizeof names);
        for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
                char value[4096];
                ssize_t len = fgetxattr(from, p, value, sizeof value);
                if (len >= 0)
                        (void)fsetxattr(to, p, value, (size_t)len, 0); /* for comfort only */
        }
        if (st.st_uid != geteuid() && fchown(to, st.st_uid, st.st_gid) < 0)
                return err_errno(e, -errno, "cannot give the new staging area its owner");
        if (fchmod(to, st.st_mode & 07777) < 0)
                return err_errno(e, -errno, "cannot give the new staging area its mode");
        return 0;
}

static int make_sibling(struct staging *s, const char *id, const char *json, struct err *e)
{
        _cleanup_free_ char *file = beside(id, ".json");
        if (!file)
                return err_oom(e);
        int q = io_write_file(s->fd, file, 0600, json, strlen(json), e);
        crash_point("freeze-json");
        if (q < 0)
                return q;
        if (mkdirat(s->fd, id, 0700) < 0)
                return err_errno(e, -errno, "cannot make %s/%s", s->path, id);
        return copy_attributes(s, id, e);
}

static int exchange(
        struct staging *s, const char *id, const struct staging_freeze_hooks *h, struct err *e)
{
        pthread_rwlock_wrlock(&s->freeze);
        int q = h->still ? h->still(h->ctx, e) : 0;
        if (q == 0 && renameat2(s->fd, "current", s->fd, id, RENAME_EXCHANGE) < 0)
                q = err_errno(e, -errno, "cannot freeze the staging area");
        if (q == 0 && h->frozen)
                h->frozen(h->ctx);
        atomic_fetch_add_explicit(&s->changes, 1, memory_order_relaxed);
        pthread_rwlock_unlock(&s->freeze);
        return q;
}

int staging_freeze(struct staging *s, const char *id, const char *json,
        const struct staging_freeze_hooks *h, struct err *e)
{
        int q = make_sibling(s, id, json, e);
        if (q == 0)
                q = h->prepare(h->ctx, e);
        if (q == 0)
                q = exchange(s, id, h, e);
        if (q < 0) {
                (void)staging_drop_empty(s, id, NULL); /* what stays, the next start looks at */
                return q;
        }
        crash_point("freeze-exchanged");
        (void)fsync(
                s->sync); /* it is frozen: that it reaches the disk is seen to before it is read */
        return 0;
}

/* ---- frozen trees ---- */

int staging_read_json(const struct staging *s, const char *id, char **ret, struct err *e)
{
        _cleanup_free_ char *file = beside(id, ".json");
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!file)
                return err_oom(e);
        int q = io_read_file(s->fd, file, 16 * MiB, &b, e);
        if (q < 0)
                return q;
        return (*ret = buf_steal(&b)) ? 0 : err_oom(e);
}

int staging_each_frozen(const struct staging *s,
        int (*each)(void *ctx, const char *id, struct err *e), void *ctx, struct err *e)
{
        int fd = openat(s->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                int q = -errno;
                base_closep(&fd);
                return err_errno(e, q, "cannot list %s", s->path);
        }
        int q = 0;
        struct dirent *de;
        while (q == 0 && (de = readdir(d)) != NULL) {
                struct stat st;
                if (de->d_name[0] == '.' || streq(de->d_name, "current") ||
                        fstatat(s->fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                        !S_ISDIR(st.st_mode))
                        continue;
                q = each(ctx, de->d_name, e);
        }
        (void)closedir(d); /* only read */
        return q;
}

/* Of a tree that is gone. */
static int forget(struct staging *s, const char *id, struct err *e)
{
        _cleanup_free_ char *json = beside(id, ".json");
        _cleanup_free_ char *modes = beside(id, ".modes");
        if (!json || !modes)
                return err_oom(e);
        if ((unlinkat(s->fd, modes, 0) < 0 && errno != ENOENT) ||
                (unlinkat(s->fd, json, 0) < 0 && errno != ENOENT))
                return err_errno(e, -errno, "cannot remove %s/%s", s->path, json);
        return fsync(s->sync) < 0 ? err_errno(e, -errno, "cannot write %s to the disk", s->path)
                                  : 0;
}

int staging_release(struct staging *s, const char *id, struct err *e)
{
        int q = io_remove_tree(s->fd, id, e);
        return q < 0 ? q : forget(s, id, e);
}

int staging_drop_empty(struct staging *s, const char *id, struct err *e)
{
        if (unlinkat(s->fd, id, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return forget(s, id, e);
        if (errno == ENOTEMPTY || errno == EEXIST)
                return err_set(
                        e, -ENOTEMPTY, "%s/%s still holds files; they stay there", s->path, id);
        return err_errno(e, -errno, "cannot remove %s/%s", s->path, id);
}
