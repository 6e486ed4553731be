#include "staging_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* What a killed program left beside the trees. */

/* Files that belong to a tree: of no use without it. */
static const char *const suffixes[] = {".json", ".modes", ".back", ".json.tmp", ".back.tmp"};

static bool has_tree(const struct staging *s, const char *name, size_t len)
{
        char id[NAME_MAX + 1];
        struct stat st;
        if (len >= sizeof id)
                return true; /* none of ours */
        memcpy(id, name, len);
        id[len] = 0;
        return fstatat(s->fd, id, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static int drop_orphan(const struct staging *s, const char *name, struct err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
                if (!endswith(name, suffixes[i]) ||
                        has_tree(s, name, strlen(name) - strlen(suffixes[i])))
                        continue;
                if (unlinkat(s->fd, name, 0) < 0 && errno != ENOENT)
                        return err_errno(e, -errno, "cannot remove %s/%s", s->path, name);
        }
        return 0;
}

/* A file that was renamed onto `.commit`, and is neither committed nor back. */
static int bring_back(const struct staging *s, const char *name, struct err *e)
{
        _cleanup_close_ int to = -EBADF;
        int q = staging_open_current(s, &to, e);
        for (unsigned i = 1; q == 0 && i < 1000; i++) {
                char back[64];
                (void)snprintf(back, sizeof back, i == 1 ? "description" : "description_%u", i);
                if (renameat2(s->fd, name, to, back, RENAME_NOREPLACE) == 0 || errno == ENOENT)
                        return 0;
                if (errno != EEXIST)
                        return err_errno(e, -errno, "cannot bring back %s/%s", s->path, name);
        }
        return q;
}

int staging_sweep(struct staging *s, struct err *e)
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
        while (q == 0 && (de = readdir(d)) != NULL)
                q = startswith(de->d_name, STAGING_ASIDE) ? bring_back(s, de->d_name, e)
                                                          : drop_orphan(s, de->d_name, e);
        (void)closedir(d); /* only read */
        return q;
}
