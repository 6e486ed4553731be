#include "commit_internal.h"

#define RECORD_ROWS  2048
#define RECORD_BYTES (1024u * 1024u)

static void member_free(struct catalog_member *m)
{
        free((char *)m->path);
        free((char *)m->link);
        *m = (struct catalog_member){0};
}

/* Without its hash. */
static int member_copy(const struct catalog_member *m, struct catalog_member *ret)
{
        struct catalog_member c = *m;
        c.path = strdup(m->path);
        c.link = m->link ? strdup(m->link) : NULL;
        c.sha512 = NULL;
        if (!c.path || (m->link && !c.link)) {
                member_free(&c);
                return -ENOMEM;
        }
        *ret = c;
        return 0;
}

static void row_free(struct record_row *w)
{
        member_free(&w->m);
        pack_hash_free(w->hash);
        *w = (struct record_row){0};
}

/* ---- writing ---- */

/* What is not whole yet is written as a member whose content is still being read. */
static int write_row(struct catalog_adder *adder, const struct record_row *w, struct err *e)
{
        struct catalog_member m = w->m;
        m.sha512 = w->has_sum ? w->sum : NULL;
        if (!w->whole) {
                m.tar_len = w->head_len;
                m.ino = 0;
        }
        return catalog_adder_add(adder, &m, e);
}

static int write_rows(struct run *r, uint64_t until, struct err *e)
{
        struct record *rec = &r->record;
        _cleanup_(catalog_adder_freep) struct catalog_adder *adder = NULL;
        int q = catalog_adder_new(r->catalog, r->a.id, &adder, e);
        for (size_t i = 0; q == 0 && i < rec->n; i++) {
                struct record_row *w = &rec->rows[i];
                if (!w->whole)
                        w->whole = w->has_sum = pack_hash_get(w->hash, w->sum);
                if (w->whole || w->m.tar_offset < until)
                        q = write_row(adder, w, e);
        }
        if (q == 0 && rec->open.path && rec->open.tar_offset < until)
                q = catalog_adder_add(adder, &rec->open, e);
        return q < 0 ? q : catalog_adder_flush(adder, e);
}

static int flush_locked(struct run *r, uint64_t until, struct err *e)
{
        struct record *rec = &r->record;
        int q = changed_flush(r, e);
        if (q < 0)
                return q;
        if (rec->n == 0 && !rec->open.path)
                return 0;
        if ((q = write_rows(r, until, e)) < 0)
                return q;
        size_t kept = 0;
        for (size_t i = 0; i < rec->n; i++) {
                struct record_row *w = &rec->rows[i];
                if (w->whole)
                        row_free(w);
                else
                        rec->rows[kept++] = *w;
        }
        rec->n = kept;
        rec->enough = kept + RECORD_ROWS;
        rec->bytes = 0;
        return 0;
}

int record_flush(struct run *r, uint64_t until, struct err *e)
{
        pthread_mutex_lock(&r->lock);
        int q = flush_locked(r, until, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

/* ---- adding ---- */

static struct record_row *new_row(struct record *rec)
{
        if (rec->n == rec->room) {
                size_t room = MAX(rec->room * 2, (size_t)RECORD_ROWS);
                struct record_row *v = reallocarray(rec->rows, room, sizeof *v);
                if (!v)
                        return NULL;
                rec->rows = v;
                rec->room = room;
        }
        rec->rows[rec->n] = (struct record_row){0};
        return &rec->rows[rec->n];
}

static int add_locked(struct run *r, const struct catalog_member *m, struct err *e)
{
        struct record *rec = &r->record;
        if (rec->n >= MAX(rec->enough, (size_t)RECORD_ROWS) || rec->bytes > RECORD_BYTES) {
                int q = flush_locked(r, 0, e);
                if (q < 0)
                        return q;
        }
        struct record_row *w = new_row(rec);
        if (!w || member_copy(m, &w->m) < 0)
                return err_oom(e);
        w->whole = !r->hash;
        w->has_sum = m->sha512 != NULL;
        if (m->sha512)
                memcpy(w->sum, m->sha512, sizeof w->sum);
        w->hash = steal(r->hash);
        w->head_len = r->head_len;
        if (rec->open.path && streq(rec->open.path, m->path))
                member_free(&rec->open); /* this row says more */
        rec->n++;
        rec->bytes += strlen(m->path) + (m->link ? strlen(m->link) : 0) + 64;
        return 0;
}

int record_add(struct run *r, const struct catalog_member *m, struct err *e)
{
        pthread_mutex_lock(&r->lock);
        int q = add_locked(r, m, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

int record_open(struct run *r, const struct catalog_member *m, struct err *e)
{
        struct catalog_member copy;
        if (member_copy(m, &copy) < 0)
                return err_oom(e);
        pthread_mutex_lock(&r->lock);
        member_free(&r->record.open);
        r->record.open = copy;
        pthread_mutex_unlock(&r->lock);
        return 0;
}

void record_close(struct run *r)
{
        pack_hash_free(r->hash);
        r->hash = NULL;
        pthread_mutex_lock(&r->lock);
        member_free(&r->record.open);
        pthread_mutex_unlock(&r->lock);
}

void record_done(struct run *r)
{
        for (size_t i = 0; i < r->record.n; i++)
                row_free(&r->record.rows[i]);
        free(r->record.rows);
        member_free(&r->record.open);
        r->record = (struct record){0};
        pack_hash_free(r->hash);
        r->hash = NULL;
}
