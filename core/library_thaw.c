#include "library_internal.h"

#include "buf.h"
#include "catalog.h"
#include "catalog_restore.h"
#include "clock.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "keyring.h"

#include <stdatomic.h>

/* One restore from a store that must be asked first: the record that `autoglacier restore` makes.
 */
struct look {
        const struct agl_restore *r;
        atomic_bool stop;
        bool told;
        enum restore_state state; /* as it was last told */
};

static void tell(struct look *l, const struct catalog_restore *r)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        char at[CLOCK_TEXT_MAX];
        buf_adds(&b, restore_state_name(r->state));
        if (r->state == RESTORE_THAWING && r->deadline > 0) {
                clock_iso(r->deadline, at);
                buf_addf(&b, ", expected by %s", at);
        }
        if (*r->error)
                buf_addf(&b, ": %s", r->error);
        if (!buf_oom(&b) && l->r->message)
                l->r->message(l->r->ctx, buf_str(&b));
}

static void show(void *ctx, const struct catalog_restore *r)
{
        struct look *l = ctx;
        if (!l->told || l->state != r->state)
                tell(l, r);
        l->told = true;
        l->state = r->state;
        if (l->r->progress)
                l->r->progress(l->r->ctx, r->done_bytes, r->todo_bytes);
        if (l->r->cancel && l->r->cancel(l->r->ctx))
                atomic_store(&l->stop, true);
}

static int verdict(const struct catalog_restore *r, struct err *e)
{
        switch (r->state) {
        case RESTORE_READY:
                return *r->error ? 1 : 0;
        case RESTORE_FAILED:
                return err_set(e, -EIO, "%s", r->error);
        case RESTORE_CANCELLED:
        case RESTORE_EXPIRED:
                return err_set(e, -ECANCELED, "it was %s", restore_state_name(r->state));
        case RESTORE_NEEDS_KEY:
                return err_set(e, -ENOKEY, "%s", r->error);
        default:
                break;
        }
        return err_set(e, -EINPROGRESS, "it is %s%s%s; the same call goes on with it",
                restore_state_name(r->state), *r->error ? ": " : "", r->error);
}

static int make_wish(const struct agl_restore *r, const char *id, struct buf *paths,
        struct engine_restore_wish *ret, struct err *e)
{
        for (size_t i = 0; r->paths && r->paths[i]; i++)
                buf_add(paths, r->paths[i], strlen(r->paths[i]) + 1);
        *ret = (struct engine_restore_wish){.id = id,
                .tier = r->tier,
                .paths = buf_str(paths),
                .paths_len = paths->len,
                .overwrite = r->overwrite != 0,
                .max_price = r->max_usd > 0 ? r->max_usd : -1};
        return buf_oom(paths) ? err_oom(e) : 0;
}

/* Otherwise a mount would go on, and write into the folder later. */
static int give_up(struct engine *g, int64_t row, struct err *e)
{
        int q = engine_restore_cancel_one(g, row, e);
        return q < 0 ? q
                     : err_set(e, -ECANCELED,
                               "cancelled; what the store was asked to thaw it will thaw and "
                               "charge for");
}

static int run(struct engine *g, struct engine_restore_wish *w, struct look *l, struct err *e)
{
        struct catalog_restore r = {0};
        int64_t row;
        int q = engine_restore(g, w, &row, NULL, e);
        if (q == 0)
                q = engine_restore_run(g, row, l->r->wait != 0, show, l, &l->stop, &r, e);
        if (q == 0 && atomic_load(&l->stop) && restore_is_active(r.state))
                q = give_up(g, row, e);
        else if (q == 0)
                q = verdict(&r, e);
        catalog_restore_done(&r);
        return q;
}

int library_thaw(
        const struct config *config, const char *id, const struct agl_restore *r, struct err *e)
{
        _cleanup_(engine_closep) struct engine *g = NULL;
        _cleanup_buf_ struct buf paths = BUF_INIT;
        _cleanup_free_ char *cwd = getcwd(NULL, 0);
        _cleanup_free_ char *to = !cwd ? NULL : *r->to == '/' ? strdup(r->to) : io_join(cwd, r->to);
        struct engine_restore_wish w;
        struct look l = {.r = r};
        if (!to)
                return err_oom(e);
        int q = make_wish(r, id, &paths, &w, e);
        w.target = to;
        if (q == 0)
                q = engine_open(config, ENGINE_WORK, NULL, &g, e);
        if (q == 0)
                q = library_unlock(engine_keyring(g), r->passphrase, e);
        if (q < 0)
                return q;
        keyring_use_agent(engine_keyring(g), true);
        return run(g, &w, &l, e);
}
