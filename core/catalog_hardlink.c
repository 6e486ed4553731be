#include "catalog_internal.h"

/* First names of files with several are noted one by one, perhaps a million of them, in no order of
 * their numbers. They are gathered here and written many at once: before any durable row, which is
 * what makes them count (a run that is taken up again forgets what was noted after its last
 * finished volume). */

#define SLOTS     4096u
#define NOTES_MAX (SLOTS / 2)

struct note {
        int64_t archive;
        uint64_t dev, ino, tar_offset;
        char *path; /* NULL: the slot is free */
};

struct notes {
        size_t n;
        struct note slots[SLOTS];
};

static struct note *slot_of(struct notes *t, int64_t archive, uint64_t dev, uint64_t ino)
{
        uint64_t hash = (ino * 31 + dev * 17 + (uint64_t)archive) * 0x9e3779b97f4a7c15ull;
        for (size_t i = (size_t)(hash >> 40);; i++) { /* half of the slots are free */
                struct note *s = &t->slots[i % SLOTS];
                if (!s->path || (s->archive == archive && s->dev == dev && s->ino == ino))
                        return s;
        }
}

static void clear(struct notes *t)
{
        for (size_t i = 0; i < SLOTS; i++)
                free(t->slots[i].path);
        memset(t, 0, sizeof *t);
}

void notes_free(struct notes *t)
{
        if (!t)
                return;
        clear(t);
        free(t);
}

static int write_notes(struct catalog *c, const struct notes *t, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q >= 0 && i < SLOTS; i++) {
                const struct note *s = &t->slots[i];
                if (s->path) /* another program may have taken the archive away meanwhile */
                        q = catalog_exec(c, e,
                                "INSERT OR IGNORE INTO hardlink SELECT row, ?2, ?3, ?4, ?5 FROM "
                                "archive WHERE row = ?1",
                                "iiipu", s->archive, (int64_t)s->dev, (int64_t)s->ino, s->path,
                                s->tar_offset);
        }
        return q;
}

int notes_flush(struct catalog *c, struct err *e)
{
        if (!c->notes || c->notes->n == 0)
                return 0;
        int q = txn_begin(c, TXN_LAZY, e);
        if (q == 0)
                q = txn_end(c, write_notes(c, c->notes, e), e);
        if (q < 0)
                return q;
        clear(c->notes);
        return 0;
}

static int noted(
        struct catalog *c, int64_t row, uint64_t dev, uint64_t ino, char **ret, struct err *e)
{
        const struct note *s = slot_of(c->notes, row, dev, ino);
        if (s->path)
                return (*ret = strdup(s->path)) ? 1 : err_oom(e);
        _cleanup_query_ struct query q = {0};
        int r = query_open(&q, c, e,
                "SELECT path FROM hardlink WHERE archive = ?1 AND dev = ?2 AND ino = ?3", "iii",
                row, (int64_t)dev, (int64_t)ino);
        if (r == 0)
                r = query_step(&q, e);
        if (r <= 0)
                return r;
        return (*ret = strdup(query_text(&q, 0))) ? 1 : err_oom(e);
}

static int note(struct catalog *c, const struct note *n, struct err *e)
{
        if (c->notes->n == NOTES_MAX) {
                int q = notes_flush(c, e);
                if (q < 0)
                        return q;
        }
        char *path = strdup(n->path);
        if (!path)
                return err_oom(e);
        struct note *s = slot_of(c->notes, n->archive, n->dev, n->ino);
        *s = *n;
        s->path = path;
        c->notes->n++;
        return 0;
}

int catalog_hardlink(struct catalog *c, const char *id, uint64_t dev, uint64_t ino,
        const char *path, uint64_t tar_offset, char **ret, struct err *e)
{
        int64_t row = 0;
        char *known = NULL;
        int q = catalog_row(c, id, &row, e);
        if (q == 0 && !c->notes && !(c->notes = calloc(1, sizeof *c->notes)))
                q = err_oom(e);
        if (q == 0)
                q = noted(c, row, dev, ino, &known, e);
        if (q == 0) {
                const struct note n = {.archive = row,
                        .dev = dev,
                        .ino = ino,
                        .tar_offset = tar_offset,
                        .path = (char *)path};
                q = note(c, &n, e);
        }
        if (q < 0)
                return q;
        *ret = known;
        return 0;
}

int catalog_hardlink_forget(struct catalog *c, const char *id, uint64_t tar_offset, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = notes_flush(c, e);
        if (q == 0)
                q = catalog_write(c, TXN_LAZY, e,
                        "DELETE FROM hardlink WHERE archive = ?1 AND tar_offset = ?2", "iu", row,
                        tar_offset);
        return q < 0 ? q : 0;
}
