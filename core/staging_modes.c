#include "staging_internal.h"

#include "io.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ID.modes: records "octal mode, space, path, zero byte", appended and synced before an entry is
 * opened up. A record that a crash cut off has no zero byte and is ignored: its entry was not yet
 * changed. */

static char *modes_name(const char *id)
{
        char *p;
        return asprintf(&p, "%s.modes", id) < 0 ? NULL : p;
}

int staging_note_mode(
        struct staging *s, const char *id, const char *path, mode_t mode, struct err *e)
{
        _cleanup_free_ char *name = modes_name(id);
        _cleanup_free_ char *record = NULL;
        if (!name)
                return err_oom(e);
        int n = asprintf(&record, "%o %s", (unsigned)mode & 07777, path);
        if (n < 0) {
                record = NULL;
                return err_oom(e);
        }
        _cleanup_close_ int fd =
                openat(s->fd, name, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open %s/%s", s->path, name);
        struct stat st;
        bool first = fstat(fd, &st) == 0 && st.st_size == 0;
        int q = io_write_full(fd, record, (size_t)n + 1);
        if (q == 0 && (fdatasync(fd) < 0 || (first && fsync(s->sync) < 0)))
                q = -errno;
        return q < 0 ? err_errno(e, q, "cannot write %s/%s", s->path, name) : 0;
}

/* Walks down `path` component by component, so that no link is followed and no length is too long.
 */
static int open_entry(int top, const char *path, struct stat *st)
{
        int fd = openat(top, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
        while (fd >= 0 && *path) {
                size_t n = strcspn(path, "/");
                _cleanup_free_ char *part = strndup(path, n);
                int next = part ? openat(fd, part, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
                (void)close(fd); /* O_PATH */
                fd = next;
                path += n + (path[n] == '/');
        }
        if (fd >= 0 && fstat(fd, st) < 0) {
                (void)close(fd); /* O_PATH */
                fd = -1;
        }
        return fd;
}

static void restore_one(int top, const char *path, mode_t mode)
{
        struct stat st;
        _cleanup_close_ int fd = open_entry(top, path, &st);
        if (fd < 0 || S_ISLNK(st.st_mode) || (st.st_mode & 07777) == mode)
                return; /* gone, or as it was */
        char proc[64];
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd); /* fits */
        (void)chmod(proc, mode); /* ours; if it fails it stays readable, which loses nothing */
}

struct record {
        const char *path;
        mode_t mode;
};

static size_t parse(char *text, size_t len, struct record *out)
{
        size_t n = 0;
        for (char *p = text; p < text + len;) {
                char *end = memchr(p, 0, (size_t)(text + len - p));
                char *path;
                if (!end)
                        break;
                mode_t mode = (mode_t)strtoul(p, &path, 8);
                if (*path == ' ') {
                        if (out)
                                out[n] = (struct record){path + 1, mode};
                        n++;
                }
                p = end + 1;
        }
        return n;
}

int staging_restore_modes(struct staging *s, const char *id, struct err *e)
{
        _cleanup_free_ char *name = modes_name(id);
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!name)
                return err_oom(e);
        int q = io_read_file(s->fd, name, SIZE_MAX / 2, &b, e);
        if (q == -ENOENT)
                return 0;
        if (q < 0)
                return q;
        size_t n = parse(b.data, b.len, NULL);
        _cleanup_free_ struct record *r = calloc(n + 1, sizeof *r);
        if (!r)
                return err_oom(e);
        (void)parse(b.data, b.len, r); /* counted above */
        _cleanup_close_ int top = -EBADF;
        if ((q = staging_open_frozen(s, id, &top, e)) < 0)
                return q == -ENOENT ? 0 : q;
        for (size_t i = n; i > 0;
                i--) /* what is deepest first: a closed folder hides what it holds */
                restore_one(top, r[i - 1].path, r[i - 1].mode);
        return 0;
}
