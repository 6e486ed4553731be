#include "engine_internal.h"

#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "crash.h"
#include "gather.h"
#include "io.h"
#include "job.h"
#include "report.h"
#include "spec.h"
#include "staging.h"
#include "words.h"

#include <inttypes.h>

#define DESCRIPTION_MAX 1024u
#define ROOM_TO_PACK    (8ull * MiB)
#define HELP_KEPT_NS    (CLOCK_NSEC)
#define HELP_QUICK      500     /* entries */
#define HELP_WHOLE      1000000 /* entries */

/* ---- the commit of the staging area ---- */

struct freeze {
        struct engine *g;
        struct catalog *catalog;
        struct catalog_archive *a;
        const struct engine_commit_hooks *hooks;
};

static int prepare(void *ctx, struct err *e)
{
        struct freeze *f = ctx;
        int q = catalog_archive_add(f->catalog, f->a, e);
        crash_point("commit-row");
        return q;
}

static int still(void *ctx, struct err *e)
{
        const struct freeze *f = ctx;
        return f->hooks && f->hooks->busy ? f->hooks->busy(f->hooks->ctx, e) : 0;
}

static void frozen(void *ctx)
{
        const struct freeze *f = ctx;
        crash_point("commit-exchanged");
        if (f->hooks && f->hooks->frozen)
                f->hooks->frozen(f->hooks->ctx, f->a->id);
}

static int devices(struct engine *g, struct catalog_archive *a, struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        int q = staging_open_current(g->staging, &fd, e);
        if (q < 0)
                return q;
        char *json = NULL;
        if ((q = gather_devices(fd, a->mountpoint, &json, e)) < 0)
                return q;
        free(a->devices);
        a->devices = json;
        return 0;
}

static int check_room(struct engine *g, struct err *e)
{
        uint64_t left = io_free_bytes(g->data_fd);
        if (left >= ROOM_TO_PACK)
                return 0;
        return err_set(e, -ENOSPC,
                "only %" PRIu64
                " kB are left on the disk of %s, too little to pack anything; make room there",
                left / 1000, g->config->data);
}

static int freeze(struct engine *g, struct catalog *c, struct catalog_archive *a,
        const struct engine_commit_hooks *hooks, struct err *e)
{
        struct freeze f = {g, c, a, hooks};
        const struct staging_freeze_hooks h = {
                .prepare = prepare, .still = still, .frozen = frozen, .ctx = &f};
        _cleanup_free_ char *json = rows_to_json(a);
        if (!json)
                return err_oom(e);
        int q = staging_freeze(g->staging, a->id, json, &h, e);
        if (q < 0)
                (void)catalog_archive_remove(
                        c, a->id, NULL); /* if this fails, the next start does it */
        return q;
}

static int commit_locked(struct engine *g, struct catalog *c, struct catalog_archive *a, size_t len,
        const struct engine_commit_hooks *hooks, struct err *e)
{
        int lock;
        int q = jobs_lock(g, a->id, &lock, e);
        if (q < 0)
                return q;
        if ((q = freeze(g, c, a, hooks, e)) < 0) {
                jobs_over(g, a->id, lock);
                return q;
        }
        if (held_add(g, a->id, lock, a->description, len) < 0) {
                jobs_unlock(lock); /* it is committed all the same, and will be adopted */
                return 0;
        }
        return 0;
}

int engine_commit(struct engine *g, const char *text, size_t len,
        const struct engine_commit_hooks *hooks, char **ret_id, struct err *e)
{
        int q;
        if ((q = staging_check(g->staging, g->mountpoint, e)) < 0 || (q = check_room(g, e)) < 0)
                return q;
        /* Asked once before anything is made, and again under the lock. */
        if (hooks && hooks->busy && (q = hooks->busy(hooks->ctx, e)) < 0)
                return q;
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        if ((q = engine_catalog(g, &c, e)) < 0)
                return q;
        _cleanup_free_ char *copy = strndup(text, len);
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        if (!copy)
                return err_oom(e);
        if ((q = rows_new(g, c, copy, &a, e)) < 0 || (q = devices(g, &a, e)) < 0)
                return q;
        a.has_tree = true;
        a.spec = strdup("{\"tree\":true}");
        char *id = strdup(a.id);
        if (!a.spec || !id) {
                free(id);
                return err_oom(e);
        }
        if ((q = commit_locked(g, c, &a, strlen(copy), hooks, e)) < 0) {
                free(id);
                return q;
        }
        engine_note_refusal(g, "");
        *ret_id = id;
        return 0;
}

int engine_commit_extend(
        struct engine *g, const char *id, const char *text, size_t len, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q < 0)
                return q;
        pthread_mutex_lock(&g->lock);
        struct held *h = held_find(g, id);
        if (!h) {
                q = err_set(e, -EBUSY,
                        "the commit %s has begun already; its description cannot be changed now",
                        id);
        } else {
                size_t room = DESCRIPTION_MAX - MIN((size_t)DESCRIPTION_MAX, h->text.len);
                size_t n = MIN(len, room);
                while (n < len && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
                        n--; /* not in the middle of a character */
                buf_add(&h->text, text, n);
                q = catalog_archive_set_description(c, id, buf_str(&h->text), e);
                if (q == 0 && n < len) {
                        (void)catalog_event(
                                c, id, 'w', "the description was cut at 1,024 bytes", NULL);
                        q = err_set(e, -EFBIG,
                                "a description has at most 1,024 bytes; the rest was cut");
                }
        }
        pthread_mutex_unlock(&g->lock);
        return q;
}

int engine_commit_seal(struct engine *g, const char *id, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_set_state(c, id, ARCHIVE_QUEUED, "", 0, e);
        if (q == 0)
                q = catalog_event(c, id, 'i', "queued", e);
        int lock = held_take(g, id);
        if (lock >= 0)
                jobs_unlock(lock); /* the worker takes it */
        jobs_poke(g);
        jobs_changed(g, id);
        return q;
}

/* ---- from a list of files ---- */

/* What a new row is made of. */
struct order {
        const char *description;
        const char *const *files; /* or NULL: the list is made when it runs */
        char *spec;               /* taken */
};

static int check_order(const struct order *o, struct err *e)
{
        if (o->files && !o->files[0])
                return err_set(e, -ENODATA, "there is nothing to back up: no file was named");
        if (strspn(o->description, " \t\r\n") == strlen(o->description))
                return err_set(e, -EINVAL, "a backup needs a description");
        if (!bytes_is_utf8(o->description, strlen(o->description)))
                return err_set(e, -EINVAL, "the description is not UTF-8 text");
        if (strlen(o->description) > DESCRIPTION_MAX)
                return err_set(e, -EFBIG, "a description has at most 1,024 bytes");
        return o->spec ? 0 : err_oom(e);
}

/* Under the lock of the job, which this engine then holds until it runs. */
static int place(struct engine *g, struct catalog *c, struct catalog_archive *a,
        const struct order *o, struct err *e)
{
        const char *data = g->config->data;
        int lock;
        int q = jobs_lock(g, a->id, &lock, e);
        if (q < 0)
                return q;
        if (o->files)
                q = spec_files_save(data, a->id, o->files, e);
        if (q == 0 && (q = catalog_archive_add(c, a, e)) < 0)
                spec_files_remove(data, a->id);
        if (q == 0 && held_add(g, a->id, lock, o->description, strlen(o->description)) < 0)
                q = err_oom(e);
        if (q < 0)
                jobs_unlock(lock);
        return q;
}

static int order(struct engine *g, struct order *o, char **ret_id, struct err *e)
{
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        int q = check_order(o, e);
        if (q < 0 || (q = check_room(g, e)) < 0 || (q = engine_catalog(g, &c, e)) < 0 ||
                (q = rows_new(g, c, o->description, &a, e)) < 0)
                return q;
        a.spec = steal(o->spec);
        a.synced = true;
        a.state = ARCHIVE_QUEUED;
        _cleanup_free_ char *id = strdup(a.id);
        if (!id)
                return err_oom(e);
        if ((q = place(g, c, &a, o, e)) < 0)
                return q;
        *ret_id = steal(id);
        return 0;
}

static int backup(struct engine *g, const char *description, const char *const *files,
        const char *spec, char **ret_id, struct err *e)
{
        static const char *const none[] = {NULL};
        struct order o = {
                .description = description, .files = files ? files : none, .spec = strdup(spec)};
        int q = order(g, &o, ret_id, e);
        free(o.spec);
        return q;
}

int engine_backup(struct engine *g, const char *description, const char *const *files,
        char **ret_id, struct err *e)
{
        return backup(g, description, files, "{\"list\":true}", ret_id, e);
}

int engine_backup_changed(struct engine *g, const char *description, const char *const *files,
        bool checksum, char **ret_id, struct err *e)
{
        return backup(g, description, files,
                checksum ? "{\"list\":true,\"changed\":\"checksum\"}"
                         : "{\"list\":true,\"changed\":\"stat\"}",
                ret_id, e);
}

int engine_job(struct engine *g, const struct job *job, const char *description, char **ret_id,
        struct err *e)
{
        _cleanup_buf_ struct buf text = BUF_INIT;
        int q = description ? 0 : job_description(job, clock_now(), &text, e);
        if (q < 0)
                return q;
        struct order o = {
                .description = description ? description : buf_str(&text), .spec = job_spec(job)};
        q = order(g, &o, ret_id, e);
        free(o.spec);
        return q;
}

int engine_detach(struct engine *g, const char *id, struct err *e)
{
        int lock = held_take(g, id);
        if (lock < 0)
                return err_set(e, -ENOENT, "%s was not made here", id);
        jobs_unlock(lock);
        jobs_poke(g);
        return 0;
}

/* ---- what `.commit` says ---- */

/* Whether all was counted. */
static bool say_staged(struct engine *g, uint64_t max_entries, struct buf *b)
{
        struct staging_summary s;
        struct err why = {0};
        int q = staging_summarize(g->staging, g->mountpoint,
                (const char *const *)g->config->exclude, max_entries, &s, &why);
        if (q < 0) {
                buf_addf(b, "staged now: cannot be counted: %s\n", why.text);
                return true;
        }
        char bytes[CLOCK_TEXT_MAX];
        clock_bytes_words(s.bytes, bytes);
        if (s.files + s.dirs + s.links == 0)
                buf_adds(b, "staged now: nothing\n");
        else
                buf_addf(b, "staged now: %s%s, %s, %s, %s\n", s.truncated ? "more than " : "",
                        WORDS(s.files, "file", NULL), WORDS(s.dirs, "folder", NULL),
                        WORDS(s.links, "link", NULL), bytes);
        if (s.bytes > 0)
                report_price_to_store(g->config, s.bytes, b);
        if (s.excluded > 0)
                buf_addf(b, "left in the staging area by EXCLUDE: %" PRIu64 "\n", s.excluded);
        if (s.litter > 0)
                buf_addf(b, "dropped as file managers' litter: %" PRIu64 "\n", s.litter);
        if (staging_check(g->staging, g->mountpoint, &why) == -ENOENT)
                buf_addf(b, "cannot be committed now: %s\n", why.text);
        return !s.truncated;
}

static int keep_last(void *ctx, const struct catalog_archive *a)
{
        struct buf *b = ctx;
        if (a->state == ARCHIVE_DELETED)
                return 0;
        buf_reset(b);
        buf_addf(b, "last commit: archives/%s is %s%s%s\n", a->name, archive_state_name(a->state),
                *a->error ? ": " : "", a->error);
        return 0;
}

static int make_help(
        struct engine *g, uint64_t max_entries, struct buf *b, bool *ret_whole, struct err *e)
{
        buf_adds(b, "# Write a description into this file, and what is staged becomes an archive:\n"
                    "#   echo \"summer photos\" > .commit\n");
        *ret_whole = say_staged(g, max_entries, b);
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_buf_ struct buf last = BUF_INIT;
        int q = engine_catalog(g, &c, e);
        if (q == 0)
                q = catalog_archive_each(c, keep_last, &last, e);
        if (q < 0)
                return q;
        buf_add(b, buf_str(&last), last.len);
        return buf_oom(b) ? err_oom(e) : 0;
}

/* Under g->lock. Who reads it is told of what is staged now; for its size alone nothing is walked
 * again within a second, however much is being copied. */
static bool help_is_fresh(const struct engine *g, bool whole)
{
        if (!g->help_made || clock_monotonic() - g->help_made >= HELP_KEPT_NS)
                return false;
        return !whole || (g->help_whole && g->help_changes == staging_changes(g->staging));
}

/* Looking at the file asks for its size and then reads it: one walk serves both. */
int engine_commit_help(struct engine *g, bool whole, struct buf *ret, struct err *e)
{
        uint64_t changes = staging_changes(g->staging);
        pthread_mutex_lock(&g->lock);
        bool fresh = help_is_fresh(g, whole);
        if (fresh)
                buf_add(ret, buf_str(&g->help), g->help.len);
        pthread_mutex_unlock(&g->lock);
        if (fresh)
                return buf_oom(ret) ? err_oom(e) : 0;
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool counted = false;
        int q = make_help(g, whole ? HELP_WHOLE : HELP_QUICK, &b, &counted, e);
        if (q < 0)
                return q;
        pthread_mutex_lock(&g->lock);
        if (g->refusal.len > 0)
                buf_addf(&b, "last refusal: %s\n", buf_str(&g->refusal));
        buf_reset(&g->help);
        buf_add(&g->help, buf_str(&b), b.len);
        g->help_made = clock_monotonic();
        g->help_changes = changes;
        g->help_whole = counted || whole;
        pthread_mutex_unlock(&g->lock);
        buf_add(ret, buf_str(&b), b.len);
        return buf_oom(ret) ? err_oom(e) : 0;
}
