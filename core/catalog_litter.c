#include "catalog_internal.h"

int catalog_litter_add(struct catalog *c, const struct catalog_litter *l, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e, "INSERT OR IGNORE INTO litter VALUES (?1, ?2, ?3)",
                "sss", l->store_url, l->store_id, l->object);
        return q < 0 ? q : 0;
}

int catalog_litter_remove(struct catalog *c, const struct catalog_litter *l, struct err *e)
{
        int q = catalog_write(c, TXN_DURABLE, e,
                "DELETE FROM litter WHERE store_url = ?1 AND store_id = ?2 AND object = ?3", "sss",
                l->store_url, l->store_id, l->object);
        return q < 0 ? q : 0;
}

/* One by one, so that `each` may remove what it is given. */
int catalog_litter_each(struct catalog *c, int (*each)(void *ctx, const struct catalog_litter *l),
        void *ctx, struct err *e)
{
        _cleanup_buf_ struct buf after = BUF_INIT;
        for (;;) {
                _cleanup_query_ struct query q = {0};
                int r = query_open(&q, c, e,
                        "SELECT store_url, store_id, object, store_url || char(10) || store_id || "
                        "char(10) || object AS k FROM litter WHERE k > ?1 ORDER BY k LIMIT 1",
                        "s", buf_str(&after));
                if (r == 0)
                        r = query_step(&q, e);
                if (r <= 0)
                        return r;
                _cleanup_free_ char *url = strdup(query_text(&q, 0));
                _cleanup_free_ char *id = strdup(query_text(&q, 1));
                _cleanup_free_ char *object = strdup(query_text(&q, 2));
                buf_reset(&after);
                buf_adds(&after, query_text(&q, 3));
                query_done(&q);
                q = (struct query){0};
                if (!url || !id || !object || buf_oom(&after))
                        return err_oom(e);
                r = each(ctx, &(struct catalog_litter){url, id, object});
                if (r != 0)
                        return r;
        }
}
