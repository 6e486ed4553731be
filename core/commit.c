#include "commit_internal.h"

#include "clock.h"
#include "config.h"
#include "crash.h"
#include "io.h"
#include "notify.h"
#include "staging.h"
#include "store.h"
#include "tar.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>

#define WAIT_NS (10 * CLOCK_NSEC)
#define TICK_NS (CLOCK_NSEC / 2)

#define BEGUN_MOST 3 /* in one run */

int run_event(struct run *r, char level, const char *fmt, ...)
{
        char text[2048];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        if (level == 'w')
                r->a.n_warnings++;
        pthread_mutex_lock(&r->lock);
        int q = catalog_event(r->catalog, r->a.id, level, text, NULL);
        pthread_mutex_unlock(&r->lock);
        return q;
}

void run_changed(struct run *r)
{
        if (r->env->changed)
                r->env->changed(r->env->ctx, r->a.id);
}

static int set_state(
        struct run *r, enum archive_state s, const char *error, int64_t retry_at, struct err *e)
{
        pthread_mutex_lock(&r->lock);
        int q = catalog_archive_set_state(r->catalog, r->a.id, s, error, retry_at, e);
        pthread_mutex_unlock(&r->lock);
        if (q == 0) {
                r->a.state = s;
                watch_state(r, s);
                run_changed(r);
        }
        return q;
}

/* With the time that the manifest has: what `recover` reads from it then is the same. The watch
 * knows first: trouble that it wrote over the row would let the commit be taken back. */
static int set_stored(struct run *r, enum archive_state s, struct err *e)
{
        watch_state(r, s);
        pthread_mutex_lock(&r->lock);
        int q = catalog_archive_set_stored(r->catalog, r->a.id, s, r->written, e);
        pthread_mutex_unlock(&r->lock);
        if (q == -ECANCELED)
                atomic_store(&r->aborted, true);
        if (q < 0) {
                watch_state(r, r->a.state);
                return q;
        }
        r->a.state = s;
        run_changed(r);
        return 0;
}

uint64_t run_position(const struct run *r)
{
        return r->base + tar_offset(r->tar);
}

int run_tick(struct run *r, struct err *e)
{
        if (atomic_load(r->env->stop))
                return err_set(e, -ECANCELED, "stopped");
        int64_t now = clock_monotonic();
        if (now - r->ticked < TICK_NS)
                return 0;
        int64_t span = now - r->ticked;
        r->a.rate = r->ticked ? (uint64_t)((double)(r->a.read_bytes - r->ticked_bytes) * 1e9 /
                                           (double)span)
                              : 0;
        r->ticked = now;
        r->ticked_bytes = r->a.read_bytes;
        r->a.stored_bytes = run_sent(r);
        r->a.todo_bytes = expect_bytes(r);
        bool abort = false;
        pthread_mutex_lock(&r->lock);
        int q = catalog_archive_progress(r->catalog, &r->a, &abort, e);
        pthread_mutex_unlock(&r->lock);
        if (q == 0 && abort) {
                atomic_store(&r->aborted, true);
                return err_set(e, -ECANCELED, "taken back");
        }
        return q;
}

/* ---- before the first byte is read ---- */

static int boot_id(struct buf *ret, struct err *e)
{
        return io_read_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 128, ret, e);
}

/* What was staged right before the machine went down may never have reached the disk. */
static int settle_tree(struct run *r, struct err *e)
{
        if (!r->a.has_tree || r->a.synced)
                return 0;
        _cleanup_buf_ struct buf now = BUF_INIT;
        int q = boot_id(&now, e);
        if (q < 0)
                return q;
        if (*r->a.boot_id && !streq(r->a.boot_id, buf_str(&now))) {
                r->a.keep_tree = true;
                run_event(r, 'w',
                        "the machine went down before what was staged had safely reached the disk; "
                        "the staged files will be put back into the staging area after they are "
                        "stored, look at them");
        }
        if ((q = staging_sync(r->env->staging, e)) < 0)
                return q;
        r->a.synced = true;
        return catalog_archive_update(r->catalog, &r->a, e);
}

/* ---- the chain ---- */

static int keep_counts(struct run *r, struct err *e)
{
        struct catalog_totals t;
        int q = r->a.n_returned > 0 ? catalog_members_drop_unread(r->catalog, r->a.id, e) : 0;
        if (q < 0 || (q = catalog_member_totals(r->catalog, r->a.id, &t, e)) < 0)
                return q;
        r->a.n_files = t.n_files;
        r->a.n_dirs = t.n_dirs;
        r->a.n_links = t.n_links;
        r->a.n_hardlinks = t.n_hardlinks;
        r->a.bytes = t.bytes;
        r->a.sums_bytes = t.sums_bytes;
        r->a.todo_bytes = 0;
        r->a.rate = 0;
        return 0;
}

static int pack_everything(struct run *r, struct err *e)
{
        int q;
        if ((q = settle_tree(r, e)) < 0 || (q = phases_load(r, e)) < 0)
                return q;
        if ((q = set_state(r, ARCHIVE_GATHERING, "", 0, e)) < 0)
                return q;
        crash_point("gathering");
        if ((q = log_begin(r, e)) < 0 || (q = job_list(r, e)) < 0 || (q = changed_begin(r, e)) < 0)
                return q;
        if ((q = volumes_pack(r, e)) < 0 || (q = walk_begin(r, e)) < 0)
                return q;
        if ((q = walk_all(r, e)) < 0 || (q = walk_again(r, e)) < 0)
                return q;
        if ((q = set_state(r, ARCHIVE_UPLOADING, "", 0, e)) < 0)
                return q;
        crash_point("walked");
        if ((q = changed_end(r, e)) < 0)
                return q;
        if ((q = walk_manifest(r, e)) < 0 || (q = pack_finish(r->pack, e)) < 0)
                return q;
        crash_point("packed");
        pack_free(r->pack); /* its buffers: the manifest needs its own */
        r->pack = NULL;
        r->a.stored_bytes = run_sent(r);
        r->a.packed = true;
        if ((q = volumes_sealed(r, &r->a.sealed_bytes, e)) < 0)
                return q;
        if ((q = keep_counts(r, e)) < 0 || (q = catalog_archive_update(r->catalog, &r->a, e)) < 0)
                return q;
        return log_grow(r, false, e);
}

static int finish(struct run *r, struct err *e)
{
        int q = r->a.state == ARCHIVE_UPLOADING ? 0 : set_state(r, ARCHIVE_UPLOADING, "", 0, e);
        if (q < 0 || (q = spooling_drain(r, e)) < 0 || (q = volumes_put_manifest(r, e)) < 0)
                return q;
        r->a.stored_bytes = run_sent(r);
        r->a.rate = 0;
        if (r->spool && (q = catalog_archive_update(r->catalog, &r->a, e)) < 0)
                return q;
        bool incomplete = r->a.n_returned > 0;
        pthread_mutex_lock(&r->lock);
        (void)catalog_event_stored(r->catalog, &r->a, r->written, NULL); /* the row tells it too */
        pthread_mutex_unlock(&r->lock);
        q = set_stored(r, incomplete ? ARCHIVE_INCOMPLETE : ARCHIVE_STORED, e);
        crash_point("stored");
        if (q == 0)
                volumes_sweep(r);
        return q;
}

/* What it was to become stays sent until no row counts on it. */
static int start_over(struct run *r, struct err *e)
{
        run_event(r, 'w', "%s; the archive is begun again", e->text);
        r->phases = (struct phases){UINT64_MAX, UINT64_MAX};
        int q = volumes_restart(r, e);
        return q < 0 ? q : phases_save(r, e);
}

static int chain(struct run *r, struct err *e)
{
        int q = archive_is_stored(r->a.state) ? 0 : volumes_open(r, e);
        if (q == 0 && !r->a.packed && !archive_is_stored(r->a.state))
                q = pack_everything(r, e);
        if (q == 0 && !archive_is_stored(r->a.state))
                q = finish(r, e);
        if (q < 0 || r->a.released)
                return q;
        if ((q = log_grow(r, true, e)) < 0 || (q = release_tree(r, e)) < 0)
                return q;
        return *r->a.error ? set_state(r, r->a.state, "", 0, e) : 0;
}

/* ---- one run: begin, end, and what an error means ---- */

static void run_done(struct run *r)
{
        volumes_close(r);
        tar_writer_free(r->tar);
        changed_done(r);
        record_done(r);
        free(r->chunk);
        EVP_MD_CTX_free(r->sha);
        EVP_MD_free(r->sha512);
        free((char *)r->replay.path);
        catalog_archive_done(&r->a);
        watch_done(r);
        pthread_mutex_destroy(&r->lock);
}

static int run_init(struct run *r, const struct commit_env *env, const char *id, struct err *e)
{
        *r = (struct run){.env = env, .catalog = env->catalog, .phases = {UINT64_MAX, UINT64_MAX}};
        pthread_mutex_init(&r->lock, NULL);
        watch_init(r);
        int q = catalog_archive_get(r->catalog, id, &r->a, e);
        if (q == 0 && (!(r->chunk = malloc(MiB)) || !(r->sha = EVP_MD_CTX_new())))
                q = err_oom(e);
        if (q == 0 && !(r->sha512 = EVP_MD_fetch(NULL, "SHA512", NULL)))
                q = err_set(e, -EIO, "OpenSSL has no SHA-512");
        if (q < 0)
                run_done(r);
        return q;
}

static int settle_error(struct run *r, int code, struct err *e)
{
        if (code == -ECANCELED)
                return code;
        struct err why = *e;
        if (archive_is_stored(r->a.state)) { /* only cleaning up is left */
                if (!streq(r->a.error, why.text))
                        run_event(r, 'e', "stored, but cleaning up failed: %s; it is tried again",
                                why.text);
                (void)set_state(
                        r, r->a.state, why.text, clock_now() + WAIT_NS, NULL); /* likewise */
                return -EAGAIN;
        }
        if (err_can_wait(code)) {
                if (!streq(r->a.error, why.text))
                        run_event(r, 'e', "waiting: %s", why.text);
                (void)set_state(r, ARCHIVE_WAITING, why.text, clock_now() + WAIT_NS,
                        NULL); /* why is the news */
                return -EAGAIN;
        }
        run_event(r, 'e', "failed: %s", why.text);
        (void)set_state(r, ARCHIVE_FAILED, why.text, 0, NULL); /* likewise */
        return code;
}

static int tick(void *ctx, struct err *e)
{
        return atomic_load(((struct run *)ctx)->env->stop) ? err_set(e, -ECANCELED, "stopped") : 0;
}

/* Once, in the run in which it came to this. */
static void tell(struct run *r, enum archive_state before, const char *error)
{
        bool news = r->a.state != before &&
                    (archive_is_stored(r->a.state) || r->a.state == ARCHIVE_FAILED);
        if (!news || archive_is_stored(before))
                return;
        struct err why = {0};
        struct catalog_archive a = r->a;
        a.error = (char *)(r->a.state == ARCHIVE_FAILED ? error : "");
        int q = notify_run(r->env->config, archive_state_name(r->a.state), &a, tick, r, &why);
        if (q < 0)
                run_event(r, 'i', "nobody was told: %s", why.text);
}

/* ret_again: it was begun again, and nothing has been read yet. */
static int run_once(const struct commit_env *env, const char *id, bool may_again, bool *ret_again,
        struct err *e)
{
        struct run r;
        int q = run_init(&r, env, id, e);
        if (q < 0)
                return q;
        if (r.a.abort_wanted) {
                run_done(&r);
                q = commit_abort(env, id, e);
                return q < 0 ? q : err_set(e, -ECANCELED, "taken back");
        }
        enum archive_state before = r.a.state;
        q = chain(&r, e);
        bool again = q == -ERESTART && may_again && start_over(&r, e) == 0;
        if (q < 0 && !again) {
                struct err late = *e;
                volumes_close(&r);
                q = settle_error(&r, q, &late);
                *e = late;
        }
        tell(&r, before, e->text);
        bool aborted = atomic_load(&r.aborted);
        int result = q < 0 ? q : r.a.n_warnings > 0 || r.a.n_returned > 0;
        run_done(&r);
        if (aborted) {
                q = commit_abort(env, id, e);
                return q < 0 ? q : err_set(e, -ECANCELED, "taken back");
        }
        *ret_again = again;
        return result;
}

/* A source that never keeps still is waited for, as whatever else is in the way. */
int commit_run(const struct commit_env *env, const char *id, struct err *e)
{
        struct err local = {0};
        bool again = true;
        int q = 0;
        for (unsigned n = 0; again; n++) {
                again = false;
                q = run_once(env, id, n < BEGUN_MOST, &again, e ? e : &local);
        }
        return q;
}

int commit_abort(const struct commit_env *env, const char *id, struct err *e)
{
        struct run r;
        int q = run_init(&r, env, id, e);
        if (q < 0)
                return q;
        if (archive_is_stored(r.a.state)) {
                q = err_set(e, -EBUSY, "%s is stored already; use autoglacier delete to remove it",
                        r.a.name);
        } else {
                /* A store that is away must not keep people from getting their files back; what it
                 * holds of this commit is without a manifest and is not listed anywhere. */
                (void)volumes_forget(&r, NULL);
                volumes_close(&r);
                crash_point("abort-forgotten");
                q = release_back(&r, e);
                crash_point("abort-given-back");
                if (q == 0)
                        q = catalog_archive_remove(r.catalog, id, e);
                if (q == 0)
                        run_changed(&r);
        }
        run_done(&r);
        return q;
}
