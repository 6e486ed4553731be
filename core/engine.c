#include "engine_internal.h"

#include "clock.h"
#include "config.h"
#include "io.h"
#include "keyring.h"
#include "keys.h"
#include "own_mount.h"
#include "staging.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sys/stat.h>
#include <time.h>

#define PREPARE_WAIT_NS (60 * CLOCK_NSEC)
#define LOCK_WAIT_NS    (10 * CLOCK_NSEC)

static const char *const folders[] = {"locks", "spool", "keys"};

static int make_folders(const struct config *c, struct err *e)
{
        int q = io_mkdir_p(c->data, 0700, e);
        for (size_t i = 0; q == 0 && i < ARRAY_SIZE(folders); i++) {
                _cleanup_free_ char *p = io_join(c->data, folders[i]);
                q = p ? io_mkdir_p(p, 0700, e) : err_oom(e);
        }
        return q;
}

static int open_folders(struct engine *g, struct err *e)
{
        g->data_fd = open(g->config->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (g->data_fd < 0)
                return err_errno(e, -errno, "cannot open the data folder %s", g->config->data);
        g->locks_fd = openat(g->data_fd, "locks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (g->locks_fd < 0 && g->mode != ENGINE_READ)
                return err_errno(e, -errno, "cannot open %s/locks", g->config->data);
        return 0;
}

/* The mountpoint that the program with the lock has noted; NULL: none, or no memory. */
static char *noted_place(const struct engine *g)
{
        _cleanup_buf_ struct buf note = BUF_INIT;
        if (io_read_file(g->data_fd, "mount.pid", 64 * KiB, &note, NULL) < 0)
                return NULL;
        json_auto_t *o = json_loadb(buf_str(&note), note.len, 0, NULL);
        const char *at = json_string_value(json_object_get(o, "mountpoint"));
        return at ? strdup(at) : NULL;
}

/* One that has just been unmounted has its lock for a moment longer, and one that is just starting
 * is mounted nowhere yet. */
static int lock_mount(struct engine *g, struct err *e)
{
        const int64_t until = clock_monotonic() + LOCK_WAIT_NS;
        const struct timespec pause = clock_timespec(CLOCK_NSEC / 50);
        for (;;) {
                int q = io_lock_file(g->data_fd, "mount.lock", &g->mount_lock, e);
                if (q != -EAGAIN)
                        return q;
                _cleanup_free_ char *at = noted_place(g);
                if ((at && own_mount_is_on(at)) || clock_monotonic() >= until)
                        return err_set(e, -EBUSY,
                                "%s is mounted already%s%s; unmount that first, or use another "
                                "AUTOGLACIER_HOME",
                                g->config->data, at ? " on " : "", at ? at : "");
                (void)nanosleep(&pause, NULL); /* a shorter one is as good */
        }
}

static int open_parts(struct engine *g, struct err *e)
{
        int q;
        if (g->mode != ENGINE_READ && ((q = config_check_places(g->config, e)) < 0 ||
                                              (q = make_folders(g->config, e)) < 0))
                return q;
        if ((q = open_folders(g, e)) < 0)
                return q;
        if (g->mode == ENGINE_MOUNT && (q = lock_mount(g, e)) < 0)
                return q;
        if (g->mode == ENGINE_READ)
                return 0;
        _cleanup_free_ char *path = io_join(g->config->data, "staging");
        if (!path)
                return err_oom(e);
        if ((q = staging_open(path, &g->staging, e)) < 0)
                return q;
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        if ((q = engine_catalog(g, &c, e)) < 0)
                return q;
        if ((q = recover_staging(g, c, e)) < 0 || g->mode != ENGINE_MOUNT)
                return q;
        return staging_sweep(g->staging, e);
}

int engine_open(const struct config *config, enum engine_mode mode, const char *mountpoint,
        struct engine **ret, struct err *e)
{
        _cleanup_(engine_closep) struct engine *g = calloc(1, sizeof *g);
        if (!g)
                return err_oom(e);
        *g = (struct engine){.config = config,
                .mode = mode,
                .data_fd = -EBADF,
                .locks_fd = -EBADF,
                .mount_lock = -EBADF};
        pthread_mutex_init(&g->lock, NULL);
        pthread_condattr_t attr;
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&g->cond, &attr);
        pthread_condattr_destroy(&attr);
        if (mountpoint && !(g->mountpoint = strdup(mountpoint)))
                return err_oom(e);
        int q = keyring_new(config, &g->keyring, e);
        if (q == 0)
                q = open_parts(g, e);
        if (q < 0)
                return q;
        *ret = steal(g);
        return 0;
}

void engine_close(struct engine *g)
{
        if (!g)
                return;
        engine_stop(g);
        jobs_poke(g);
        agent_stop(g->agent);
        if (g->started)
                pthread_join(g->worker, NULL);
        restores_join(g);
        content_service_free(g);
        held_drop_all(g);
        keyring_free(g->keyring);
        staging_close(g->staging);
        base_closep(&g->mount_lock);
        base_closep(&g->locks_fd);
        base_closep(&g->data_fd);
        buf_done(&g->refusal);
        buf_done(&g->help);
        free(g->mountpoint);
        pthread_cond_destroy(&g->cond);
        pthread_mutex_destroy(&g->lock);
        free(g);
}

const struct config *engine_config(const struct engine *g)
{
        return g->config;
}

struct staging *engine_staging(struct engine *g)
{
        return g->staging;
}

const char *engine_data(const struct engine *g)
{
        return g->config->data;
}

int engine_catalog(struct engine *g, struct catalog **ret, struct err *e)
{
        _cleanup_free_ char *path = io_join(g->config->data, "catalog.db");
        if (!path)
                return err_oom(e);
        if (g->mode == ENGINE_READ && access(path, F_OK) < 0)
                return err_set(e, -ENOENT,
                        "nothing has been archived here yet: there is no catalogue %s", path);
        return catalog_open(path, ret, e);
}

void engine_stop(struct engine *g)
{
        atomic_store(&g->stop, true);
        atomic_store(&g->news, true);
}

void engine_unmounted(struct engine *g)
{
        agent_stop(g->agent); /* the next mount serves */
        g->agent = NULL;
        base_closep(&g->mount_lock);
        g->mount_lock = -EBADF;
}

void engine_on_change(struct engine *g, void (*fn)(void *ctx, const char *id), void *ctx)
{
        pthread_mutex_lock(&g->lock);
        g->on_change = fn;
        g->on_change_ctx = ctx;
        pthread_mutex_unlock(&g->lock);
}

void engine_note_refusal(struct engine *g, const char *text)
{
        char now[CLOCK_TEXT_MAX];
        clock_iso(clock_now(), now);
        pthread_mutex_lock(&g->lock);
        buf_reset(&g->refusal);
        if (*text)
                buf_addf(&g->refusal, "%s  %s", now, text);
        g->help_made = 0;
        pthread_mutex_unlock(&g->lock);
}

void engine_refusal(struct engine *g, struct buf *ret)
{
        pthread_mutex_lock(&g->lock);
        if (g->refusal.len > 0)
                buf_addf(ret, "last refusal: %s\n", buf_str(&g->refusal));
        pthread_mutex_unlock(&g->lock);
}

/* ---- first use ---- */

#define FIRST_TRIES 4u /* somebody waits for the mount, or for the prompt */

static int store_holds_nothing(void *ctx _unused_, const char *name _unused_,
        const struct store_state *st _unused_, struct err *e)
{
        return err_set(e, -EEXIST, "the store holds archives already");
}

static char *store_setting(const char *url)
{
        char *s;
        return asprintf(&s, "store_id:%s", url) < 0 ? NULL : s;
}

/* A store that we have never used is made; a known one is left alone: if it is not there, that is
 * for the jobs to wait for. A configured folder must be there, so that no unmounted disk is filled.
 */
static int prepare_store(struct engine *g, struct catalog *c, struct buf *said, struct err *e)
{
        const char *url = g->config->vault;
        _cleanup_free_ char *key = store_setting(url);
        _cleanup_free_ char *known = NULL;
        if (!key)
                return err_oom(e);
        int q = catalog_get(c, key, &known, e);
        if (q < 0)
                return q;
        _cleanup_(store_closep) struct store *s = NULL;
        if ((q = stores_open(g->config, url, g->config->storage_class, &s, e)) < 0 || known)
                return q;
        char id[64];
        store_set_control(s, &(struct store_control){.tries = FIRST_TRIES});
        if ((q = store_check(s, NULL, id, e)) < 0) {
                if (s->traits.asks || (q != -ENODEV && !s->traits.direct))
                        return q;
                const char *dir = startswith(url, "dir:");
                bool ours = dir && startswith(dir, g->config->data);
                struct stat st;
                if (dir && !ours && stat(dir, &st) < 0)
                        return err_errno(e, -ENODEV,
                                "the store's folder %s is not there; mount its disk, or make it "
                                "with: autoglacier init",
                                dir);
                if ((q = store_init(s, e)) < 0 || (q = store_check(s, NULL, id, e)) < 0)
                        return q;
                buf_addf(said, "made the store %s\n", url);
        }
        return catalog_set(c, key, id, e);
}

/* A store that is away counts as empty; one that cannot say what it holds does not. */
static int store_is_empty(struct engine *g, bool *ret, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = stores_open(g->config, g->config->vault, g->config->storage_class, &s, e);
        if (q < 0)
                return q;
        store_set_control(s, &(struct store_control){.tries = FIRST_TRIES});
        q = store_list(s, "archives/", store_holds_nothing, NULL, e);
        *ret = q == 0 || q == -ENODEV;
        return *ret || q == -EEXIST || q == -EREMOTE ? 0 : q;
}

static int prepare_keys(struct engine *g, struct catalog *c, struct buf *said, struct err *e)
{
        const struct config *cfg = g->config;
        const char *public_path = cfg->public_keys[0];
        if (cfg->public_keys_configured || access(public_path, F_OK) == 0)
                return 0;
        bool empty;
        int q = catalog_is_empty(c, &empty, e);
        if (q == 0 && empty)
                q = store_is_empty(g, &empty, e);
        if (q < 0)
                return q;
        if (!empty)
                return err_set(e, -ENOKEY,
                        "there are archives already, but the public key %s is gone; put it back, "
                        "or name another one with PUBL_RSA_KEY_PATH in %s; on a new machine, "
                        "autoglacier recover --key KEY lists them again",
                        public_path, cfg->file);
        if (cfg->private_keys_configured || access(cfg->private_keys[0], F_OK) == 0)
                return err_set(e, -ENOKEY,
                        "there is a private key %s but no public key %s; put it back, or name it "
                        "with PUBL_RSA_KEY_PATH in %s",
                        cfg->private_keys[0], public_path, cfg->file);
        if ((q = keys_generate(KEYS_DEFAULT_BITS, cfg->private_keys[0], public_path, NULL, e)) < 0)
                return q;
        buf_addf(said,
                "made a key pair: %s (keep a copy elsewhere: without it nothing can be read) and "
                "%s\n",
                cfg->private_keys[0], public_path);
        return 0;
}

/* Of several programs at their first use one makes what is needed, and the others find it. One that
 * hangs on its store does not keep the others for ever. */
static int lock_prepare(struct engine *g)
{
        const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
        int fd = -EBADF;
        for (int64_t end = clock_monotonic() + PREPARE_WAIT_NS;
                io_lock_file(g->locks_fd, "prepare.lock", &fd, NULL) == -EAGAIN &&
                clock_monotonic() < end;)
                (void)nanosleep(&pause, NULL); /* woken early: look early */
        return fd;
}

int engine_prepare(struct engine *g, char **ret_text, struct err *e)
{
        _cleanup_close_ int lock _unused_ = lock_prepare(g);
        _cleanup_(catalog_closep) struct catalog *c = NULL;
        _cleanup_buf_ struct buf said = BUF_INIT;
        int q = engine_catalog(g, &c, e);
        if (q == 0) {
                struct err store_err = {0};
                int s = prepare_store(g, c, &said, &store_err);
                if (s == -EPROTONOSUPPORT) {
                        if (e)
                                *e = store_err;
                        return s;
                }
                if (s < 0) /* a disk that is not plugged in: jobs wait for it */
                        buf_addf(&said, "the store is not ready: %s\n", store_err.text);
                q = prepare_keys(g, c, &said, e);
        }
        if (q < 0)
                return q;
        if (ret_text && !(*ret_text = buf_steal(&said)))
                return err_oom(e);
        return 0;
}
