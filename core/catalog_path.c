#include "catalog_internal.h"

static int ancestor(
        struct catalog *c, int64_t row, int64_t *ret_parent, struct buf *ret_name, struct err *e)
{
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e, "SELECT parent, name FROM member WHERE row = ?1", "i", row);
        if (r == 0)
                r = query_step(&q, e);
        if (r == 0)
                return err_set(e, -ENOENT, "there is no such member any more");
        if (r < 0)
                return r;
        *ret_parent = query_i64(&q, 0);
        buf_reset(ret_name);
        buf_adds(ret_name, query_text(&q, 1));
        return buf_oom(ret_name) ? err_oom(e) : 0;
}

/* How many levels lead to the folder: 0 for the top. False: it is none of those that we are in. */
static bool level_of(const struct paths *p, int64_t folder, size_t *ret)
{
        size_t n = p->depth;
        while (n > 0 && folder != 0 && p->levels[n - 1].folder != folder)
                n--;
        *ret = folder != 0 ? n : 0;
        return n > 0 || folder == 0;
}

struct step {
        int64_t row;
        size_t name; /* where it begins, among the names */
};

/* What is between a folder and one whose path is known. */
struct climb {
        struct buf names; /* each ended by a zero byte */
        struct buf steps; /* struct step, upwards */
        size_t known;     /* levels of the known one */
};

static void climb_done(struct climb *k)
{
        buf_done(&k->names);
        buf_done(&k->steps);
}

static int climb(
        struct catalog *c, const struct paths *p, int64_t row, struct climb *k, struct err *e)
{
        _cleanup_buf_ struct buf name = BUF_INIT;
        for (unsigned depth = 0; !level_of(p, row, &k->known); depth++) {
                if (depth > CATALOG_DEPTH_MAX)
                        return err_set(e, -EPROTO,
                                "the catalogue %s is damaged: a folder contains itself", c->path);
                const struct step step = {row, k->names.len};
                int q = ancestor(c, row, &row, &name, e);
                if (q < 0)
                        return q;
                buf_add(&k->names, buf_str(&name), name.len + 1);
                buf_add(&k->steps, &step, sizeof step);
        }
        return buf_oom(&k->names) || buf_oom(&k->steps) ? err_oom(e) : 0;
}

static int path_level(struct paths *p, int64_t folder, const char *name, struct err *e)
{
        if (p->depth == p->room) {
                size_t room = MAX(p->room * 2, (size_t)16);
                struct path_level *v = reallocarray(p->levels, room, sizeof *v);
                if (!v)
                        return err_oom(e);
                p->levels = v;
                p->room = room;
        }
        buf_adds(&p->text, name);
        buf_addc(&p->text, '/');
        p->levels[p->depth++] = (struct path_level){folder, p->text.len};
        return 0;
}

static size_t path_base(const struct paths *p)
{
        return p->depth > 0 ? p->levels[p->depth - 1].base : 0;
}

/* Only the way from the nearest folder that we are in is looked up: in a chain of folders that is
 * one step, not all of them. */
static int enter_folder(struct catalog *c, struct paths *p, int64_t folder, struct err *e)
{
        _cleanup_(climb_done) struct climb k = {0};
        int q = climb(c, p, folder, &k, e);
        if (q < 0)
                return q;
        p->depth = k.known;
        p->text.len = MIN(p->text.len, path_base(p));
        for (size_t at = k.steps.len; q == 0 && at > 0; at -= sizeof(struct step)) {
                struct step step;
                memcpy(&step, k.steps.data + at - sizeof step, sizeof step);
                q = path_level(p, step.row, k.names.data + step.name, e);
        }
        return q;
}

void paths_done(struct paths *p)
{
        buf_done(&p->text);
        free(p->levels);
}

int paths_of(struct catalog *c, struct paths *p, int64_t parent, const char *name, const char **ret,
        struct err *e)
{
        int64_t now = p->depth > 0 ? p->levels[p->depth - 1].folder : 0;
        int q = now != parent ? enter_folder(c, p, parent, e) : 0;
        if (q < 0)
                return q;
        p->text.len = MIN(p->text.len, path_base(p));
        buf_adds(&p->text, name);
        if (buf_oom(&p->text))
                return err_oom(e);
        *ret = buf_str(&p->text);
        return 0;
}

int catalog_member_path(struct catalog *c, int64_t row, char **ret, struct err *e)
{
        _cleanup_(paths_done) struct paths p = {0};
        int q = enter_folder(c, &p, row, e);
        if (q < 0)
                return q;
        p.text.len -= p.depth > 0; /* the last '/' */
        char *s = buf_oom(&p.text) ? NULL : strndup(buf_str(&p.text), p.text.len);
        if (!s)
                return err_oom(e);
        *ret = s;
        return 0;
}
