#include "spool_home.h"

#include "clock.h"
#include "io.h"
#include "keys.h"
#include "restore.h"
#include "seal.h"
#include "store.h"
#include "store_spooling.h"
#include "stores.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <time.h>

#define WITHIN_NS    (120 * CLOCK_NSEC)
#define MEMORY_LEAST (2ull * GiB)

int __wrap_stores_open(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e);
int __wrap_stores_open(const struct config *config _unused_, const char *url,
        const char *storage_class _unused_, struct store **ret, struct err *e)
{
        char folder[128];
        (void)snprintf(folder, sizeof folder, "%s/remote", getenv("T"));
        return store_spooling_new(url, folder, ret, e);
}

void home_must(int q, const struct err *e)
{
        if (q < 0)
                fail_msg("%d: %s", q, e->text);
}

/* ---- the set-up ---- */

/* A spool is synced at every part. No test here asks whether that reached a disk, and on one that
 * is busy it takes most of the time: where there is room, it is in memory. */
static void prefer_memory(void)
{
        struct statfs fs;
        if (getenv("TMPDIR") || statfs("/dev/shm", &fs) < 0 || access("/dev/shm", W_OK) < 0)
                return;
        if (fs.f_type == TMPFS_MAGIC && (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize > MEMORY_LEAST)
                setenv("TMPDIR", "/dev/shm", 1);
}

int home_make_keys(_unused_ void **state)
{
        struct err e = {0};
        static char keys[64];
        char private[80], public[80];
        prefer_memory();
        tree_setup(keys);
        setenv("KEYS", keys, 1);
        (void)snprintf(private, sizeof private, "%s/private.pem", keys);
        (void)snprintf(public, sizeof public, "%s/public.pem", keys);
        return keys_generate(2048, private, public, NULL, &e);
}

int home_remove_keys(_unused_ void **state)
{
        tree_sh("rm -r $KEYS");
        return 0;
}

void home_open(struct home *h)
{
        struct err e = {0};
        home_must(config_load(NULL, &h->config, &e), &e);
        home_must(engine_open(h->config, ENGINE_WORK, NULL, &h->engine, &e), &e);
        home_must(engine_prepare(h->engine, NULL, &e), &e);
}

void home_close(struct home *h)
{
        engine_close(h->engine);
        config_free(h->config);
        h->engine = NULL;
        h->config = NULL;
}

static void write_config(struct home *h, const char *more)
{
        char text[1024], path[128];
        struct err e = {0};
        (void)snprintf(text, sizeof text,
                "{\"VAULT\": \"s3://test/x\", \"COMPRESSION\": \"none\", \"COMPRESSION_WORKERS\": "
                "1%s}",
                more);
        (void)snprintf(path, sizeof path, "%s/CONFIG.json", h->path);
        home_must(io_write_file(AT_FDCWD, path, 0600, text, strlen(text), &e), &e);
}

void home_configure(struct home *h, const char *more)
{
        home_close(h);
        write_config(h, more);
        home_open(h);
}

void home_shut_window(struct home *h)
{
        char more[160];
        time_t now = time(NULL) + 2 * 3600, then = now + 3600;
        struct tm a, b;
        localtime_r(&now, &a);
        localtime_r(&then, &b);
        (void)snprintf(more, sizeof more, HOME_SMALL ", \"UPLOAD_WINDOW\": \"%02d:%02d-%02d:%02d\"",
                a.tm_hour, a.tm_min, b.tm_hour, b.tm_min);
        home_configure(h, more);
}

int home_setup(void **state)
{
        struct home *h = calloc(1, sizeof *h);
        assert_non_null(h);
        tree_setup(h->path);
        tree_sh("mkdir -p $T/remote/objects $T/data/keys && chmod 700 $T/data $T/data/keys && "
                "cp -p $KEYS/*.pem $T/data/keys");
        setenv("AUTOGLACIER_HOME", h->path, 1);
        write_config(h, HOME_SMALL);
        home_open(h);
        *state = h;
        return 0;
}

int home_teardown(void **state)
{
        struct home *h = *state;
        home_close(h);
        tree_remove(h->path);
        free(h);
        return 0;
}

/* ---- a job ---- */

void home_stage(unsigned megabytes)
{
        char n[16];
        (void)snprintf(n, sizeof n, "%u", megabytes);
        setenv("N", n, 1);
        tree_sh("mkdir -p $T/src; head -c ${N}000000 /dev/urandom | split -b 1000000 -a 3 - "
                "$T/src/; "
                "cp -a $T/src $T/data/staging/current/src");
}

char *home_commit(struct home *h)
{
        struct err e = {0};
        char *id = NULL;
        home_must(engine_commit(h->engine, "text", 4, NULL, &id, &e), &e);
        home_must(engine_commit_seal(h->engine, id, &e), &e);
        return id;
}

bool home_is(struct home *h, const char *id, enum archive_state s, const char *what)
{
        struct err e = {0};
        struct catalog *c;
        struct catalog_archive a = {0};
        home_must(engine_catalog(h->engine, &c, &e), &e);
        home_must(catalog_archive_get(c, id, &a, &e), &e);
        catalog_close(c);
        bool hit = a.state == s && strstr(a.error, what) != NULL;
        catalog_archive_done(&a);
        return hit;
}

bool home_wait(struct home *h, const char *id, enum archive_state s, const char *what)
{
        for (int64_t end = clock_monotonic() + WITHIN_NS; clock_monotonic() < end;) {
                if (home_is(h, id, s, what))
                        return true;
                (void)usleep(50000);
        }
        return false;
}

void home_run(struct home *h, const char *id)
{
        struct err e = {0};
        int q = engine_run(h->engine, id, &e);
        if (q != 0)
                tree_sh("sqlite3 $T/data/catalog.db 'select * from event' >&2");
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        assert_true(home_is(h, id, ARCHIVE_STORED, ""));
}

void *home_run_job(void *job)
{
        struct home_job *j = job;
        j->result = engine_run(j->h->engine, j->id, &j->e);
        return NULL;
}

void home_run_killed(struct home *h, const char *id, const char *where)
{
        home_close(h);
        (void)fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                setenv("AUTOGLACIER_CRASH_AT", where, 1);
                home_open(h);
                struct err e = {0};
                (void)engine_run(h->engine, id, &e);
                _exit(7); /* it came to its end: the point was not there */
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status))
                fail_msg("%s was not reached", where);
        home_open(h);
}

bool home_has_crash_points(void)
{
#ifdef CRASH_POINTS
        return true;
#else
        print_message("skipped: needs a build with -Dcrash_points=true\n");
        return false;
#endif
}

/* ---- what came of it ---- */

void home_restore(struct home *h, const char *id)
{
        struct err e = {0};
        struct catalog *c;
        struct store *s;
        struct catalog_archive a = {0};
        struct keys_private *key;
        char to[128];
        (void)snprintf(to, sizeof to, "%s/back", h->path);
        home_must(engine_catalog(h->engine, &c, &e), &e);
        home_must(catalog_archive_get(c, id, &a, &e), &e);
        home_must(stores_open(NULL, a.store_url, NULL, &s, &e), &e);
        home_must(keys_private_load(h->config->private_keys[0], NULL, NULL, &key, &e), &e);
        struct restore_params p = {.to = to, .unwrap = seal_unwrap_with_key, .unwrap_ctx = key};
        struct restore_progress done;
        home_must(restore_run(c, s, &a, &p, &done, &e), &e);
        keys_private_free(key);
        catalog_archive_done(&a);
        store_close(s);
        catalog_close(c);
}

void home_is_clean(void)
{
        tree_sh("test -z \"$(ls -A $T/data/spool)\"");
        tree_sh("test -z \"$(ls -A $T/remote/uploads 2>/dev/null)\"");
        tree_sh("test \"$(ls -A $T/data/staging)\" = current");
}

void home_check_stored(struct home *h, const char *id)
{
        home_restore(h, id);
        tree_sh("diff -r --no-dereference $T/src $T/back/src && rm -rf $T/back");
        home_is_clean();
}
