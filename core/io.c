#include "io.h"

#include "secret.h"

#include <fcntl.h>
#include <libgen.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

ssize_t io_pread_full(int fd, void *data, size_t len, uint64_t offset)
{
        size_t done = 0;
        while (done < len) {
                ssize_t n = pread(fd, (char *)data + done, len - done, (off_t)(offset + done));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        return (ssize_t)done;
}

ssize_t io_read_full(int fd, void *data, size_t len)
{
        size_t done = 0;
        while (done < len) {
                ssize_t n = read(fd, (char *)data + done, len - done);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                done += (size_t)n;
        }
        return (ssize_t)done;
}

int io_write_full(int fd, const void *data, size_t len)
{
        const char *p = data;
        while (len > 0) {
                ssize_t n = write(fd, p, len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                len -= (size_t)n;
        }
        return 0;
}

int io_pwrite_full(int fd, const void *data, size_t len, uint64_t offset)
{
        const char *p = data;
        while (len > 0) {
                ssize_t n = pwrite(fd, p, len, (off_t)offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                p += n;
                offset += (uint64_t)n;
                len -= (size_t)n;
        }
        return 0;
}

int io_read_file(int dirfd, const char *path, size_t max, struct buf *ret, struct err *e)
{
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open %s", path);
        _cleanup_buf_ struct buf b = BUF_INIT;
        for (;;) {
                char chunk[16 * KiB];
                ssize_t n = io_read_full(fd, chunk, sizeof chunk);
                if (n < 0)
                        return err_errno(e, (int)n, "cannot read %s", path);
                buf_add(&b, chunk, (size_t)n);
                secret_wipe(chunk, (size_t)n); /* it may be a key */
                if (b.len > max)
                        return err_set(e, -EFBIG, "%s is larger than %zu bytes", path, max);
                if ((size_t)n < sizeof chunk)
                        break;
        }
        if (buf_oom(&b))
                return err_oom(e);
        buf_done(ret);
        *ret = b;
        b = (struct buf)BUF_INIT;
        return 0;
}

static int write_synced(int dirfd, const char *path, mode_t mode, const void *data, size_t len)
{
        _cleanup_close_ int fd =
                openat(dirfd, path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
                return -errno;
        int r = io_write_full(fd, data, len);
        if (r < 0)
                return r;
        return fsync(fd) < 0 ? -errno : 0;
}

int io_sync_parent(int dirfd, const char *path)
{
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return -ENOMEM;
        _cleanup_close_ int fd = openat(dirfd, dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                return -errno;
        return 0;
}

int io_write_file(
        int dirfd, const char *path, mode_t mode, const void *data, size_t len, struct err *e)
{
        _cleanup_free_ char *tmp = NULL;
        if (asprintf(&tmp, "%s.tmp", path) < 0)
                return err_oom(e);
        int r = write_synced(dirfd, tmp, mode, data, len);
        if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
                r = -errno;
        if (r == 0)
                r = io_sync_parent(dirfd, path);
        if (r < 0) {
                (void)unlinkat(dirfd, tmp, 0); /* the first error is the one to report */
                return err_errno(e, r, "cannot write %s", path);
        }
        return 0;
}

int io_mkdir_p(const char *path, mode_t mode, struct err *e)
{
        _cleanup_free_ char *copy = strdup(path);
        if (!copy)
                return err_oom(e);
        for (char *p = copy + 1;; p++) {
                if (*p != '/' && *p != 0)
                        continue;
                char c = *p;
                *p = 0;
                struct stat st;
                int q = mkdir(copy, mode) < 0 && errno != EEXIST ? -errno : 0;
                /* refused also where it is there already */
                if (q < 0 && ((q != -EROFS && q != -EACCES) || stat(copy, &st) < 0))
                        return err_errno(e, q, "cannot make the folder %s", copy);
                *p = c;
                if (c == 0)
                        break;
        }
        struct stat st;
        if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
                return err_set(e, -ENOTDIR, "%s is not a folder", path);
        return 0;
}

uint64_t io_free_bytes(int fd)
{
        struct statvfs v;
        if (fstatvfs(fd, &v) < 0 || v.f_blocks == 0) /* some that are in memory count nothing */
                return UINT64_MAX;
        return (uint64_t)v.f_bavail * v.f_frsize;
}

char *io_join(const char *a, const char *b)
{
        char *p;
        const char *sep = endswith(a, "/") || *a == 0 ? "" : "/";
        return asprintf(&p, "%s%s%s", a, sep, b) < 0 ? NULL : p;
}

/* Whoever had the lock has taken the file away: what is locked now keeps nobody out. Both are
 * asked, since not every filesystem counts names or keeps numbers. */
static bool is_removed(int dirfd, const char *name, int fd)
{
        struct stat mine, there;
        if (fstat(fd, &mine) < 0 || mine.st_nlink > 0)
                return false;
        return fstatat(dirfd, name, &there, AT_SYMLINK_NOFOLLOW) < 0 ||
               there.st_ino != mine.st_ino || there.st_dev != mine.st_dev;
}

static int lock_now(int dirfd, const char *name, int *ret_fd, struct err *e)
{
        _cleanup_close_ int fd =
                openat(dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open the lock file %s", name);
        struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
                int r = errno == EACCES ? -EAGAIN : -errno;
                return err_errno(e, r, "cannot lock %s", name);
        }
        *ret_fd = steal_fd(&fd);
        return 0;
}

int io_lock_file(int dirfd, const char *name, int *ret_fd, struct err *e)
{
        for (;;) {
                _cleanup_close_ int fd = -EBADF;
                int q = lock_now(dirfd, name, &fd, e);
                if (q < 0)
                        return q;
                if (is_removed(dirfd, name, fd))
                        continue;
                *ret_fd = steal_fd(&fd);
                return 0;
        }
}
