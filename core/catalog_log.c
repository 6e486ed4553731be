#include "catalog_internal.h"

#include "clock.h"
#include "words.h"

struct stored_event {
        int64_t when;
        char text[4 * WORDS_MAX];
};

/* ---- events ---- */

static int add_event(struct catalog *c, int64_t row, int64_t time, const char *level,
        const char *text, struct err *e)
{
        int q = catalog_exec(c, e,
                "INSERT INTO event (archive, time, level, text) VALUES (?1, ?2, ?3, ?4)", "iiss",
                row, time, level, text);
        if (q >= 0 && *level == 'w')
                q = catalog_exec(c, e,
                        "UPDATE archive SET n_warnings = n_warnings + 1 WHERE row = ?1", "i", row);
        return q;
}

int catalog_event_at(struct catalog *c, const char *id, int64_t time, char level, const char *text,
        struct err *e)
{
        int64_t row = 0;
        char s[2] = {level, 0};
        int q = catalog_row(c, id, &row, e);
        if (q == 0)
                q = txn_begin(c, TXN_LAZY, e);
        if (q == 0)
                q = txn_end(c, add_event(c, row, time, s, text, e), e);
        return q < 0 ? q : 0;
}

int catalog_event(struct catalog *c, const char *id, char level, const char *text, struct err *e)
{
        return catalog_event_at(c, id, clock_now(), level, text, e);
}

static int same_event(void *ctx, int64_t time, char level _unused_, const char *text)
{
        const struct stored_event *w = ctx;
        return time == w->when && streq(text, w->text);
}

int catalog_event_stored(
        struct catalog *c, const struct catalog_archive *a, int64_t when, struct err *e)
{
        struct stored_event w = {.when = when};
        (void)snprintf(w.text, sizeof w.text, "%s: %s, %s in %s",
                a->n_returned > 0 ? "stored, but not everything" : "stored",
                WORDS(a->n_files, "file", NULL), WORDS(a->bytes, "byte", NULL),
                WORDS(a->stored_bytes, "byte", NULL)); /* fits */
        int q = catalog_events(c, a->id, same_event, &w, e);
        return q != 0 ? MIN(q, 0) : catalog_event_at(c, a->id, when, 'i', w.text, e);
}

int catalog_events(struct catalog *c, const char *id,
        int (*each)(void *ctx, int64_t time, char level, const char *text), void *ctx,
        struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT time, level, text FROM event WHERE archive = ?1 ORDER BY row", "i", row);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = each(ctx, query_i64(&q, 0), *query_text(&q, 1), query_text(&q, 2));
        return r;
}

/* ---- lists of a commit ---- */

int catalog_list_add(struct catalog *c, const char *id, const char *kind, const char *path,
        const char *why, struct err *e)
{
        int64_t row = 0;
        int q = catalog_row(c, id, &row, e);
        if (q < 0)
                return q;
        q = catalog_write(c, TXN_LAZY, e,
                "INSERT OR IGNORE INTO list (archive, kind, path, why) VALUES (?1, ?2, ?3, ?4)",
                "isps", row, kind, path, why ? why : "");
        return q < 0 ? q : 0;
}

int catalog_list_each(struct catalog *c, const char *id, const char *kind,
        int (*each)(void *ctx, const char *path, const char *why), void *ctx, struct err *e)
{
        int64_t row = 0;
        int r = catalog_row(c, id, &row, e);
        if (r < 0)
                return r;
        _cleanup_query_ struct query q = {0};
        r = query_open(&q, c, e,
                "SELECT path, why FROM list WHERE archive = ?1 AND kind = ?2 ORDER BY row", "is",
                row, kind);
        while (r == 0 && (r = query_step(&q, e)) > 0)
                r = each(ctx, query_text(&q, 0), query_text(&q, 1));
        return r;
}
