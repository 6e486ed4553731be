#include "untar_internal.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <inttypes.h>

void untar_temp_name(struct untar *u, char out[UNTAR_TEMP_MAX])
{
        (void)snprintf(
                out, UNTAR_TEMP_MAX, ".autoglacier-%016" PRIx64 ".partial", u->temp++); /* fits */
}

int untar_name(struct untar *u, const char *temp, const char *name, struct err *e)
{
        int dir = descent_fd(&u->descent);
        if (renameat2(dir, temp, dir, name, RENAME_NOREPLACE) == 0)
                return 0;
        bool unsupported = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
        if (!unsupported && errno != EEXIST)
                return err_errno(e, -errno, "cannot name %s", buf_str(&u->name));
        struct stat st;
        bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (there && !untar_may_replace(u, name))
                return untar_exists(u, e);
        if (renameat(dir, temp, dir, name) < 0)
                return err_errno(e, -errno, "cannot name %s", buf_str(&u->name));
        return 0;
}

/* Links cannot be made in place of something: those that replace are made beside it and renamed. */
struct link {
        const char *target; /* of a symbolic link; NULL: a hard link */
        int dir;
        const char *in_dir;
};

static int make(struct untar *u, const struct link *l, const char *name)
{
        int dir = descent_fd(&u->descent);
        int r = l->target ? symlinkat(l->target, dir, name)
                          : linkat(l->dir, l->in_dir, dir, name, 0);
        return r < 0 ? -errno : 0;
}

static int place(struct untar *u, const struct link *l, const char *name, struct err *e)
{
        int r = make(u, l, name);
        if (r == -EEXIST) {
                if (!untar_may_replace(u, name))
                        return untar_exists(u, e);
                char temp[UNTAR_TEMP_MAX];
                untar_temp_name(u, temp);
                r = make(u, l, temp);
                if (r == 0) {
                        int dir = descent_fd(&u->descent);
                        r = renameat(dir, temp, dir, name) < 0 ? -errno : 0;
                        /* renaming one link of a file over another does nothing */
                        (void)unlinkat(dir, temp, 0);
                }
        }
        return r < 0 ? err_errno(e, r, "cannot make the link %s", buf_str(&u->name)) : 0;
}

int untar_symlink(struct untar *u, const char *name, struct archive_entry *entry, struct err *e)
{
        const char *target = archive_entry_symlink(entry);
        if (!target || !*target)
                return err_set(e, -EPROTO, "the tar has a link %s to nothing", buf_str(&u->name));
        const struct link l = {.target = target};
        int r = place(u, &l, name, e);
        if (r == 0)
                untar_attrs_link(u, name, entry);
        return r;
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
        if (fstatat(dir, l.in_dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return err_errno(e, errno == ENOENT ? -EPROTO : -errno,
                        "the tar has a hard link %s to %s, which is not there", buf_str(&u->name),
                        target);
        if (S_ISDIR(st.st_mode))
                return err_set(
                        e, -EPROTO, "the tar has a hard link %s to a folder", buf_str(&u->name));
        return place(u, &l, name, e);
}
