#include "staging_internal.h"

#include "crash.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* Going back: renames out of ID/ into current/ that never replace anything. If one name is taken,
 * all of it goes into one folder of its own, so that nobody has to guess what came from where. */

struct back {
        struct staging *s;
        int from, to; /* tops of the frozen and the live tree */
        int into;     /* where it goes: `to`, or the folder of its own */
        bool moved;   /* something, since a look at the top began */
        struct err *e;
};

/* A folder that we own but may not write to is opened up for the time of a rename. */
struct opened {
        int fd;
        mode_t mode;
        bool changed;
};

static void open_up(int fd, struct opened *o)
{
        struct stat st;
        *o = (struct opened){.fd = fd};
        if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) {
                o->mode = st.st_mode & 07777;
                o->changed = fchmod(fd, o->mode | 0700) == 0;
        }
}

static void close_again(const struct opened *o)
{
        if (o->changed)
                (void)fchmod(o->fd, o->mode); /* it was possible a moment ago */
}

#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* One that may not even be read. */
static int open_closed(int dir, const char *name)
{
        struct stat st;
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        if (!S_ISDIR(st.st_mode) || fchmodat(dir, name, (st.st_mode & 07777) | 0700, 0) < 0)
                return -EACCES;
        int fd = openat(dir, name, OPEN_FOLDER);
        int q = fd < 0 ? -errno : fd;
        (void)fchmodat(dir, name, st.st_mode & 07777, 0); /* it was possible a moment ago */
        return q;
}

/* A folder of ours, whatever the modes of both; or -errno. */
static int open_folder(int dir, const char *name)
{
        struct opened o;
        open_up(dir, &o);
        int fd = openat(dir, name, OPEN_FOLDER);
        int q = fd < 0 ? -errno : fd;
        if (q == -EACCES)
                q = open_closed(dir, name);
        close_again(&o);
        return q;
}

/* Somebody removed the folder into which something was to go. */
#define FOLDER_GONE (-EAGAIN)
#define GONE_MOST   10

/* What is not was moved by a run that died. */
static bool is_there(int dir, const char *name)
{
        struct stat st;
        return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static int move_entry(int from, const char *name, int to, const char *as)
{
        struct opened a, b, c;
        int q = 0;
        _cleanup_close_ int self = open_folder(from, name);
        open_up(from, &a);
        open_up(to, &b);
        open_up(self, &c); /* moving a folder changes its "..": it must be writable too */
        if (renameat2(from, name, to, as, RENAME_NOREPLACE) < 0)
                q = errno != ENOENT ? -errno : is_there(from, name) ? FOLDER_GONE : 0;
        close_again(&c);
        close_again(&b);
        close_again(&a);
        return q;
}

/* The folder `name` below `to`; one that is made has owner and mode of `like`. 0 or -errno. */
static int make_folder(int to, const char *name, const struct stat *like, int *ret)
{
        struct opened o;
        open_up(to, &o);
        int q = mkdirat(to, name, 0700) < 0 ? -errno : 0;
        close_again(&o);
        if (q < 0 && q != -EEXIST)
                return q;
        int fd = open_folder(to, name);
        if (fd < 0)
                return fd == -ENOTDIR || fd == -ELOOP ? -EEXIST : fd;
        if (q == 0 && like->st_uid != geteuid())
                (void)fchown(fd, like->st_uid, like->st_gid); /* root's mount; else it is ours */
        if (q == 0)
                (void)fchmod(fd, like->st_mode & 07777); /* ours; readable is enough */
        *ret = fd;
        return 0;
}

/* Makes the folders above the last component of `path`, with the owners and modes they have in the
 * frozen tree. Returns descriptors of the parents on both sides. */
static int open_parents(
        const struct back *b, const char *path, int *ret_from, int *ret_to, const char **ret_name)
{
        _cleanup_close_ int from = fcntl(b->from, F_DUPFD_CLOEXEC, 0);
        _cleanup_close_ int to = fcntl(b->into, F_DUPFD_CLOEXEC, 0);
        for (const char *slash; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
                _cleanup_free_ char *part = strndup(path, (size_t)(slash - path));
                if (!part)
                        return -ENOMEM;
                struct stat st;
                int f = open_folder(from, part);
                if (f < 0)
                        return f;
                int t = -EBADF;
                int q = fstat(f, &st) < 0 ? -errno : make_folder(to, part, &st, &t);
                if (q < 0) {
                        (void)close(f); /* only read */
                        return q == -ENOENT ? FOLDER_GONE : q;
                }
                (void)close(from);
                (void)close(to);
                from = f;
                to = t;
        }
        *ret_from = steal_fd(&from);
        *ret_to = steal_fd(&to);
        *ret_name = path;
        return 0;
}

static int move_once(const struct back *b, const char *path)
{
        _cleanup_close_ int from = -EBADF;
        _cleanup_close_ int to = -EBADF;
        const char *name = NULL;
        int q = open_parents(b, path, &from, &to, &name);
        if (q == -ENOENT)
                return 0; /* moved by a run that died */
        return q < 0 ? q : move_entry(from, name, to, name);
}

static int move_path(const struct back *b, const char *path)
{
        int q = FOLDER_GONE;
        for (unsigned i = 0; q == FOLDER_GONE && i < GONE_MOST; i++)
                q = move_once(b, path);
        return q;
}

static bool taken(const struct back *b, const char *path)
{
        struct stat st, mine;
        if (fstatat(b->from, path, &mine, AT_SYMLINK_NOFOLLOW) < 0)
                return false; /* nothing left to move */
        if (fstatat(b->to, path, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return true;
        return errno != ENOENT && errno != EACCES;
}

static int each_top(int top, int (*fn)(void *ctx, const char *name), void *ctx)
{
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d) {
                int q = -errno;
                base_closep(&fd);
                return q;
        }
        int q = 0;
        struct dirent *de;
        while (q == 0 && (errno = 0, de = readdir(d)) != NULL)
                if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
                        q = fn(ctx, de->d_name);
        if (q == 0 && !de && errno)
                q = -errno;
        (void)closedir(d); /* only read */
        return q;
}

static int top_taken(void *ctx, const char *name)
{
        return taken(ctx, name) ? 1 : 0;
}

static int move_top(void *ctx, const char *name)
{
        struct back *b = ctx;
        int q = move_entry(b->from, name, b->into, name);
        b->moved = true;
        crash_point("back-moved");
        return q < 0 ? err_errno(b->e, q, "%s cannot go back to the staging area", name) : 0;
}

/* A folder whose names go while it is read may keep some from the reader. */
static int move_top_until_empty(struct back *b)
{
        int q;
        do {
                b->moved = false;
                q = each_top(b->from, move_top, b);
        } while (q == 0 && b->moved);
        return q;
}

/* A crash may have come between some renames and others: then the folder of its own is there
 * already. */
static int own_folder(const struct back *b, const char *id, const char *fallback, char **ret)
{
        char marker[128];
        (void)snprintf(marker, sizeof marker, "%.100s.back", id); /* ids are short */
        _cleanup_buf_ struct buf noted = BUF_INIT;
        if (io_read_file(b->s->fd, marker, 4 * KiB, &noted, NULL) == 0) {
                if (mkdirat(b->to, buf_str(&noted), 0700) < 0 && errno != EEXIST)
                        return -errno;
                return (*ret = buf_steal(&noted)) ? 0 : -ENOMEM;
        }
        for (unsigned i = 1; i < 10000; i++) {
                _cleanup_free_ char *name = NULL;
                int n = i == 1 ? asprintf(&name, "%s", fallback)
                               : asprintf(&name, "%s_%u", fallback, i);
                if (n < 0) {
                        name = NULL;
                        return -ENOMEM;
                }
                struct stat st;
                if (fstatat(b->to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        continue;
                int q = io_write_file(b->s->fd, marker, 0600, name, strlen(name), NULL);
                if (q < 0)
                        return q;
                if (mkdirat(b->to, name, 0700) < 0)
                        return -errno;
                *ret = steal(name);
                return 0;
        }
        return -EEXIST;
}

static bool must_use_own_folder(struct back *b, const char *id, const char *const *paths, size_t n)
{
        char marker[128];
        (void)snprintf(marker, sizeof marker, "%.100s.back", id); /* ids are short */
        if (faccessat(b->s->fd, marker, F_OK, 0) == 0)
                return true;
        for (size_t i = 0; i < n; i++)
                if (taken(b, paths[i]))
                        return true;
        return n == 0 && each_top(b->from, top_taken, b) != 0;
}

static int move_all(struct back *b, const char *const *paths, size_t n)
{
        int q = 0;
        for (size_t i = 0; q == 0 && i < n; i++) {
                q = move_path(b, paths[i]);
                crash_point("back-moved");
                if (q < 0)
                        err_errno(b->e, q, "%s cannot go back to the staging area", paths[i]);
        }
        return n == 0 ? move_top_until_empty(b) : q;
}

static int give_back(struct back *b, const char *id, const char *const *paths, size_t n,
        const char *fallback, char **ret_where)
{
        _cleanup_free_ char *where = strdup("");
        _cleanup_close_ int own = -EBADF;
        b->into = b->to;
        if (!where)
                return err_oom(b->e);
        if (must_use_own_folder(b, id, paths, n)) {
                free(where);
                where = NULL;
                int q = own_folder(b, id, fallback, &where);
                if (q < 0)
                        return err_errno(
                                b->e, q, "cannot make the folder %s in the staging area", fallback);
                own = openat(b->to, where, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                if (own < 0)
                        return err_errno(b->e, -errno,
                                "cannot open the folder %s in the staging area", where);
                b->into = own;
        }
        int q = move_all(b, paths, n);
        if (q < 0)
                return q;
        if ((q = staging_sync(b->s, b->e)) < 0) /* folders on the way down have changed too */
                return q;
        char marker[128];
        (void)snprintf(marker, sizeof marker, "%.100s.back", id); /* ids are short */
        (void)unlinkat(b->s->fd, marker, 0); /* one that stays only means: the same folder again */
        if (ret_where)
                *ret_where = steal(where);
        return 0;
}

int staging_give_back(struct staging *s, const char *id, const char *const *paths, size_t n,
        const char *fallback, char **ret_where, struct err *e)
{
        struct err local = {0};
        _cleanup_close_ int from = -EBADF;
        _cleanup_close_ int to = -EBADF;
        int q = staging_open_frozen(s, id, &from, e);
        if (q == -ENOENT) { /* all of it went back before */
                if (ret_where && !(*ret_where = strdup("")))
                        return err_oom(e);
                return 0;
        }
        if (q < 0)
                return q;
        staging_enter(s);
        q = staging_open_current(s, &to, e);
        struct back b = {.s = s, .from = from, .to = to, .e = e ? e : &local};
        if (q == 0)
                q = give_back(&b, id, paths, n, fallback, ret_where);
        staging_leave(s);
        return q;
}
