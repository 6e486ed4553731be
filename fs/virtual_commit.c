#include "virtual_internal.h"

#include "clock.h"
#include "engine.h"
#include "inode.h"
#include "io.h"
#include "notifier.h"
#include "passthrough.h"
#include "root.h"
#include "staging.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <time.h>

#define BUSY_WAIT_NS (1 * CLOCK_NSEC)
#define BUSY_STEP_NS (CLOCK_NSEC / 50)
#define HIDDEN_NS    (1 * CLOCK_NSEC)

/* ---- committing ---- */

struct hooks {
        struct mount *m;
        const struct stat *except;
};

static int busy(void *ctx, struct err *e)
{
        const struct hooks *h = ctx;
        char name[NAME_MAX + 1];
        if (!inode_busy(h->m, h->except, name, sizeof name))
                return 0;
        return err_set(
                e, -EBUSY, "%s is still open for writing; close it, then commit again", name);
}

/* An editor that has written `.commit` goes on with its own files, or removes them: they stay where
 * they were. */
static void keep_editors_files(struct mount *m, const char *id)
{
        static const char *const names[] = {
                ".commit~", ".commit.swp", ".commit.swo", ".commit.un~", "#.commit#", ".#.commit"};
        _cleanup_close_ int from =
                openat(staging_root_fd(m->staging), id, O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        for (size_t i = 0; from >= 0 && i < ARRAY_SIZE(names); i++)
                if (renameat2(from, names[i], m->root->fd, names[i], RENAME_NOREPLACE) == 0 &&
                        fstatat(m->root->fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
                        inode_revive(m, st.st_dev, st.st_ino);
}

static void frozen(void *ctx, const char *id)
{
        const struct hooks *h = ctx;
        root_frozen(h->m);
        pthread_mutex_lock(&h->m->vtree->lock);
        h->m->vtree->frozen = clock_now();
        pthread_mutex_unlock(&h->m->vtree->lock);
        keep_editors_files(h->m, id);
}

/* Releases come late: a file that a shell has just closed may still count as open. */
static int commit(struct mount *m, const struct stat *except, const char *text, size_t len,
        char **ret_id, struct err *e)
{
        struct hooks ctx = {m, except};
        const struct engine_commit_hooks hooks = {.busy = busy, .frozen = frozen, .ctx = &ctx};
        int64_t until = clock_monotonic() + BUSY_WAIT_NS;
        for (;;) {
                int q = engine_commit(m->engine, text, len, &hooks, ret_id, e);
                if (q != -EBUSY || clock_monotonic() > until) {
                        if (q < 0)
                                engine_note_refusal(m->engine, e->text);
                        return q;
                }
                (void)nanosleep(&(struct timespec){.tv_nsec = BUSY_STEP_NS},
                        NULL); /* woken early: look early */
        }
}

struct state {
        struct mount *m;
        char *id;
};

static int do_commit(void *ctx, const char *text, size_t len, struct err *e)
{
        struct state *s = ctx;
        int q = commit(s->m, NULL, text, len, &s->id, e);
        if (q == 0)
                notifier_settle(s->m->notifier);
        return q;
}

static int do_extend(void *ctx, const char *text, size_t len, struct err *e)
{
        const struct state *s = ctx;
        int q = engine_commit_extend(s->m->engine, s->id, text, len, e);
        if (q < 0)
                engine_note_refusal(s->m->engine, e->text);
        return q;
}

static int do_seal(void *ctx, struct err *e)
{
        const struct state *s = ctx;
        return engine_commit_seal(s->m->engine, s->id, e);
}

struct control *commit_control(struct mount *m, void **ret_state)
{
        struct state *s = calloc(1, sizeof *s);
        if (!s)
                return NULL;
        s->m = m;
        struct control *c = vtree_control(m->vtree,
                &(struct control_actions){
                        .commit = do_commit, .extend = do_extend, .seal = do_seal, .ctx = s});
        if (!c) {
                free(s);
                return NULL;
        }
        *ret_state = s;
        return c;
}

void commit_state_free(void *state)
{
        struct state *s = state;
        if (s)
                free(s->id);
        free(s);
}

/* ---- a name that can be removed, made and renamed onto ---- */

/* Until a point in time, which may be over. Whether it was hidden. */
static bool hide_until(struct mount *m, int64_t when)
{
        pthread_mutex_lock(&m->vtree->lock);
        bool hidden = m->vtree->hidden_until > clock_monotonic();
        m->vtree->hidden_until = when;
        pthread_mutex_unlock(&m->vtree->lock);
        return hidden;
}

void virtual_hide_commit(struct mount *m)
{
        (void)hide_until(m, clock_monotonic() + HIDDEN_NS); /* again is as good */
}

void virtual_create_commit(fuse_req_t req, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct fuse_entry_param e;
        bool hidden = hide_until(m, 0);
        int q = !hidden && fi->flags & O_EXCL ? EEXIST : virtual_root_lookup(m, ".commit", &e);
        struct vnode *v = q ? NULL : vnode_of(e.ino);
        if (!q && (q = vfile_open(m, v, fi)) != 0)
                vnode_forget(m->vtree, v, 1);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_create(req, &e, fi);
}

static int read_text(int fd, struct buf *ret)
{
        char chunk[CONTROL_MAX + 1];
        ssize_t n = io_pread_full(fd, chunk, sizeof chunk, 0);
        if (n < 0)
                return (int)-n;
        buf_add(ret, chunk, (size_t)n);
        return 0;
}

struct one {
        struct mount *m;
        const struct stat *except;
        char *id;
};

static int one_commit(void *ctx, const char *text, size_t len, struct err *e)
{
        struct one *o = ctx;
        return commit(o->m, o->except, text, len, &o->id, e);
}

static int one_seal(void *ctx, struct err *e)
{
        const struct one *o = ctx;
        return engine_commit_seal(o->m->engine, o->id, e);
}

static int commit_whole(
        struct mount *m, const struct stat *except, const struct buf *text, struct err *e)
{
        struct one o = {.m = m, .except = except};
        const struct control_actions actions = {.commit = one_commit, .seal = one_seal, .ctx = &o};
        _cleanup_(control_freep) struct control *c = vtree_control(m->vtree, &actions);
        if (!c)
                return err_oom(e);
        int q = control_write(c, buf_str(text), text->len, e);
        if (q == 0 && !control_committed(c))
                q = err_set(
                        e, -EINVAL, "the file that was renamed to .commit holds no description");
        if (q == 0)
                q = control_release(c, e);
        free(o.id);
        return q;
}

/* The file steps aside before the freeze, since it is the description and not staged data; it comes
 * back if the commit is refused. */
void virtual_rename_commit(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        _cleanup_buf_ struct buf text = BUF_INIT;
        char aside[64];
        (void)snprintf(aside, sizeof aside, STAGING_ASIDE "%p", (void *)req); /* fits */
        staging_enter(m->staging);
        int q = passthrough_may_change(m, dir);
        _cleanup_close_ int fd =
                q ? -1 : openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st = {0};
        if (!q && (fd < 0 || fstat(fd, &st) < 0))
                q = errno;
        if (!q && !S_ISREG(st.st_mode))
                q = EINVAL;
        if (!q)
                q = read_text(fd, &text);
        int old = dir->special ? fcntl(dir->fd, F_DUPFD_CLOEXEC, 0) : -1;
        if (!q &&
                renameat2(dir->fd, name, staging_root_fd(m->staging), aside, RENAME_NOREPLACE) < 0)
                q = errno;
        staging_leave(m->staging);
        if (!q) {
                struct err why = {0};
                q = -commit_whole(m, &st, &text, &why);
                if (q) {
                        engine_note_refusal(m->engine, why.text);
                        (void)renameat2(staging_root_fd(m->staging), aside,
                                old >= 0 ? old : dir->fd, name,
                                RENAME_NOREPLACE); /* a new file has that name: it stays aside */
                } else {
                        (void)unlinkat(staging_root_fd(m->staging), aside,
                                0); /* its text is in the catalogue */
                }
        }
        base_closep(&old);
        (void)hide_until(m, 0); /* who removed it has now made it, or tried to */
        fuse_reply_err(req, q);
        if (!q)
                notifier_forget_name(
                        m->notifier, ".commit"); /* the kernel thinks it is that file now */
}
