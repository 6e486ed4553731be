#include "descent.h"

#include <fcntl.h>
#include <sys/stat.h>

struct descent_level {
        int fd; /* -EBADF: closed */
        dev_t dev;
        ino_t ino;
};

static void close_level(struct descent_level *l)
{
        base_closep(&l->fd);
        l->fd = -EBADF;
}

void descent_done(struct descent *d)
{
        for (size_t i = 0; i < d->n; i++)
                close_level(&d->levels[i]);
        free(d->levels);
        *d = (struct descent)DESCENT_INIT;
}

static int grow(struct descent *d)
{
        if (d->n < d->cap)
                return 0;
        size_t cap = MAX(d->cap * 2, (size_t)32);
        struct descent_level *l = reallocarray(d->levels, cap, sizeof *l);
        if (!l)
                return -ENOMEM;
        d->levels = l;
        d->cap = cap;
        return 0;
}

int descent_push(struct descent *d, int *fd)
{
        struct stat st;
        if (fstat(*fd, &st) < 0)
                return -errno;
        int r = grow(d);
        if (r < 0)
                return r;
        size_t max = d->max_open > 0 ? d->max_open : DESCENT_OPEN_MAX;
        while (d->n - d->first_open >= max)
                close_level(&d->levels[d->first_open++]);
        d->levels[d->n++] =
                (struct descent_level){.fd = steal_fd(fd), .dev = st.st_dev, .ino = st.st_ino};
        return 0;
}

static int reopen(struct descent_level *l, int below)
{
        _cleanup_close_ int fd = openat(below, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == EBADF ? -ESTALE : -errno;
        struct stat st;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_dev != l->dev || st.st_ino != l->ino)
                return -ESTALE;
        l->fd = steal_fd(&fd);
        return 0;
}

int descent_pop(struct descent *d, int *ret_fd)
{
        *ret_fd = -EBADF;
        if (d->n == 0)
                return -EINVAL;
        struct descent_level *l = &d->levels[--d->n];
        int r = 0;
        if (d->n > 0 && d->first_open >= d->n) {
                d->first_open = d->n - 1;
                r = reopen(l - 1, l->fd);
        }
        *ret_fd = steal_fd(&l->fd);
        return r;
}

int descent_fd(const struct descent *d)
{
        return d->n > 0 ? d->levels[d->n - 1].fd : -EBADF;
}
