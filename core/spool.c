#include "spool.h"

#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define NAME_ROOM  160
#define KEPT_FREE  (256ull * MiB)
#define KEPT_SHARE 16 /* of a small disk */

struct spool {
        int dir;
        char *path, *id;
        int fd; /* of the volume that is being written */
        unsigned volume;
};

static void name_of(const struct spool *s, unsigned volume, char out[NAME_ROOM])
{
        (void)snprintf(out, NAME_ROOM, "%s-%04u.esdk", s->id, volume); /* ids are short */
}

int spool_open(const char *data, const char *id, struct spool **ret, struct err *e)
{
        _cleanup_(spool_closep) struct spool *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->dir = s->fd = -EBADF;
        s->path = io_join(data, "spool");
        s->id = strdup(id);
        if (!s->path || !s->id)
                return err_oom(e);
        s->dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dir < 0)
                return err_errno(e, -errno, "cannot open the spool %s", s->path);
        *ret = steal(s);
        return 0;
}

void spool_close(struct spool *s)
{
        if (!s)
                return;
        base_closep(&s->fd);
        base_closep(&s->dir);
        free(s->path);
        free(s->id);
        free(s);
}

/* ---- writing ---- */

int spool_begin(struct spool *s, unsigned volume, struct err *e)
{
        char name[NAME_ROOM];
        name_of(s, volume, name);
        base_closep(&s->fd);
        s->fd = openat(s->dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (s->fd < 0)
                return err_errno(e, -errno, "cannot make %s/%s", s->path, name);
        s->volume = volume;
        return fsync(s->dir) < 0 ? err_errno(e, -errno, "cannot write %s to the disk", s->path) : 0;
}

int spool_write(struct spool *s, unsigned volume, const void *data, size_t len, uint64_t offset,
        struct err *e)
{
        if (s->fd < 0 || s->volume != volume)
                return err_set(e, -EINVAL, "volume %u is not open in the spool", volume);
        int q = io_pwrite_full(s->fd, data, len, offset);
        if (q == 0 && fdatasync(s->fd) < 0)
                q = -errno;
        if (q == -ENOSPC || q == -EDQUOT)
                (void)ftruncate(s->fd, (off_t)offset); /* gives back what little was got */
        return q < 0 ? err_errno(e, q, "cannot write to the spool %s", s->path) : 0;
}

/* ---- reading ---- */

int spool_read(
        struct spool *s, unsigned volume, void *data, size_t len, uint64_t offset, struct err *e)
{
        char name[NAME_ROOM];
        name_of(s, volume, name);
        _cleanup_close_ int fd = openat(s->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT)
                return err_set(e, -EBADMSG, "%s/%s, which was to be sent, is gone", s->path, name);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open %s/%s", s->path, name);
        ssize_t n = io_pread_full(fd, data, len, offset);
        if (n < 0)
                return err_errno(e, (int)n, "cannot read %s/%s", s->path, name);
        return (size_t)n == len ? 0
                                : err_set(e, -EBADMSG, "%s/%s, which was to be sent, is too short",
                                          s->path, name);
}

bool spool_holds(struct spool *s, unsigned volume, uint64_t size)
{
        char name[NAME_ROOM];
        struct stat st;
        name_of(s, volume, name);
        return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
               (uint64_t)st.st_size == size;
}

/* ---- removing, counting ---- */

void spool_remove(struct spool *s, unsigned volume)
{
        char name[NAME_ROOM];
        name_of(s, volume, name);
        (void)unlinkat(s->dir, name, 0); /* one that stays is found by spool_clear() at the end */
}

/* A descriptor of its own: readdir moves its place. */
static DIR *open_folder(const struct spool *s)
{
        int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        if (!d && fd >= 0)
                (void)close(fd); /* only read */
        return d;
}

static bool is_volume(const char *name, const char *id)
{
        const char *rest = startswith(name, id);
        return rest && *rest == '-' && endswith(rest, ".esdk");
}

void spool_clear(struct spool *s)
{
        base_closep(&s->fd);
        s->fd = -EBADF;
        DIR *d = open_folder(s);
        if (!d)
                return;
        for (struct dirent *de; (de = readdir(d)) != NULL;)
                if (is_volume(de->d_name, s->id))
                        (void)unlinkat(s->dir, de->d_name, 0); /* one that stays is only litter */
        (void)closedir(d);                                     /* only read */
}

uint64_t spool_used(struct spool *s)
{
        DIR *d = open_folder(s);
        if (!d)
                return 0;
        uint64_t sum = 0;
        struct stat st;
        for (struct dirent *de; (de = readdir(d)) != NULL;)
                if (endswith(de->d_name, ".esdk") &&
                        fstatat(s->dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        sum += (uint64_t)st.st_size;
        (void)closedir(d); /* only read */
        return sum;
}

bool spool_has_room(struct spool *s, uint64_t len)
{
        struct statvfs v;
        if (fstatvfs(s->dir, &v) < 0 || v.f_blocks == 0) /* see io_free_bytes */
                return true;
        uint64_t unit = v.f_frsize, keep = MIN(KEPT_FREE, v.f_blocks * unit / KEPT_SHARE);
        return v.f_bavail * unit >= len + keep;
}
