#include "spec.h"

#include "io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static char *list_path(const char *data, const char *id)
{
        char *s;
        return asprintf(&s, "%s/spool/%s.list", data, id) < 0 ? NULL : s;
}

struct spec_writer {
        char *path, *tmp;
        FILE *file;
        uint64_t n;
};

int spec_writer_new(const char *data, const char *id, struct spec_writer **ret, struct err *e)
{
        _cleanup_(spec_writer_freep) struct spec_writer *w = calloc(1, sizeof *w);
        if (!w || !(w->path = list_path(data, id)) || asprintf(&w->tmp, "%s.new", w->path) < 0)
                return err_oom(e);
        (void)unlink(w->tmp); /* of a run that was cut off */
        w->file = fopen(w->tmp, "wxe");
        if (!w->file)
                return err_errno(e, -errno, "cannot make %s", w->tmp);
        *ret = steal(w);
        return 0;
}

int spec_writer_add(struct spec_writer *w, const char *path, struct err *e)
{
        if (fwrite(path, strlen(path) + 1, 1, w->file) != 1)
                return err_errno(e, -errno, "cannot write %s", w->tmp);
        w->n++;
        return 0;
}

uint64_t spec_writer_count(const struct spec_writer *w)
{
        return w->n;
}

int spec_writer_commit(struct spec_writer *w, struct err *e)
{
        int q = 0;
        if (fflush(w->file) != 0 || fsync(fileno(w->file)) < 0 || rename(w->tmp, w->path) < 0)
                q = -errno;
        if (q == 0)
                q = io_sync_parent(AT_FDCWD, w->path);
        return q < 0 ? err_errno(e, q, "cannot write %s", w->path) : 0;
}

void spec_writer_free(struct spec_writer *w)
{
        if (!w)
                return;
        if (w->file) {
                (void)fclose(w->file); /* what counts has been flushed */
                (void)unlink(w->tmp);  /* gone already after a commit */
        }
        free(w->path);
        free(w->tmp);
        free(w);
}

int spec_files_save(const char *data, const char *id, const char *const *paths, struct err *e)
{
        _cleanup_(spec_writer_freep) struct spec_writer *w = NULL;
        int q = spec_writer_new(data, id, &w, e);
        for (size_t i = 0; q == 0 && paths[i]; i++)
                q = spec_writer_add(w, paths[i], e);
        return q < 0 ? q : spec_writer_commit(w, e);
}

bool spec_files_exist(const char *data, const char *id)
{
        _cleanup_free_ char *path = list_path(data, id);
        return path && access(path, F_OK) == 0;
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
        _cleanup_free_ char *tmp = NULL;
        if (!path || asprintf(&tmp, "%s.new", path) < 0)
                return; /* a list that stays is only litter */
        (void)unlink(path);
        (void)unlink(tmp);
}

int spec_files_each(const char *data, int (*each)(void *ctx, const char *id, struct err *e),
        void *ctx, struct err *e)
{
        _cleanup_free_ char *path = io_join(data, "spool");
        DIR *d = path ? opendir(path) : NULL;
        if (!d)
                return path ? err_errno(e, -errno, "cannot list %s", path) : err_oom(e);
        int q = 0;
        struct dirent *de;
        while (q == 0 && (de = readdir(d)) != NULL) {
                char *dot = strchr(de->d_name, '.');
                if (!dot || dot == de->d_name || !(streq(dot, ".list") || streq(dot, ".list.new")))
                        continue;
                *dot = 0;
                q = each(ctx, de->d_name, e);
        }
        (void)closedir(d); /* only read */
        return q;
}
