#include "gather.h"

#include "gather_path.h"
#include "gather_walk.h"
#include "staging.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ---- what the walk from one root asks ---- */

enum gather_turn gather_turn(struct gather *g, const char *path)
{
        const char *after = g->params->resume_after;
        if (!after || g->resumed)
                return GATHER_TAKE;
        int c = gather_order(path, after);
        g->resumed = c > 0;
        if (c > 0 || (c == 0 && g->params->resume_at))
                return GATHER_TAKE;
        return gather_path_below(after, path) ? GATHER_THROUGH : GATHER_PASS;
}

bool gather_is_avoided(const struct gather *g, const struct stat *st)
{
        for (size_t i = 0; i < g->n_avoid; i++)
                if (g->avoid[i].dev == st->st_dev && g->avoid[i].ino == st->st_ino)
                        return true;
        return false;
}

static bool is_closed(const struct gather *g, int fd)
{
        _cleanup_free_ char *path = gather_real_path(fd);
        for (size_t i = 0; path && i < g->n_closed; i++)
                if (gather_path_below(path, g->closed[i]))
                        return true;
        return false;
}

bool gather_is_ours(struct gather *g, int fd)
{
        return gather_mounts_look(&g->mounts, fd) == 0 && gather_mounts_is_ours(&g->mounts);
}

static int problem(struct gather *g, enum gather_problem what, const char *path, const char *back,
        const char *why)
{
        return g->visitor->problem(g->visitor->ctx, what, path, back, why, g->e);
}

static const char *why_closed(struct gather *g, int fd)
{
        if (is_closed(g, fd))
                return "it lies in a folder in which autoglacier itself works";
        if (gather_is_ours(g, fd))
                return "it lies in an autoglacier mount";
        return NULL;
}

/* ---- explicit files: a sorted list, walked in one order with what is below its folders ---- */

/* A list may be long, and most of it unchanged: what the visitor passes over need not be opened. */
static int may_pass(struct gather *g, const char *path, const char *source)
{
        struct stat st;
        const struct gather_visitor *v = g->visitor;
        if (!v->pass || gather_turn(g, path) != GATHER_TAKE || lstat(source, &st) < 0 ||
                !S_ISREG(st.st_mode))
                return 0;
        return v->pass(v->ctx, path, &st, g->e);
}

static int walk_listed(struct gather *g, const char *path)
{
        _cleanup_free_ char *source = NULL;
        if (asprintf(&source, "/%s", path) < 0)
                return err_oom(g->e);
        int passed = may_pass(g, path, source);
        if (passed != 0)
                return passed < 0 ? passed : 0;
        struct gather_start s = {.path = path, .source = source, .fd = -EBADF};
        _cleanup_close_ int fd = open(source, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        const char *why = fd >= 0 ? why_closed(g, fd) : NULL;
        if (why)
                return problem(g, GATHER_AVOIDED, path, NULL, why);
        return gather_walk_from(g, &s);
}

int gather_listed_before(struct gather *g, const char *path, bool *ret_listed)
{
        *ret_listed = false;
        while (g->next_listed < g->n_listed) {
                const char *next = g->listed[g->next_listed];
                int c = gather_order(next, path);
                if (c > 0)
                        return 0;
                g->next_listed++;
                if (c == 0) {
                        *ret_listed = true;
                        return 0;
                }
                int r = walk_listed(g, next);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int by_order(const void *a, const void *b)
{
        return gather_order(*(char *const *)a, *(char *const *)b);
}

/* The list is sorted: every folder above the target is looked for in it. */
bool gather_is_listed(const struct gather *g, const char *target)
{
        _cleanup_free_ char *path = strdup(target + 1);
        if (g->n_listed > 0 && !*g->listed[0]) /* all of "/" */
                return true;
        for (char *end = path ? strchr(path, 0) : NULL; end; end = strrchr(path, '/')) {
                const char *key = path;
                *end = 0;
                if (g->n_listed > 0 &&
                        bsearch(&key, g->listed, g->n_listed, sizeof *g->listed, by_order))
                        return true;
        }
        return false;
}

/* There may be a million of them: most are clean as they were given. */
static bool is_clean(const char *file)
{
        size_t n = strlen(file);
        return file[n - 1] != '/' && !strstr(file, "//") && !strstr(file, "/./") &&
               !strstr(file, "/../") && !endswith(file, "/.") && !endswith(file, "/..");
}

/* "/a/../b" may lead elsewhere than "/b" when "/a" is a link: such paths are asked of the system.
 */
char *gather_name(const char *file)
{
        if (is_clean(file))
                return strdup(file + 1);
        bool up = endswith(file, "/..") || strstr(file, "/../");
        _cleanup_free_ char *real = up ? realpath(file, NULL) : NULL;
        _cleanup_free_ char *clean = gather_path_clean(real ? real : file);
        return clean ? strdup(clean + 1) : NULL;
}

static int list_file(struct gather *g, const char *file)
{
        if (is_clean(file)) {
                g->listed[g->n_listed++] = file + 1;
                return 0;
        }
        char **v = reallocarray(g->cleaned, g->n_cleaned + 1, sizeof *v);
        if (!v)
                return err_oom(g->e);
        g->cleaned = v;
        if (!(v[g->n_cleaned] = gather_name(file)))
                return err_oom(g->e);
        g->listed[g->n_listed++] = v[g->n_cleaned++];
        return 0;
}

static int list_files(struct gather *g)
{
        const char *const *files = g->params->files;
        size_t n = 0;
        while (files[n])
                n++;
        g->listed = calloc(n + 1, sizeof *g->listed);
        if (!g->listed)
                return err_oom(g->e);
        for (size_t i = 0; i < n; i++) {
                if (files[i][0] != '/')
                        return err_set(g->e, -EINVAL, "%s is not an absolute path", files[i]);
                int r = list_file(g, files[i]);
                if (r < 0)
                        return r;
        }
        qsort(g->listed, n, sizeof *g->listed, by_order);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
                if (kept == 0 || !streq(g->listed[i], g->listed[kept - 1]))
                        g->listed[kept++] = g->listed[i];
        }
        g->n_listed = kept;
        return 0;
}

static int walk_files(struct gather *g)
{
        int r = list_files(g);
        while (r == 0 && g->next_listed < g->n_listed)
                r = walk_listed(g, g->listed[g->next_listed++]);
        return r;
}

/* ---- the frozen tree ---- */

static int walk_tree(struct gather *g)
{
        const struct gather_params *p = g->params;
        _cleanup_close_ int top = -EBADF;
        int r = staging_open_frozen(p->staging, p->id, &top, g->e);
        if (r < 0)
                return r;
        _cleanup_close_ int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return err_errno(g->e, -errno, "cannot read the staged files of %s", p->id);
        struct gather_start s = {.path = "", .staged = true, .fd = fd};
        return gather_walk_from(g, &s);
}

static int wait_for(struct gather *g, const char *name, const char *target)
{
        (void)err_set(g->e, -ENODEV, "%s leads to %s, and the disk that holds it is not there",
                name, target);
        err_hint(g->e, "connect or mount it again: the archive waits for it and then goes on");
        return -ENODEV;
}

/* The nearest folder above `path` that is there, O_PATH. */
static int open_nearest(const struct gather_ids *ids, const char *path)
{
        _cleanup_free_ char *p = gather_path_clean(path);
        if (!p)
                return -ENOMEM;
        for (;;) {
                char *slash = strrchr(p, '/');
                *(slash == p ? slash + 1 : slash) = 0;
                int fd = gather_open_path(ids, AT_FDCWD, p, 0);
                if (fd >= 0 || streq(p, "/"))
                        return fd;
        }
}

static bool is_away(int code)
{
        return code == -ENODEV || code == -ENXIO || code == -ENOTCONN || code == -ESTALE ||
               code == -EHOSTDOWN || code == -ETIMEDOUT || code == -ESHUTDOWN;
}

/* Whether the device that a link led to at commit is there. fd: what was opened, or -errno. A
 * missing file on a disk that is there was deleted; on one that is not, it is only away. */
static bool is_there(struct gather *g, const char *name, const struct gather_ids *ids,
        const char *target, int fd)
{
        if (is_away(fd))
                return false;
        const char *fs = gather_table_fs(g->table, name);
        if (!fs || (fd < 0 && fd != -ENOENT && fd != -ENOTDIR))
                return true;
        _cleanup_close_ int near = fd < 0 ? open_nearest(ids, target) : -EBADF;
        if (gather_mounts_look(&g->mounts, fd < 0 ? near : fd) < 0)
                return true;
        return streq(g->mounts.fs, fs);
}

static int link_ids(const struct gather *g, int tree_fd, const char *name, struct gather_ids *ret)
{
        struct stat st;
        *ret = (struct gather_ids){0};
        if (!g->params->follow_as_owner)
                return 0;
        if (fstatat(tree_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        *ret = (struct gather_ids){.active = st.st_uid != 0, .uid = st.st_uid, .gid = st.st_gid};
        return 0;
}

static int unreadable(struct gather *g, const char *name, const char *target, int code)
{
        char why[ERR_TEXT_MAX];
        if (code == -ENOENT || code == -ENOTDIR)
                (void)snprintf(
                        why, sizeof why, "%.900s, to which it led, is not there any more", target);
        else
                (void)snprintf(why, sizeof why, "%.900s, to which it leads, cannot be read: %s",
                        target, err_words(code));
        return problem(g, GATHER_UNREADABLE, name, name, why);
}

/* Looked at before it is opened: opening a device or a FIFO may do something. */
static int walk_target(struct gather *g, const char *name, const char *target, int handle,
        const struct gather_ids *ids)
{
        struct stat st;
        if (fstat(handle, &st) < 0)
                return unreadable(g, name, target, -errno);
        if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
                return problem(
                        g, GATHER_SPECIAL, name, name, "it leads to neither a file nor a folder");
        const char *why = why_closed(g, handle);
        if (why)
                return problem(g, GATHER_AVOIDED, name, name, why);
        bool noatime = true;
        _cleanup_close_ int fd = gather_reopen(ids, handle, &noatime);
        if (fd < 0)
                return unreadable(g, name, target, fd);
        _cleanup_free_ char *real = gather_real_path(handle);
        struct gather_start s = {.path = name,
                .source = real ? real : target,
                .top_link = name,
                .ids = *ids,
                .fd = fd};
        return gather_walk_from(g, &s);
}

int gather_follow(struct gather *g, int tree_fd, const char *name)
{
        _cleanup_free_ char *text = NULL, *target = NULL;
        static const struct gather_ids self;
        int r = gather_read_link(&self, tree_fd, name, &text);
        if (r == -ENOMEM)
                return err_oom(g->e);
        if (r == -EINVAL)
                return 1; /* no link after all: taken as what it is */
        if (r < 0)
                return unreadable(g, name, "its target", r);
        bool inside;
        r = gather_path_resolve(g->params->mountpoint, text, &target, &inside);
        if (r < 0)
                return err_oom(g->e);
        if (inside)
                return 1;
        struct gather_ids ids;
        r = link_ids(g, tree_fd, name, &ids);
        if (r < 0)
                return unreadable(g, name, target, r);
        _cleanup_close_ int handle = gather_open_path(&ids, AT_FDCWD, target, 0);
        if (!is_there(g, name, &ids, target, handle))
                return wait_for(g, name, target);
        if (handle < 0)
                return unreadable(g, name, target, handle);
        return walk_target(g, name, target, handle, &ids);
}

/* ---- all of it ---- */

static int note_avoided(struct gather *g)
{
        const char *const *avoid = g->params->avoid;
        size_t n = 0;
        while (avoid && avoid[n])
                n++;
        g->avoid = calloc(n + 1, sizeof *g->avoid);
        if (!g->avoid)
                return err_oom(g->e);
        for (size_t i = 0; i < n; i++) {
                struct stat st;
                if (stat(avoid[i], &st) == 0) /* what is not there cannot be entered */
                        g->avoid[g->n_avoid++] = (struct gather_folder_id){st.st_dev, st.st_ino};
        }
        return 0;
}

static void close_folder(struct gather *g, const char *path)
{
        char *real = realpath(path, NULL);
        if (real)
                g->closed[g->n_closed++] = real;
}

static int note_closed(struct gather *g)
{
        const char *const *closed = g->params->closed;
        size_t n = 0;
        while (closed && closed[n])
                n++;
        g->closed = calloc(n + 1, sizeof *g->closed);
        if (!g->closed)
                return err_oom(g->e);
        for (size_t i = 0; i < n; i++)
                close_folder(g, closed[i]);
        if (!g->params->staging)
                return 0;
        _cleanup_free_ char *data = NULL;
        if (asprintf(&data, "%s/..", staging_path(g->params->staging)) < 0)
                return err_oom(g->e);
        close_folder(g, data);
        return 0;
}

static void gather_done(struct gather *g)
{
        for (size_t i = 0; i < g->n_closed; i++)
                free(g->closed[i]);
        for (size_t i = 0; i < g->n_cleaned; i++)
                free(g->cleaned[i]);
        free(g->cleaned);
        free(g->closed);
        free(g->listed);
        free(g->avoid);
        gather_table_free(g->table);
}

int gather_walk(const struct gather_params *params, const struct gather_visitor *v, struct err *e)
{
        _cleanup_(gather_done) struct gather g = {.params = params, .visitor = v, .e = e};
        if (!params->staging && !params->files)
                return err_set(e, -EINVAL, "there is nothing to gather");
        int r = note_avoided(&g);
        if (r == 0)
                r = note_closed(&g);
        if (r == 0 && params->devices)
                r = gather_table_load(params->devices, &g.table, e);
        if (r < 0)
                return r;
        return params->staging ? walk_tree(&g) : walk_files(&g);
}
