#include "spec.h"

#include "io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char *list_path(const char *data, const char *id)
{
        char *s;
        return asprintf(&s, "%s/spool/%s.list", data, id) < 0 ? NULL : s;
}

int spec_files_save(const char *data, const char *id, const char *const *paths, struct err *e)
{
        _cleanup_free_ char *path = list_path(data, id);
        if (!path)
                return err_oom(e);
        _cleanup_fclose_ FILE *f = fopen(path, "wxe");
        if (!f)
                return err_errno(e, -errno, "cannot make %s", path);
        int q = 0;
        for (size_t i = 0; q == 0 && paths[i]; i++)
                if (fwrite(paths[i], strlen(paths[i]) + 1, 1, f) != 1)
                        q = -errno;
        if (q == 0 && (fflush(f) != 0 || fsync(fileno(f)) < 0))
                q = -errno;
        if (q == 0)
                q = io_sync_parent(AT_FDCWD, path);
        if (q < 0) {
                (void)unlink(path); /* the first error is the one to report */
                return err_errno(e, q, "cannot write %s", path);
        }
        return 0;
}

static int index_paths(struct spec_files *f)
{
        size_t n = 0;
        for (size_t i = 0; i < f->len; i++)
                n += f->map[i] == 0;
        f->paths = calloc(n + 1, sizeof *f->paths);
        if (!f->paths)
                return -ENOMEM;
        const char *p = f->map;
        for (size_t i = 0; i < n; i++) {
                f->paths[i] = p;
                p += strlen(p) + 1;
        }
        return 0;
}

int spec_files_load(const char *data, const char *id, struct spec_files *ret, struct err *e)
{
        _cleanup_free_ char *path = list_path(data, id);
        if (!path)
                return err_oom(e);
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return err_errno(e, -errno, "cannot open the list of files %s", path);
        struct stat st;
        if (fstat(fd, &st) < 0)
                return err_errno(e, -errno, "cannot look at %s", path);
        struct spec_files f = {.len = (size_t)st.st_size};
        if (f.len > 0) {
                f.map = mmap(NULL, f.len, PROT_READ, MAP_PRIVATE, fd, 0);
                if (f.map == MAP_FAILED)
                        return err_errno(e, -errno, "cannot read %s", path);
                if (f.map[f.len - 1] != 0) {
                        spec_files_done(&f);
                        return err_set(e, -EPROTO, "the list of files %s is cut off", path);
                }
        }
        if (index_paths(&f) < 0) {
                spec_files_done(&f);
                return err_oom(e);
        }
        *ret = f;
        return 0;
}

void spec_files_done(struct spec_files *f)
{
        if (f->map)
                (void)munmap(f->map, f->len); /* cannot fail on a whole mapping of ours */
        free(f->paths);
        *f = (struct spec_files){0};
}

void spec_files_remove(const char *data, const char *id)
{
        _cleanup_free_ char *path = list_path(data, id);
        if (path)
                (void)unlink(path); /* a list that stays is only litter */
}
