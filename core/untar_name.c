#include "untar_internal.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>

static void random_name(struct untar *u, char out[UNTAR_TEMP_MAX])
{
        (void)snprintf(
                out, UNTAR_TEMP_MAX, ".autoglacier-%016" PRIx64 ".partial", u->temp++); /* fits */
}

/* The same for the same name: what a killed run left behind is replaced by the next. FNV-1a. */
static void name_beside(const char *name, char out[UNTAR_TEMP_MAX])
{
        uint64_t h = 0xcbf29ce484222325u;
        for (; *name; name++)
                h = (h ^ (unsigned char)*name) * 0x100000001b3u;
        (void)snprintf(out, UNTAR_TEMP_MAX, ".autoglacier-%016" PRIx64 ".partial", h); /* fits */
}

int untar_begin(struct untar *u, char temp[UNTAR_TEMP_MAX])
{
        int dir = descent_fd(&u->descent);
        temp[0] = 0;
        int fd = u->unnamed ? openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;
        if (fd >= 0)
                return fd;
        random_name(u, temp);
        fd = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        return fd < 0 ? -errno : fd;
}

void untar_drop(struct untar *u, const char *temp)
{
        if (*temp)
                (void)unlinkat(descent_fd(&u->descent), temp, 0); /* there is an error to report */
}

/* For filesystems that cannot do without a name. */
static int rename_over(struct untar *u, const char *temp, const char *name, struct err *e)
{
        int dir = descent_fd(&u->descent);
        if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
                return 0;
        bool unsupported = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
        if (!unsupported && errno != EEXIST)
                return untar_cannot_write(u, -errno, e);
        struct stat st;
        bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (there && !untar_may_replace(u, name))
                return untar_exists(u, name, e);
        if (renameat(dir, temp, dir, name) < 0)
                return untar_cannot_write(u, -errno, e);
        return 0;
}

/* Links cannot be made in place of something: those that replace are made beside it and renamed. */
struct link {
        const char *target; /* of a symbolic link; NULL: a hard link */
        int dir;
        const char *in_dir;
        int flags;
};

static int make(struct untar *u, const struct link *l, const char *name)
{
        int dir = descent_fd(&u->descent);
        int r = l->target ? symlinkat(l->target, dir, name)
                          : linkat(l->dir, l->in_dir, dir, name, l->flags);
        return r < 0 ? -errno : 0;
}

static int replace(struct untar *u, const struct link *l, const char *name)
{
        int dir = descent_fd(&u->descent);
        char temp[UNTAR_TEMP_MAX];
        name_beside(name, temp);
        int r = make(u, l, temp);
        if (r == -EEXIST && unlinkat(dir, temp, 0) == 0)
                r = make(u, l, temp);
        if (r < 0)
                return r;
        r = renameat(dir, temp, dir, name) < 0 ? -errno : 0;
        (void)unlinkat(dir, temp, 0); /* renaming one link of a file over another does nothing */
        return r;
}

static int place(struct untar *u, const struct link *l, const char *name, struct err *e)
{
        int r = make(u, l, name);
        if (r == -EEXIST) {
                if (!untar_may_replace(u, name))
                        return untar_exists(u, name, e);
                r = replace(u, l, name);
        }
        return r < 0 ? untar_cannot_write(u, r, e) : 0;
}

/* A stick's filesystem holds no links: the files come back all the same. 1: it was left out. */
static int place_link(struct untar *u, const struct link *l, const char *name, struct err *e)
{
        struct err why = {0};
        int r = place(u, l, name, &why);
        if (r == -EPERM || r == -EOPNOTSUPP) {
                untar_warn(u, "is a link, which this filesystem does not hold; it was left out");
                return 1;
        }
        if (r < 0 && e)
                *e = why;
        return r;
}

int untar_name(struct untar *u, int fd, const char *temp, const char *name, struct err *e)
{
        if (*temp)
                return rename_over(u, temp, name, e);
        char proc[64];
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd); /* fits */
        const struct link l = {.dir = AT_FDCWD, .in_dir = proc, .flags = AT_SYMLINK_FOLLOW};
        return place(u, &l, name, e);
}

int untar_symlink(struct untar *u, const char *name, struct archive_entry *entry, struct err *e)
{
        const char *target = archive_entry_symlink(entry);
        if (!target || !*target)
                return err_set(e, -EPROTO, "the tar has a link %s to nothing", buf_str(&u->name));
        const struct link l = {.target = target};
        int r = place_link(u, &l, name, e);
        if (r == 0)
                untar_attrs_link(u, name, entry);
        return r < 0 ? r : 0;
}

/* Opens the folder that holds `path`, from the target on, following no link. */
static int open_parent(struct untar *u, const char *path, const char **ret_name, struct err *e)
{
        _cleanup_close_ int fd = openat(u->target, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (;;) {
                if (fd < 0)
                        return err_errno(
                                e, -errno, "%s is a hard link to %s", buf_str(&u->name), path);
                size_t n = strcspn(path, "/");
                if (path[n] == 0)
                        break;
                char name[256];
                memcpy(name, path, n); /* untar_plain() let no longer ones through */
                name[n] = 0;
                int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                base_closep(&fd);
                fd = next;
                path += n + 1;
        }
        *ret_name = path;
        return steal_fd(&fd);
}

int untar_hardlink(struct untar *u, const char *name, const char *target, struct err *e)
{
        if (!*target || streq(target, buf_str(&u->name)))
                return err_set(
                        e, -EPROTO, "the tar has a hard link %s to itself", buf_str(&u->name));
        struct link l = {0};
        _cleanup_close_ int dir = open_parent(u, target, &l.in_dir, e);
        if (dir < 0)
                return dir;
        l.dir = dir;
        struct stat st;
        int r = fstatat(dir, l.in_dir, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
        if (r == -ENOENT)
                return err_set(e, -EPROTO, "the tar has a hard link %s to %s, which is not there",
                        buf_str(&u->name), target);
        if (r < 0)
                return err_errno(e, r, "cannot look at %s", target);
        if (S_ISDIR(st.st_mode))
                return err_set(
                        e, -EPROTO, "the tar has a hard link %s to a folder", buf_str(&u->name));
        r = place_link(u, &l, name, e);
        return r < 0 ? r : 0;
}
