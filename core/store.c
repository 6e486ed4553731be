#include "store.h"

int store_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        return s->ops->check(s, expected, ret_id, e);
}

int store_init(struct store *s, struct err *e)
{
        return s->ops->init(s, e);
}

int store_begin(struct store *s, const char *name, uint64_t max_size, struct store_upload **ret,
        struct err *e)
{
        return s->ops->begin(s, name, max_size, ret, e);
}

int store_put_part(struct store_upload *u, const struct store_part *p, struct err *e)
{
        return u->store->ops->put_part(u, p, e);
}

int store_finish(struct store_upload **u, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        struct store_upload *mine = steal(*u);
        return mine->store->ops->finish(mine, size, tree_hash, e);
}

void store_abort(struct store_upload *u)
{
        if (u)
                u->store->ops->abort(u);
}

int store_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        return s->ops->state(s, name, ret, e);
}

int store_thaw(struct store *s, const char *name, const char *tier, unsigned days, struct err *e)
{
        return s->ops->thaw(s, name, tier, days, e);
}

int store_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        return s->ops->get(s, name, data, len, offset, e);
}

int store_list(struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        return s->ops->list(s, prefix, each, ctx, e);
}

int store_remove(struct store *s, const char *name, struct err *e)
{
        return s->ops->remove(s, name, e);
}

uint64_t store_space(struct store *s)
{
        return s->ops->space(s);
}

void store_close(struct store *s)
{
        if (s)
                s->ops->close(s);
}
