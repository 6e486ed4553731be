#include "commit_internal.h"

#include "catalog_version.h"
#include "clock.h"
#include "config.h"
#include "gather.h"
#include "io.h"
#include "manifest.h"
#include "spec.h"
#include "staging.h"
#include "tar.h"
#include "words.h"

#include <fcntl.h>
#include <inttypes.h>

/* ---- where a run that was cut off goes on ---- */

static int keep_member(void *ctx, const struct catalog_member *m)
{
        struct catalog_member *ret = ctx;
        *ret = *m;
        ret->path = NULL;
        ret->link = NULL;
        return 0;
}

static int find_cut(struct run *r, char **ret_path, struct catalog_member *ret, struct err *e)
{
        int q = catalog_member_at(r->catalog, r->a.id, r->cut - 1, keep_member, ret, e);
        return q < 0 ? q : catalog_member_path(r->catalog, ret->row, ret_path, e);
}

/* The last member before the cut: either whole, or the one that must be replayed. */
int walk_begin(struct run *r, struct err *e)
{
        uint64_t base = r->cut;
        if (r->cut > 0) {
                struct catalog_member m;
                _cleanup_free_ char *path = NULL;
                int q = find_cut(r, &path, &m, e);
                if (q < 0 && q != -ENOENT)
                        return q;
                bool whole = q == -ENOENT ||
                             (m.tar_offset + m.tar_len <= r->cut && (m.type != 'f' || m.sha512));
                if (q == 0) {
                        r->replay = m;
                        r->replay.path = steal(path);
                        r->resume_at = !whole;
                        base = whole ? r->cut : m.tar_offset;
                }
        }
        if (r->phases.manifest != UINT64_MAX && r->cut > r->phases.manifest)
                base = r->phases.manifest;
        r->skip_until = r->cut;
        return member_tar_open(r, base, e);
}

/* ---- the walk ---- */

static void replayed(struct run *r)
{
        free((char *)r->replay.path);
        r->replay = (struct catalog_member){0};
}

/* What comes next would be taken for the rest of it. */
static int gone_in_the_middle(const struct run *r, struct err *e)
{
        return err_set(e, -ERESTART,
                "%s is gone, in the middle of which the archive was interrupted", r->replay.path);
}

static int note(struct run *r, const char *kind, const char *path, const char *why, struct err *e)
{
        pthread_mutex_lock(&r->lock);
        int q = catalog_list_add(r->catalog, r->a.id, kind, path, why, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

/* Of a list: what is there and could not be read is not gone. */
static bool is_there(const char *path)
{
        struct stat st;
        _cleanup_free_ char *whole = io_join("", path);
        return whole && (lstat(whole, &st) == 0 || (errno != ENOENT && errno != ENOTDIR));
}

/* What the list names is absolute: so it is told. */
static const char *root_of(const struct run *r, const char *path)
{
        return r->a.has_tree || *path == '/' ? "" : "/";
}

/* Something that is not in the archive. What can go back to the staging area does. */
static int missed(
        struct run *r, const char *path, const char *staged_path, const char *why, struct err *e)
{
        r->a.n_returned++;
        run_event(r, 'w', "not archived: %s%s: %s%s", root_of(r, path), path, why,
                staged_path ? "; it goes back to the staging area" : "");
        pthread_mutex_lock(&r->lock);
        int q = catalog_archive_update(r->catalog, &r->a, e);
        if (q == 0 && !r->a.has_tree && is_there(path))
                q = catalog_missed_add(r->catalog, r->a.id, path, e);
        pthread_mutex_unlock(&r->lock);
        if (q < 0)
                return q;
        return staged_path ? note(r, "return", staged_path, why, e) : 0;
}

static int problem(void *ctx, enum gather_problem what, const char *path, const char *staged_path,
        const char *why, struct err *e)
{
        struct run *r = ctx;
        switch (what) {
        case GATHER_LITTER:
                return 0;
        case GATHER_EXCLUDED:
                return staged_path ? note(r, "return", staged_path, "", e) : 0;
        case GATHER_AVOIDED:
                run_event(r, 'w', "left out: %s%s: %s", root_of(r, path), path, why);
                return staged_path ? note(r, "return", staged_path, why, e) : 0;
        case GATHER_UNREADABLE:
        case GATHER_SPECIAL:
                break;
        }
        return missed(r, path, staged_path, why, e);
}

static const char *goes_back(const struct gather_entry *g)
{
        return g->staged ? g->path : NULL;
}

static int entry(void *ctx, const struct gather_entry *g, struct err *e)
{
        struct run *r = ctx;
        int q = run_tick(r, e);
        if (q < 0)
                return q;
        if (r->replay.path && !streq(r->replay.path, g->path))
                return gone_in_the_middle(r, e);
        struct member_source m = {
                .path = g->path, .st = &g->st, .fd = g->fd, .link = g->link, .source = g->source};
        if ((q = changed_pass(r, g, e)) != 0)
                return q < 0 ? q : 0;
        bool changed_since =
                r->replay.path && S_ISREG(g->st.st_mode) &&
                ((uint64_t)g->st.st_size != r->replay.size ||
                        clock_of(g->st.st_mtim.tv_sec, g->st.st_mtim.tv_nsec) != r->replay.mtime);
        struct err why = {0};
        q = member_add(r, &m, &why);
        replayed(r);
        if (q < 0) {
                if (e)
                        *e = why;
                return q;
        }
        r->outside += g->leads_outside;
        if (q == MEMBER_UNREADABLE)
                return missed(r, g->path, goes_back(g), why.text, e);
        if (q == MEMBER_CHANGED || changed_since)
                return note(r, "again", g->path, "", e);
        return 0;
}

struct walk {
        struct gather_params params;
        struct spec_files files;
        const char *avoid[4];
};

static void walk_done(struct walk *w)
{
        spec_files_done(&w->files);
}

/* What every walk of this archive is told. */
static int walk_params(struct run *r, struct walk *w, struct err *e)
{
        const struct config *c = r->env->config;
        *w = (struct walk){0};
        size_t n = 0;
        w->avoid[n++] = r->env->data;
        w->avoid[n++] = c->tmp_dir;
        const char *dir = startswith(r->a.store_url, "dir:");
        if (dir)
                w->avoid[n++] = dir;
        w->params = (struct gather_params){
                .mountpoint = r->a.mountpoint,
                .exclude = (const char *const *)c->exclude,
                .avoid = w->avoid,
                .follow_as_owner = geteuid() == 0,
                .devices = *r->a.devices ? r->a.devices : NULL,
        };
        if (r->a.has_tree) {
                w->params.staging = r->env->staging;
                w->params.id = r->a.id;
                return 0;
        }
        int q = spec_files_load(r->env->data, r->a.id, &w->files, e);
        w->params.files = w->files.paths;
        return q;
}

/* What this run reads again ends where it will: files may be longer than an earlier run found them,
 * and a cut behind the end that it had noted would pass for one behind everything. */
static int forget_phases(struct run *r, struct phases known, struct err *e)
{
        if (r->phases.walked == known.walked && r->phases.manifest == known.manifest)
                return 0;
        r->phases = known;
        return phases_save(r, e);
}

int walk_all(struct run *r, struct err *e)
{
        if (r->phases.walked != UINT64_MAX && r->cut >= r->phases.walked)
                return 0;
        _cleanup_(walk_done) struct walk w;
        int q = walk_params(r, &w, e);
        if (q < 0 || (q = forget_phases(r, (struct phases){UINT64_MAX, UINT64_MAX}, e)) < 0)
                return q;
        if ((q = changed_resume(r, r->replay.path ? r->replay.tar_offset + 1 : 0, e)) < 0)
                return q;
        _cleanup_free_ char *after = r->replay.path ? strdup(r->replay.path) : NULL;
        w.params.resume_after = after;
        w.params.resume_at = r->resume_at;
        if (!r->resume_at)
                replayed(r);
        expect_begin(r, &w.params);
        q = gather_walk(&w.params,
                &(struct gather_visitor){
                        .entry = entry, .problem = problem, .pass = changed_pass_file, .ctx = r},
                e);
        expect_end(r);
        if (q < 0)
                return q;
        if (r->replay.path)
                return gone_in_the_middle(r, e);
        if (r->outside > 0)
                run_event(r, 'w', "%s outside the archive; archived as it stands",
                        WORDS(r->outside, "symbolic link leads", "symbolic links lead"));
        r->phases.walked = r->base + tar_offset(r->tar);
        if ((q = record_flush(r, 0, e)) < 0)
                return q;
        return phases_save(r, e);
}

/* ---- what changed while it was read: once more, at the end ---- */

struct second {
        struct run *r;
        const char *path;
        bool done;
};

static int second_entry(void *ctx, const struct gather_entry *g, struct err *e)
{
        struct second *s = ctx;
        if (!streq(g->path, s->path) || !S_ISREG(g->st.st_mode))
                return err_set(e, -ECANCELED, "gone");
        struct member_source m = {
                .path = g->path, .st = &g->st, .fd = g->fd, .source = g->source, .second = true};
        struct err why = {0};
        int q = member_add(s->r, &m, &why);
        replayed(s->r);
        if (q < 0) {
                if (e)
                        *e = why;
                return q;
        }
        s->done = true;
        if (q == MEMBER_CHANGED)
                run_event(s->r, 'w',
                        "%s kept changing while it was read; it is archived as it was read last",
                        g->path);
        if (q == MEMBER_UNREADABLE)
                q = missed(s->r, g->path, goes_back(g), why.text, e);
        return q < 0 ? q : err_set(e, -ECANCELED, "read");
}

static int no_problem(void *ctx _unused_, enum gather_problem what _unused_,
        const char *path _unused_, const char *staged_path _unused_, const char *why _unused_,
        struct err *e _unused_)
{
        return 0; /* the first walk has told them all */
}

static int read_again(struct run *r, const struct walk *w, const char *path, struct err *e)
{
        struct second s = {.r = r, .path = path};
        struct gather_params p = w->params;
        p.resume_after = path;
        p.resume_at = true;
        int q = gather_walk(&p,
                &(struct gather_visitor){.entry = second_entry, .problem = no_problem, .ctx = &s},
                e);
        if (q == -ECANCELED && (s.done || !atomic_load(r->env->stop)))
                q = atomic_load(&r->aborted) ? q : 0;
        if (q == 0 && r->replay.path)
                return gone_in_the_middle(r, e);
        if (q == 0 && !s.done)
                run_event(r, 'w',
                        "%s changed while it was read and was gone when it was to be read again; "
                        "it is archived as it was read first",
                        path);
        return q;
}

struct paths {
        char **v;
        size_t n;
        bool oom;
};

static void paths_done(struct paths *p)
{
        for (size_t i = 0; i < p->n; i++)
                free(p->v[i]);
        free(p->v);
}

static int collect(void *ctx, const char *path, const char *why _unused_)
{
        struct paths *p = ctx;
        char **v = realloc(p->v, (p->n + 1) * sizeof *v);
        if (!v)
                return -ENOMEM;
        p->v = v;
        if (!(v[p->n] = strdup(path)))
                return -ENOMEM;
        p->n++;
        return 0;
}

int walk_again(struct run *r, struct err *e)
{
        if (r->phases.manifest != UINT64_MAX && r->cut >= r->phases.manifest)
                return 0;
        _cleanup_(paths_done) struct paths list = {0};
        pthread_mutex_lock(&r->lock);
        int q = catalog_list_each(r->catalog, r->a.id, "again", collect, &list, e);
        pthread_mutex_unlock(&r->lock);
        if (q < 0 || list.n == 0)
                return q;
        _cleanup_(walk_done) struct walk w;
        if ((q = walk_params(r, &w, e)) < 0 ||
                (q = forget_phases(r, (struct phases){r->phases.walked, UINT64_MAX}, e)) < 0)
                return q;
        size_t i = 0;
        if (r->replay.path) { /* cut off among these: go on with, or after, the one it lies in */
                while (i < list.n && !streq(list.v[i], r->replay.path))
                        i++;
                if (i == list.n)
                        i = 0;
                else if (!r->resume_at)
                        i++;
        }
        if (!r->resume_at)
                replayed(r);
        for (; q == 0 && i < list.n; i++)
                q = read_again(r, &w, list.v[i], e);
        return q;
}

/* ---- the manifest ---- */

char *manifest_path(const struct run *r)
{
        char *s;
        return asprintf(&s, "%s/spool/%s.manifest", r->env->data, r->a.id) < 0 ? NULL : s;
}

/* Made once; a run that was cut off in the middle of it goes on with the same bytes. */
static int manifest_file(struct run *r, int *ret_fd, uint64_t *ret_size, struct err *e)
{
        _cleanup_free_ char *path = manifest_path(r);
        if (!path)
                return err_oom(e);
        bool again = r->phases.manifest != UINT64_MAX && r->cut > r->phases.manifest;
        _cleanup_close_ int fd =
                open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (again ? 0 : O_CREAT | O_TRUNC), 0600);
        if (fd < 0 && again)
                return err_set(e, -ERESTART, "%s is gone, which was being archived", path);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make %s", path);
        uint64_t size;
        if (again) {
                struct stat st;
                if (fstat(fd, &st) < 0)
                        return err_errno(e, -errno, "cannot look at %s", path);
                size = (uint64_t)st.st_size;
        } else {
                pthread_mutex_lock(&r->lock);
                int q = manifest_write(r->catalog, r->a.id, clock_now(), fd, &size, e);
                pthread_mutex_unlock(&r->lock);
                if (q < 0)
                        return q;
                if (fsync(fd) < 0)
                        return err_errno(e, -errno, "cannot write %s", path);
        }
        if (lseek(fd, 0, SEEK_SET) < 0)
                return err_errno(e, -errno, "cannot read %s", path);
        *ret_fd = steal_fd(&fd);
        *ret_size = size;
        return 0;
}

static int copy_manifest(struct run *r, int fd, uint64_t size, struct err *e)
{
        for (unsigned i = 1; size > 0; i++) {
                ssize_t n = io_read_full(fd, r->chunk, (size_t)MIN(size, (uint64_t)MiB));
                if (n <= 0)
                        return err_set(e, -EIO, "the manifest in the spool is shorter than it was");
                int q = tar_data(r->tar, r->chunk, (size_t)n, e);
                if (q < 0)
                        return q;
                size -= (uint64_t)n;
                if (i % MANIFEST_SHARE == 0)
                        pack_cut(r->pack);
        }
        return 0;
}

static int find_first(void *ctx, const struct catalog_block *b)
{
        *(struct catalog_block *)ctx = *b;
        return 1;
}

/* Blocks of its own for the manifest, and one more for the locator and the end of the tar. */
int walk_manifest(struct run *r, struct err *e)
{
        replayed(r);
        uint64_t start = r->base + tar_offset(r->tar);
        int q = r->cut <= start ? pack_flush(r->pack, e) : 0; /* then all hashes are known */
        if (q < 0 || (q = record_flush(r, 0, e)) < 0)
                return q;
        _cleanup_close_ int fd = -EBADF;
        uint64_t size = 0;
        if ((q = manifest_file(r, &fd, &size, e)) < 0)
                return q;
        if (r->phases.manifest != start) {
                r->phases.manifest = start;
                if ((q = phases_save(r, e)) < 0)
                        return q;
        }
        struct stat st = {.st_mode = S_IFREG | 0400,
                .st_nlink = 1,
                .st_size = (off_t)(size + MANIFEST_RECORD)};
        st.st_mtim.tv_sec = clock_timespec(r->a.created).tv_sec;
        struct tar_member m = {.path = MANIFEST_PATH, .st = &st, .fd = -EBADF};
        pack_content(r->pack, COMPRESS_HASHES);
        if ((q = tar_begin(r->tar, &m, NULL, e)) < 0)
                return q;
        struct manifest_locator l = {.tar_offset = r->base + tar_offset(r->tar), .size = size};
        if ((q = copy_manifest(r, fd, size, e)) < 0 || (q = pack_flush(r->pack, e)) < 0)
                return q;
        struct catalog_block first = {0};
        pthread_mutex_lock(&r->lock);
        q = catalog_blocks(r->catalog, r->a.id, start, 1, find_first, &first, e);
        pthread_mutex_unlock(&r->lock);
        if (q < 0)
                return q;
        l.volume = first.volume;
        l.plain_offset = first.plain_offset;
        l.block_tar_offset = first.tar_offset;
        char locator[MANIFEST_RECORD];
        manifest_locator_write(&l, locator);
        if ((q = tar_data(r->tar, locator, sizeof locator, e)) < 0 || (q = tar_end(r->tar, e)) < 0)
                return q;
        q = tar_finish(r->tar, e);
        r->a.tar_bytes = r->base + tar_offset(r->tar);
        return q;
}
