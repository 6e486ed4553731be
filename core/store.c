#include "store.h"

void store_set_control(struct store *s, const struct store_control *c)
{
        for (; s; s = s->inner)
                s->control = *c;
}

bool store_stopped(const struct store *s)
{
        return s->control.stop && atomic_load(s->control.stop);
}

uint32_t store_part_size(const struct store *s, uint64_t max_size)
{
        uint64_t size = s->traits.part_size, parts = s->traits.max_parts;
        if (parts == 0 || max_size == UINT64_MAX)
                return s->traits.part_size;
        while (size < GiB && (max_size + size - 1) / size > parts)
                size *= 2;
        return (uint32_t)size;
}

int store_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        return s->ops->check(s, expected, ret_id, e);
}

int store_check_readable(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        struct err why = {0};
        int q = store_check(s, expected, ret_id, &why);
        if (q == 0 || q == -EROFS || q == -EACCES)
                return 0; /* a folder that cannot even be read says so when it is */
        if (e)
                *e = why;
        return q;
}

int store_init(struct store *s, struct err *e)
{
        return s->ops->init(s, e);
}

int store_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        return s->ops->begin(s, n, ret, e);
}

const char *store_token(struct store_upload *u)
{
        return u->store->ops->token(u);
}

int store_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e)
{
        return s->ops->resume(s, n, token, each, ctx, ret, e);
}

int store_put_part(struct store_upload *u, const struct store_part *p, struct err *e)
{
        return u->store->ops->put_part(u, p, e);
}

int store_finish(struct store_upload **u, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        int q = (*u)->store->ops->finish(*u, size, tree_hash, e);
        if (q != -EAGAIN && q != -EBUSY)
                *u = NULL;
        return q;
}

void store_abort(struct store_upload *u)
{
        if (u)
                u->store->ops->abort(u);
}

void store_leave(struct store_upload *u)
{
        if (u)
                u->store->ops->leave(u);
}

int store_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        return s->ops->sweep(s, prefix, keep, ctx, e);
}

int store_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        return s->ops->state(s, name, ret, e);
}

int store_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e)
{
        return s->ops->thaw(s, name, t, e);
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
