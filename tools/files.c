#include "files.h"

#include "glob.h"
#include "io.h"

#include <limits.h>
#include <sys/stat.h>

static int absolute(const char *path, char **ret, struct err *e)
{
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/')
                n--;
        _cleanup_free_ char *clean = strndup(path, n);
        if (!clean)
                return err_oom(e);
        const char *slash = strrchr(clean, '/');
        const char *last = slash ? slash + 1 : clean;
        struct stat st;
        if (*path == 0 || lstat(path, &st) < 0)
                return err_errno(e, *path ? -errno : -ENOENT, "cannot find %s", path);
        /* "dir/" means what is behind a link; so do ".", ".." and "/" */
        bool whole = path[n] == '/' || !*last || streq(last, ".") || streq(last, "..");
        _cleanup_free_ char *folder =
                whole ? NULL
                      : strndup(slash ? clean : ".",
                                slash ? MAX((size_t)(slash - clean), (size_t)1) : 1);
        char *real = realpath(whole ? path : folder ? folder : "", NULL);
        if (!real)
                return err_errno(e, -errno, "cannot find %s", path);
        if (whole) {
                *ret = real;
                return 0;
        }
        *ret = streq(real, "/") ? io_join("", last) : io_join(real, last);
        free(real);
        return *ret ? 0 : err_oom(e);
}

static int push(struct files *f, char *path, struct err *e)
{
        if (f->n + 1 >= f->cap) {
                size_t cap = MAX((size_t)64, f->cap * 2);
                char **v = reallocarray(f->paths, cap, sizeof *v);
                if (!v) {
                        free(path);
                        return err_oom(e);
                }
                f->paths = v;
                f->cap = cap;
        }
        f->paths[f->n++] = path;
        f->paths[f->n] = NULL;
        return 0;
}

static int add(struct files *f, const char *word, struct err *e)
{
        char *path = NULL;
        int q = absolute(word, &path, e);
        return q < 0 ? q : push(f, path, e);
}

int files_add(struct files *f, const char *const *words, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && words[i]; i++)
                q = add(f, words[i], e);
        return q;
}

static int note_empty(struct files *f, const char *pattern, struct err *e)
{
        char **v = reallocarray(f->empty, f->n_empty + 1, sizeof *v);
        if (!v)
                return err_oom(e);
        f->empty = v;
        if (!(v[f->n_empty] = strdup(pattern)))
                return err_oom(e);
        f->n_empty++;
        return 0;
}

static int add_found(void *ctx, const char *path, struct err *e)
{
        return add(ctx, path, e);
}

/* "~/x" in a pattern that the shell has not seen, since it was quoted. */
static char *at_home(const char *pattern)
{
        const char *home = getenv("HOME");
        return startswith(pattern, "~/") && home ? io_join(home, pattern + 2) : strdup(pattern);
}

static int glob_one(struct files *f, const char *pattern, struct err *e)
{
        _cleanup_free_ char *whole = at_home(pattern);
        uint64_t n = 0;
        if (!whole)
                return err_oom(e);
        int q = glob_each(whole, add_found, f, &n, e);
        return q == 0 && n == 0 ? note_empty(f, pattern, e) : q;
}

int files_glob(struct files *f, const char *const *patterns, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && patterns[i]; i++)
                q = glob_one(f, patterns[i], e);
        if (q == 0 && f->n == 0 && f->n_empty > 0)
                q = err_set(e, -ENODATA, "nothing matches the pattern %s", f->empty[0]);
        return q;
}

void files_done(struct files *f)
{
        for (size_t i = 0; i < f->n; i++)
                free(f->paths[i]);
        for (size_t i = 0; i < f->n_empty; i++)
                free(f->empty[i]);
        free(f->paths);
        free(f->empty);
}
