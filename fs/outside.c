#include "outside.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LINKS_MAX 40 /* as the kernel counts */

/* What the kernel remembers must do: to ask would be to ask ourselves. */
static bool device_of(int fd, const char *path, dev_t *ret)
{
        struct statx st;
        int flags = AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | (*path ? 0 : AT_EMPTY_PATH);
        if (statx(fd, path, flags, STATX_TYPE, &st) < 0)
                return false;
        *ret = makedev(st.stx_dev_major, st.stx_dev_minor);
        return true;
}

void outside_init(struct mount *m)
{
        if (!device_of(AT_FDCWD, m->mountpoint, &m->own))
                m->own = 0; /* nothing is ours then */
}

bool outside_is_ours(const struct mount *m, int fd)
{
        dev_t dev;
        return m->own && device_of(fd, "", &dev) && dev == m->own;
}

struct walk {
        const struct mount *m;
        int at;              /* O_PATH */
        char rest[PATH_MAX]; /* what is still to be walked */
        unsigned links;
};

/* The first component of the rest, cut off; NULL at the end. */
static char *component(struct walk *w, char name[NAME_MAX + 1])
{
        size_t lead = strspn(w->rest, "/");
        size_t n = strcspn(w->rest + lead, "/");
        if (n == 0 || n > NAME_MAX)
                return NULL;
        memcpy(name, w->rest + lead, n);
        name[n] = 0;
        memmove(w->rest, w->rest + lead + n, strlen(w->rest + lead + n) + 1);
        return name;
}

static int go_to(struct walk *w, int fd)
{
        (void)close(w->at); /* O_PATH */
        w->at = fd;
        return 0;
}

/* Its text comes before the rest. */
static int follow(struct walk *w, int link)
{
        char text[PATH_MAX];
        ssize_t n = readlinkat(link, "", text, sizeof text - 1);
        if (n < 0)
                return errno;
        text[n] = 0;
        size_t rest = strlen(w->rest);
        if (++w->links > LINKS_MAX)
                return ELOOP;
        if ((size_t)n + 1 + rest >= sizeof w->rest)
                return ENAMETOOLONG;
        memmove(w->rest + n + 1, w->rest, rest + 1);
        memcpy(w->rest, text, (size_t)n);
        w->rest[n] = '/';
        if (text[0] != '/')
                return 0;
        int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? errno : go_to(w, fd);
}

static int step(struct walk *w, const char *name)
{
        /* As a folder first: that brings up what is mounted on demand. */
        int fd = openat(w->at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
                fd = openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno;
        if (outside_is_ours(w->m, fd)) {
                (void)close(fd); /* O_PATH */
                return ELOOP;
        }
        struct stat st;
        if (fstat(fd, &st) < 0 || !S_ISLNK(st.st_mode))
                return go_to(w, fd);
        int q = follow(w, fd);
        (void)close(fd); /* O_PATH */
        return q;
}

int outside_open(const struct mount *m, const char *path, int *ret)
{
        struct walk w = {.m = m};
        char name[NAME_MAX + 1];
        if (path[0] != '/' || strlen(path) >= sizeof w.rest)
                return EINVAL;
        memcpy(w.rest, path, strlen(path) + 1);
        w.at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (w.at < 0)
                return errno;
        int q = 0;
        while (q == 0 && component(&w, name))
                q = step(&w, name);
        if (q == 0 && w.rest[strspn(w.rest, "/")])
                q = ENAMETOOLONG;
        if (q)
                (void)close(w.at); /* O_PATH */
        else
                *ret = w.at;
        return q;
}
