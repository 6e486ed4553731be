#include "gather_walk.h"

#include "buf.h"
#include "descent.h"
#include "exclude.h"
#include "gather_names.h"
#include "gather_path.h"
#include "staging.h"

#include <dirent.h>
#include <fcntl.h>

#define TRIES 3 /* when an entry becomes something else between two looks at it */

/* No error code: a visitor may return any of those. */
#define BECAME_ELSE 1

struct level {
        struct gather_names names;
        size_t next;
        size_t path_len, source_len; /* of the folder */
        dev_t dev;
        bool opened_up; /* put `mode` back when leaving */
        mode_t mode;
};

struct walk {
        struct gather *g;
        const struct gather_start *start;
        struct descent descent;
        struct level *levels;
        size_t n, cap;
        struct buf path, source; /* of the current entry; source stays empty in the frozen tree */
        bool noatime;
};

/* What is being looked at, with what was found out so far. */
struct look {
        const char *name;
        unsigned char type; /* DT_* */
        bool listed;
        bool through; /* it has been visited, only what is below it is wanted */
        int fd;
        struct stat st;
        bool opened_up;
};

/* ---- telling the visitor ---- */

static bool at_start(const struct walk *w)
{
        return w->n == 0;
}

static int problem(struct walk *w, enum gather_problem what, const char *why)
{
        const struct gather_start *s = w->start;
        const char *path = buf_str(&w->path);
        const char *back = s->staged ? path : at_start(w) ? s->top_link : NULL;
        if (back && !*back)
                back = NULL;
        const struct gather_visitor *v = w->g->visitor;
        return v->problem(v->ctx, what, *path ? path : buf_str(&w->source), back, why, w->g->e);
}

/* The disk has gone away, and with it everything: wait for it instead of listing what is missing.
 */
static bool is_gone(int code)
{
        return code == -ENODEV || code == -ENXIO || code == -ENOTCONN || code == -ESHUTDOWN ||
               code == -EHOSTDOWN || code == -ETIMEDOUT;
}

static int unreadable(struct walk *w, int code)
{
        if (is_gone(code) && !w->start->staged)
                return err_errno(w->g->e, -ENODEV, "cannot read %s", buf_str(&w->source));
        char why[128];
        (void)snprintf(why, sizeof why, "cannot be read: %s",
                code == -EBADF || code == -ESTALE ? "its folder was moved meanwhile"
                                                  : err_words(code));
        return problem(w, GATHER_UNREADABLE, why);
}

static int entry(struct walk *w, const struct look *l, const char *link, bool leads_outside)
{
        if (l->through || w->path.len == 0)
                return 0;
        struct gather_entry g = {
                .path = buf_str(&w->path),
                .source = w->start->staged ? NULL : buf_str(&w->source),
                .fd = l->fd,
                .st = l->st,
                .link = link,
                .staged = w->start->staged,
                .leads_outside = leads_outside,
        };
        if (buf_oom(&w->path) || buf_oom(&w->source))
                return err_oom(w->g->e);
        return w->g->visitor->entry(w->g->visitor->ctx, &g, w->g->e);
}

/* ---- staged entries that their owner may not read ---- */

static bool may_open_up(const struct walk *w, const struct stat *st)
{
        return w->start->staged && geteuid() != 0 && st->st_uid == geteuid();
}

/* Notes the mode, gives the owner what is needed and opens again. Files get their mode back at
 * once. */
static int open_up(struct walk *w, struct look *l, int dirfd, mode_t need)
{
        _cleanup_close_ int handle = gather_open_path(&w->start->ids, dirfd, l->name, O_NOFOLLOW);
        struct stat st;
        if (handle < 0)
                return handle;
        if (fstat(handle, &st) < 0)
                return -errno;
        if (!may_open_up(w, &st) || (st.st_mode & need) == need)
                return -EACCES;
        int r = staging_note_mode(w->g->params->staging, w->g->params->id, buf_str(&w->path),
                st.st_mode & 07777, w->g->e);
        if (r < 0)
                return r;
        r = gather_chmod(handle, st.st_mode | need);
        if (r < 0)
                return r;
        l->fd = gather_reopen(&w->start->ids, handle, &w->noatime);
        l->opened_up = true;
        if (l->fd < 0 || !S_ISDIR(st.st_mode)) {
                r = gather_chmod(handle, st.st_mode);
                l->opened_up = false;
        }
        if (l->fd < 0)
                return l->fd;
        if (fstat(l->fd, &l->st) < 0)
                return -errno;
        l->st.st_mode = st.st_mode;
        return r;
}

/* ---- one entry of each kind ---- */

static int take_link(struct walk *w, struct look *l, int dirfd)
{
        _cleanup_free_ char *text = NULL;
        int r = gather_stat_at(&w->start->ids, dirfd, l->name, &l->st);
        if (r == 0)
                r = gather_read_link(&w->start->ids, dirfd, l->name, &text);
        if (r < 0)
                return r == -EINVAL ? BECAME_ELSE : unreadable(w, r); /* EINVAL: no link any more */
        const char *path = buf_str(&w->path);
        bool outside;
        if (w->start->staged || w->start->top_link) {
                outside = gather_path_leaves(path, text, w->start->top_link ? 1 : 0);
        } else {
                _cleanup_free_ char *raw = NULL, *clean = NULL;
                if (asprintf(&raw, "/%s/../%s", path, text) < 0 ||
                        !(clean = gather_path_clean(raw)))
                        return err_oom(w->g->e);
                outside = text[0] == '/' || !gather_is_listed(w->g, clean);
        }
        return entry(w, l, text, outside);
}

static int push(struct walk *w, struct look *l, struct gather_names *names)
{
        if (w->n == w->cap) {
                size_t cap = MAX(w->cap * 2, (size_t)16);
                struct level *p = reallocarray(w->levels, cap, sizeof *p);
                if (!p)
                        return -ENOMEM;
                w->levels = p;
                w->cap = cap;
        }
        int r = descent_push(&w->descent, &l->fd);
        if (r < 0)
                return r;
        w->levels[w->n++] = (struct level){
                .names = *names,
                .path_len = w->path.len,
                .source_len = w->source.len,
                .dev = l->st.st_dev,
                .opened_up = l->opened_up,
                .mode = l->st.st_mode,
        };
        *names = (struct gather_names){0};
        l->opened_up = false;
        return 0;
}

static const char *why_avoided(struct walk *w, const struct look *l)
{
        bool crossing = w->n > 0 && l->st.st_dev != w->levels[w->n - 1].dev;
        if (crossing && !l->listed)
                return "another filesystem is mounted there";
        if (gather_is_avoided(w->g, &l->st))
                return "autoglacier itself works there";
        if ((crossing || (at_start(w) && !w->start->staged)) && gather_is_ours(w->g, l->fd))
                return "it is an autoglacier mount";
        return NULL;
}

static int take_folder(struct walk *w, struct look *l)
{
        const char *avoided = why_avoided(w, l);
        if (avoided)
                return problem(w, GATHER_AVOIDED, avoided);
        _cleanup_(gather_names_done) struct gather_names names;
        int r = gather_names_read(&names, l->fd);
        if (r < 0)
                return r == -ENOMEM ? err_oom(w->g->e) : unreadable(w, r);
        r = entry(w, l, NULL, false);
        if (r < 0)
                return r;
        r = push(w, l, &names);
        return r < 0 ? err_errno(w->g->e, r, "cannot enter %s", buf_str(&w->path)) : 0;
}

static int take_special(struct walk *w, mode_t mode)
{
        const char *what = S_ISFIFO(mode)   ? "a FIFO"
                           : S_ISSOCK(mode) ? "a socket"
                           : S_ISLNK(mode)  ? "a link that leads nowhere"
                                            : "a device";
        char why[64];
        (void)snprintf(why, sizeof why, "it is %s, not a file, folder or link", what);
        return problem(w, GATHER_SPECIAL, why);
}

/* Something is open in l->fd. BECAME_ELSE: it is not what it was taken for. */
static int take_opened(struct walk *w, struct look *l)
{
        if (S_ISDIR(l->st.st_mode))
                return take_folder(w, l);
        if (S_ISREG(l->st.st_mode))
                return entry(w, l, NULL, false);
        return l->type == DT_UNKNOWN ? take_special(w, l->st.st_mode) : BECAME_ELSE;
}

static bool lacks_rights(const struct walk *w, const struct look *l)
{
        return S_ISDIR(l->st.st_mode) && (l->st.st_mode & 0500) != 0500 && may_open_up(w, &l->st);
}

static int open_entry(struct walk *w, struct look *l, int dirfd)
{
        int flags = O_NOFOLLOW | (l->type == DT_DIR ? O_DIRECTORY : 0);
        l->fd = gather_open_at(&w->start->ids, dirfd, l->name, flags, &w->noatime);
        if (l->fd == -EACCES)
                return open_up(w, l, dirfd, l->type == DT_DIR ? 0500 : 0400);
        if (l->fd < 0)
                return l->fd;
        if (fstat(l->fd, &l->st) < 0)
                return -errno;
        if (!lacks_rights(w, l))
                return 0;
        base_closep(&l->fd);
        l->fd = -EBADF;
        return open_up(w, l, dirfd, 0500);
}

static void look_done(struct look *l)
{
        if (l->opened_up && l->fd >= 0)
                (void)gather_chmod(
                        l->fd, l->st.st_mode); /* the mode is noted, and set again later */
        base_closep(&l->fd);
        l->fd = -EBADF;
        l->opened_up = false;
}

/* Looking is cheaper than opening, and most of what is looked at may not be wanted. */
static int may_pass(struct walk *w, struct look *l, int dirfd)
{
        const struct gather_visitor *v = w->g->visitor;
        if (!v->pass || l->through)
                return 0;
        int r = gather_stat_at(&w->start->ids, dirfd, l->name, &l->st);
        if (r < 0 || !S_ISREG(l->st.st_mode))
                return 0; /* opening it tells why */
        if (buf_oom(&w->path))
                return err_oom(w->g->e);
        return v->pass(v->ctx, buf_str(&w->path), &l->st, w->g->e);
}

static int take_by_type(struct walk *w, struct look *l, int dirfd)
{
        if (l->type == DT_LNK)
                return take_link(w, l, dirfd);
        if (l->type != DT_REG && l->type != DT_DIR) {
                mode_t mode = l->st.st_mode;
                return take_special(w, mode);
        }
        int r = l->type == DT_REG ? may_pass(w, l, dirfd) : 0;
        if (r != 0)
                return r > 0 ? 0 : r;
        struct err *e = w->g->e;
        if (e)
                e->code = 0;
        r = open_entry(w, l, dirfd);
        if (r == -ELOOP || r == -ENOTDIR)
                return BECAME_ELSE;
        if (r < 0)
                return e && e->code == r
                               ? r
                               : unreadable(w, r); /* words: the mode could not be noted */
        return take_opened(w, l);
}

/* Not followed: what is not there any more, or became something else, is seen again. */
static int take(struct walk *w, struct look *l, int dirfd)
{
        for (unsigned i = 0; i < TRIES; i++) {
                if (l->type == DT_UNKNOWN ||
                        (l->type != DT_REG && l->type != DT_DIR && l->type != DT_LNK)) {
                        int r = gather_stat_at(&w->start->ids, dirfd, l->name, &l->st);
                        if (r < 0)
                                return unreadable(w, r);
                        l->type = (unsigned char)IFTODT(l->st.st_mode);
                }
                int r = take_by_type(w, l, dirfd);
                look_done(l);
                if (r != BECAME_ELSE)
                        return r;
                l->type = DT_UNKNOWN;
        }
        return problem(w, GATHER_UNREADABLE, "it became something else each time it was looked at");
}

/* ---- the names of a folder, one after the other ---- */

static bool left_out(struct walk *w, const char *name, int *ret)
{
        if (exclude_is_litter(name))
                *ret = problem(w, GATHER_LITTER, "left by a file manager");
        else if (exclude_matches(w->g->params->exclude, buf_str(&w->path)))
                *ret = problem(w, GATHER_EXCLUDED, "EXCLUDE names it");
        else
                return false;
        return true;
}

static int visit(struct walk *w, const char *name, unsigned char type)
{
        struct look l = {.name = name, .type = type, .fd = -EBADF};
        const char *path = buf_str(&w->path);
        int r = gather_listed_before(w->g, path, &l.listed);
        if (r < 0)
                return r;
        enum gather_turn turn = gather_turn(w->g, path);
        if (turn == GATHER_PASS)
                return 0;
        l.through = turn == GATHER_THROUGH;
        if (!l.listed && left_out(w, name, &r))
                return r;
        int dirfd = descent_fd(&w->descent);
        bool top = w->start->staged && w->n == 1;
        if (top && (type == DT_LNK || type == DT_UNKNOWN)) {
                r = gather_follow(w->g, dirfd, name);
                if (r != 1)
                        return r;
        }
        return take(w, &l, dirfd);
}

static void cut(struct buf *b, size_t len)
{
        b->len = len;
        if (b->data)
                b->data[len] = 0;
}

static void append(struct buf *b, const char *name)
{
        if (b->len > 0 && b->data[b->len - 1] != '/')
                buf_addc(b, '/');
        buf_adds(b, name);
}

static void leave(struct walk *w)
{
        struct level *l = &w->levels[--w->n];
        _cleanup_close_ int fd = -EBADF;
        (void)descent_pop(
                &w->descent, &fd); /* what is lost shows at the next name of that folder */
        if (l->opened_up && fd >= 0)
                (void)gather_chmod(fd, l->mode); /* the mode is noted, and set again later */
        gather_names_done(&l->names);
}

static int walk_levels(struct walk *w)
{
        while (w->n > 0) {
                struct level *l = &w->levels[w->n - 1];
                cut(&w->path, l->path_len);
                cut(&w->source, l->source_len);
                if (l->next == l->names.n) {
                        leave(w);
                        continue;
                }
                unsigned char type;
                const char *name = gather_names_get(&l->names, l->next++, &type);
                append(&w->path, name);
                if (w->source.len > 0)
                        append(&w->source, name);
                if (buf_oom(&w->path) || buf_oom(&w->source))
                        return err_oom(w->g->e);
                int r = visit(w, name, type);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void walk_done(struct walk *w)
{
        while (w->n > 0)
                leave(w);
        free(w->levels);
        descent_done(&w->descent);
        buf_done(&w->path);
        buf_done(&w->source);
}

static int take_start(struct walk *w)
{
        const struct gather_start *s = w->start;
        struct look l = {.name = s->source, .type = DT_UNKNOWN, .fd = -EBADF, .listed = true};
        enum gather_turn turn = *s->path ? gather_turn(w->g, s->path) : GATHER_THROUGH;
        if (turn == GATHER_PASS)
                return 0;
        l.through = turn == GATHER_THROUGH;
        if (s->fd < 0)
                return take(w, &l, AT_FDCWD);
        l.fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 0);
        int r = l.fd < 0 || fstat(l.fd, &l.st) < 0 ? -errno : 0;
        r = r < 0 ? unreadable(w, r) : take_opened(w, &l);
        look_done(&l);
        return r;
}

int gather_walk_from(struct gather *g, const struct gather_start *s)
{
        _cleanup_(walk_done) struct walk w = {.g = g, .start = s, .noatime = true};
        buf_adds(&w.path, s->path);
        if (s->source)
                buf_adds(&w.source, s->source);
        if (buf_oom(&w.path) || buf_oom(&w.source))
                return err_oom(g->e);
        int r = take_start(&w);
        return r < 0 ? r : walk_levels(&w);
}
