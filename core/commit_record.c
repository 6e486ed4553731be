#include "commit_internal.h"

#define RECORD_ROWS  2048
#define RECORD_BYTES (1024u * 1024u)

static void member_free(struct catalog_member *m)
{
        free((char *)m->path);
        free((char *)m->link);
        free((uint8_t *)m->sha512);
        *m = (struct catalog_member){0};
}

static int member_copy(const struct catalog_member *m, struct catalog_member *ret)
{
        struct catalog_member c = *m;
        c.path = strdup(m->path);
        c.link = m->link ? strdup(m->link) : NULL;
        uint8_t *sha = m->sha512 ? malloc(64) : NULL;
        if (sha)
                memcpy(sha, m->sha512, 64);
        c.sha512 = sha;
        if (!c.path || (m->link && !c.link) || (m->sha512 && !sha)) {
                member_free(&c);
                return -ENOMEM;
        }
        *ret = c;
        return 0;
}

static int flush_locked(struct run *r, uint64_t until, struct err *e)
{
        struct record *rec = &r->record;
        int q = changed_flush(r, e);
        if (q < 0)
                return q;
        bool open_too = rec->open.path && rec->open.tar_offset < until;
        if (rec->n == 0 && !open_too)
                return 0;
        _cleanup_(catalog_adder_freep) struct catalog_adder *adder = NULL;
        q = catalog_adder_new(r->catalog, r->a.id, &adder, e);
        for (size_t i = 0; q == 0 && i < rec->n; i++)
                q = catalog_adder_add(adder, &rec->rows[i], e);
        if (q == 0 && open_too)
                q = catalog_adder_add(adder, &rec->open, e);
        if (q == 0)
                q = catalog_adder_flush(adder, e);
        if (q < 0)
                return q;
        for (size_t i = 0; i < rec->n; i++)
                member_free(&rec->rows[i]);
        rec->n = 0;
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

static int add_locked(struct run *r, const struct catalog_member *m, struct err *e)
{
        struct record *rec = &r->record;
        if (!rec->rows && !(rec->rows = calloc(RECORD_ROWS, sizeof *rec->rows)))
                return err_oom(e);
        if (rec->n == RECORD_ROWS || rec->bytes > RECORD_BYTES) {
                int q = flush_locked(r, 0, e);
                if (q < 0)
                        return q;
        }
        if (member_copy(m, &rec->rows[rec->n]) < 0)
                return err_oom(e);
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
        pthread_mutex_lock(&r->lock);
        member_free(&r->record.open);
        pthread_mutex_unlock(&r->lock);
}

void record_done(struct run *r)
{
        for (size_t i = 0; i < r->record.n; i++)
                member_free(&r->record.rows[i]);
        free(r->record.rows);
        member_free(&r->record.open);
        r->record = (struct record){0};
}
