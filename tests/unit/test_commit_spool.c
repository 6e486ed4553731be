/* Commits to a store that is reached over a network: through the spool, killed, refused, taken
 * back. stores_open() is wrapped, so that a store of the test's own stands behind the URL. */
#include "catalog.h"
#include "clock.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "keys.h"
#include "restore.h"
#include "seal.h"
#include "spool.h"
#include "store.h"
#include "store_spooling.h"
#include "stores.h"
#include "sweep.h"
#include "tree.h"

#include <pthread.h>
#include <time.h>

int __wrap_stores_open(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e);
int __wrap_stores_open(const struct config *config _unused_, const char *url,
        const char *storage_class _unused_, struct store **ret, struct err *e)
{
        char folder[128];
        (void)snprintf(folder, sizeof folder, "%s/remote", getenv("T"));
        return store_spooling_new(url, folder, ret, e);
}

struct home {
        char path[64];
        struct config *config;
        struct engine *engine;
};

static void must(int q, const struct err *e)
{
        if (q < 0)
                fail_msg("%d: %s", q, e->text);
}

static void open_home(struct home *h)
{
        struct err e = {0};
        must(config_load(NULL, &h->config, &e), &e);
        must(engine_open(h->config, ENGINE_WORK, NULL, &h->engine, &e), &e);
        must(engine_prepare(h->engine, NULL, &e), &e);
}

static void close_home(struct home *h)
{
        engine_close(h->engine);
        config_free(h->config);
        h->engine = NULL;
        h->config = NULL;
}

static void set_config(struct home *h, const char *more)
{
        char text[1024];
        (void)snprintf(text, sizeof text,
                "{\"VAULT\": \"s3://test/x\", \"COMPRESSION\": \"none\", \"COMPRESSION_WORKERS\": "
                "1%s}",
                more);
        struct err e = {0};
        char path[128];
        (void)snprintf(path, sizeof path, "%s/CONFIG.json", h->path);
        must(io_write_file(AT_FDCWD, path, 0600, text, strlen(text), &e), &e);
}

/* One key pair for all tests: making one takes a second. */
static int make_keys(_unused_ void **state)
{
        struct err e = {0};
        static char keys[64];
        char private[80], public[80];
        tree_setup(keys);
        setenv("KEYS", keys, 1);
        (void)snprintf(private, sizeof private, "%s/private.pem", keys);
        (void)snprintf(public, sizeof public, "%s/public.pem", keys);
        return keys_generate(2048, private, public, NULL, &e);
}

static int remove_keys(_unused_ void **state)
{
        tree_sh("rm -r $KEYS");
        return 0;
}

static int setup_with(void **state, const char *more)
{
        struct home *h = calloc(1, sizeof *h);
        assert_non_null(h);
        tree_setup(h->path);
        tree_sh("mkdir -p $T/remote/objects $T/data/keys && chmod 700 $T/data $T/data/keys && "
                "cp -p $KEYS/*.pem $T/data/keys");
        setenv("AUTOGLACIER_HOME", h->path, 1);
        set_config(h, more);
        open_home(h);
        *state = h;
        return 0;
}

/* Two volumes and a bit for 50 MB. */
#define SMALL ", \"VOLUME_SIZE\": \"20MiB\", \"SPOOL_LIMIT\": \"40MiB\""

static int setup(void **state)
{
        return setup_with(state, SMALL);
}

static int teardown(void **state)
{
        struct home *h = *state;
        close_home(h);
        tree_remove(h->path);
        free(h);
        return 0;
}

static void stage(unsigned megabytes)
{
        char n[16];
        (void)snprintf(n, sizeof n, "%u", megabytes);
        setenv("N", n, 1);
        tree_sh("mkdir -p $T/src; head -c ${N}000000 /dev/urandom | split -b 1000000 -a 3 - "
                "$T/src/; "
                "cp -a $T/src $T/data/staging/current/src");
}

static char *commit(struct home *h)
{
        struct err e = {0};
        char *id = NULL;
        must(engine_commit(h->engine, "text", 4, NULL, &id, &e), &e);
        must(engine_commit_seal(h->engine, id, &e), &e);
        return id;
}

static void get(struct home *h, const char *id, struct catalog_archive *ret)
{
        struct err e = {0};
        struct catalog *c;
        must(engine_catalog(h->engine, &c, &e), &e);
        must(catalog_archive_get(c, id, ret, &e), &e);
        catalog_close(c);
}

static enum archive_state state_of(struct home *h, const char *id)
{
        struct catalog_archive a = {0};
        get(h, id, &a);
        enum archive_state s = a.state;
        catalog_archive_done(&a);
        return s;
}

static bool says(struct home *h, const char *id, const char *what)
{
        struct catalog_archive a = {0};
        get(h, id, &a);
        bool hit = strstr(a.error, what) != NULL;
        catalog_archive_done(&a);
        return hit;
}

static void run_to_the_end(struct home *h, const char *id)
{
        struct err e = {0};
        int q = engine_run(h->engine, id, &e);
        if (q != 0)
                tree_sh("sqlite3 $T/data/catalog.db 'select * from event' >&2");
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        assert_int_equal(state_of(h, id), ARCHIVE_STORED);
}

/* Identical when restored; nothing stays behind; no part of a packed volume was sent twice. */
static void check_stored(struct home *h, const char *id)
{
        struct err e = {0};
        struct catalog *c;
        struct store *s;
        struct catalog_archive a = {0};
        struct keys_private *key;
        char to[128];
        (void)snprintf(to, sizeof to, "%s/back", h->path);
        must(engine_catalog(h->engine, &c, &e), &e);
        must(catalog_archive_get(c, id, &a, &e), &e);
        must(stores_open(NULL, a.store_url, NULL, &s, &e), &e);
        must(keys_private_load(h->config->private_keys[0], NULL, NULL, &key, &e), &e);
        struct restore_params p = {.to = to, .unwrap = seal_unwrap_with_key, .unwrap_ctx = key};
        struct restore_progress done;
        must(restore_run(c, s, &a, &p, &done, &e), &e);
        keys_private_free(key);
        catalog_archive_done(&a);
        store_close(s);
        catalog_close(c);
        tree_sh("diff -r $T/src $T/back/src && rm -rf $T/back");
        tree_sh("test -z \"$(ls -A $T/data/spool)\"");
        tree_sh("test -z \"$(ls -A $T/remote/uploads 2>/dev/null)\"");
        tree_sh("test \"$(ls -A $T/data/staging)\" = current");
}

/* ---- killed ---- */

/* Runs the job in a child that dies at a crash point. */
static void run_killed(struct home *h, const char *id, const char *where)
{
        close_home(h);
        (void)fflush(NULL);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                setenv("AUTOGLACIER_CRASH_AT", where, 1);
                open_home(h);
                struct err e = {0};
                (void)engine_run(h->engine, id, &e);
                _exit(7); /* it came to its end: the point was not there */
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status))
                fail_msg("%s was not reached", where);
        open_home(h);
}

static bool has_crash_points(void)
{
#ifdef CRASH_POINTS
        return true;
#else
        print_message("skipped: needs a build with -Dcrash_points=true\n");
        return false;
#endif
}

static void killed_at_any_point_it_is_stored_once(void **state)
{
        static const char *const points[] = {"volume-begin", "part-spooled", "part-recorded:3",
                "upload-begun", "upload-recorded", "part-sent", "part-sent:7", "volume-written",
                "volume-packed", "volume-packed:2", "volume-confirmed", "volume-done",
                "volume-confirmed:2", "packed", "manifest-stored", "stored"};
        struct home *h = *state;
        if (!has_crash_points())
                return;
        for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
                tree_sh("rm -rf $T/src");
                stage(22);
                char *id = commit(h);
                run_killed(h, id, points[i]);
                run_to_the_end(h, id);
                print_message("%s\n", points[i]);
                check_stored(h, id);
                tree_sh("rm -rf $T/remote/objects/archives $T/remote/log");
                free(id);
        }
}

/* After everything is packed, each further kill costs at most the parts in flight. */
static void no_part_of_a_packed_volume_is_sent_twice(void **state)
{
        struct home *h = *state;
        if (!has_crash_points())
                return;
        close_home(h);
        set_config(h, ", \"VOLUME_SIZE\": \"20MiB\", \"SPOOL_LIMIT\": \"1GiB\", "
                      "\"UPLOAD_CONCURRENCY\": 1, \"UPLOAD_WINDOW\": \"00:00-00:00\"");
        open_home(h);
        stage(36);
        char *id = commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        run_killed(h, id, "volume-packed:2"); /* all but the end is in the spool */
        tree_sh("rm $T/remote/fail");
        for (int i = 0; i < 8; i++)
                run_killed(h, id, "part-sent:3");
        run_to_the_end(h, id);
        /* Only volumes 1 and 2 were packed then. */
        if (getenv("KEEP"))
                tree_sh("cp $T/remote/log $KEEP");
        tree_sh("grep ^part $T/remote/log | grep -e -0001 -e -0002 | cut -d' ' -f1-3 | sort | uniq "
                "-d > $T/twice; test ! -s $T/twice");
        check_stored(h, id);
        free(id);
}

static void a_manifest_of_several_parts_is_whole(void **state)
{
        struct home *h = *state;
        tree_sh("mkdir -p $T/src; cd $T/src; head -c 220000 /dev/urandom | split -b 11 -a 4; "
                "cp -a $T/src $T/data/staging/current/src");
        char *id = commit(h);
        run_to_the_end(h, id);
        tree_sh("grep '^part manifests/' $T/remote/log | cut -d' ' -f3,4 > $T/parts; "
                "test $(wc -l < $T/parts) -ge 2 && test $(grep -vc ' 1048576$' $T/parts) = 1");
        check_stored(h, id);
        free(id);
}

/* ---- the spool's bound ---- */

static atomic_bool watched_enough;

/* The most that the spool held. */
static void *watch_spool(void *arg)
{
        struct home *h = arg;
        struct spool *spool = NULL;
        struct err e = {0};
        char data[128];
        static uint64_t most;
        most = 0;
        (void)snprintf(data, sizeof data, "%s/data", h->path);
        must(spool_open(data, "none", &spool, &e), &e);
        while (!atomic_load(&watched_enough)) {
                uint64_t now = spool_used(spool);
                most = MAX(most, now);
                (void)usleep(10000);
        }
        spool_close(spool);
        return &most;
}

static void a_commit_many_times_the_spool_goes_through(void **state)
{
        struct home *h = *state;
        stage(200);
        char *id = commit(h);
        pthread_t t;
        pthread_create(&t, NULL, watch_spool, h);
        run_to_the_end(h, id);
        atomic_store(&watched_enough, true);
        void *most;
        pthread_join(t, &most);
        if (*(uint64_t *)most > 43 * MiB)
                fail_msg("the spool held %llu bytes", (unsigned long long)*(uint64_t *)most);
        check_stored(h, id);
        free(id);
}

/* ---- what stands in the way ---- */

struct job {
        struct home *h;
        const char *id;
        int result;
        struct err e;
};

static void *run_job(void *arg)
{
        struct job *j = arg;
        j->result = engine_run(j->h->engine, j->id, &j->e);
        return NULL;
}

#define WITHIN_NS (120 * CLOCK_NSEC)

static bool wait_for(struct home *h, const char *id, enum archive_state s, const char *what)
{
        for (int64_t end = clock_monotonic() + WITHIN_NS; clock_monotonic() < end;) {
                if (state_of(h, id) == s && says(h, id, what))
                        return true;
                (void)usleep(50000);
        }
        return false;
}

static void a_service_that_is_away_is_waited_for_in_words(void **state)
{
        struct home *h = *state;
        stage(30);
        char *id = commit(h);
        struct job j = {.h = h, .id = id};
        pthread_t t;
        tree_sh("echo put_part 11 > $T/remote/fail");
        pthread_create(&t, NULL, run_job, &j);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail");
        pthread_join(t, NULL);
        if (j.result != 0)
                fail_msg("%d %s", j.result, j.e.text);
        check_stored(h, id);
        free(id);
}

static void taken_back_while_the_service_is_away_it_is_back_at_once(void **state)
{
        struct home *h = *state;
        stage(30);
        char *id = commit(h);
        struct job j = {.h = h, .id = id};
        pthread_t t;
        struct err e = {0};
        tree_sh("echo finish 11 > $T/remote/fail");
        pthread_create(&t, NULL, run_job, &j);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("echo '* 11' > $T/remote/fail");
        int64_t began = clock_monotonic();
        must(engine_abort(h->engine, id, &e), &e);
        pthread_join(t, NULL);
        int64_t took = clock_monotonic() - began;
        assert_int_equal(j.result, -ECANCELED);
        if (took > 30 * CLOCK_NSEC) /* a second or two where nothing else runs */
                fail_msg("it took %lld ms", (long long)(took / 1000000));
        tree_sh("diff -r $T/src $T/data/staging/current/src && test -z \"$(ls -A $T/data/spool)\"");
        /* What the store holds of it is taken away when the store is back. */
        tree_sh("test -n \"$(ls -A $T/remote/uploads)\"; rm $T/remote/fail; rm -rf $T/src");
        must(engine_start(h->engine, &e), &e);
        for (int64_t end = clock_monotonic() + WITHIN_NS; clock_monotonic() < end;) {
                if (tree_status("test -z \"$(ls -A $T/remote/uploads)\"") == 0)
                        break;
                (void)usleep(50000);
        }
        tree_sh("test -z \"$(ls -A $T/remote/uploads)\"");
        free(id);
}

static void taken_back_it_leaves_nothing_in_the_store(void **state)
{
        struct home *h = *state;
        stage(36);
        char *id = commit(h);
        struct job j = {.h = h, .id = id};
        pthread_t t;
        struct err e = {0};
        if (!has_crash_points())
                return;
        run_killed(h, id, "volume-done"); /* one volume is there, the second is on its way */
        tree_sh("echo put_part 11 > $T/remote/fail");
        pthread_create(&t, NULL, run_job, &j);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail; ls $T/remote/objects/archives/*/*-0001*");
        must(engine_abort(h->engine, id, &e), &e);
        pthread_join(t, NULL);
        tree_sh("test -z \"$(ls -A $T/remote/uploads)\" && test -z \"$(ls -A $T/data/spool)\" && "
                "test ! -e $T/remote/objects/archives");
        tree_sh("diff -r $T/src $T/data/staging/current/src");
        free(id);
}

static void what_is_in_use_is_never_swept(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        struct catalog *c;
        struct catalog_archive a = {0};
        struct catalog_volume *v;
        size_t n;
        stage(1);
        char *id = commit(h);
        run_to_the_end(h, id);
        must(engine_catalog(h->engine, &c, &e), &e);
        must(catalog_archive_get(c, id, &a, &e), &e);
        must(catalog_volumes(c, id, &v, &n, &e), &e);
        _cleanup_free_ char *manifest = stores_manifest_name(a.origin, id);
        const char *objects[] = {v[0].object, manifest, "archives/gone/old"};
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
                must(catalog_litter_add(
                             c, &(struct catalog_litter){a.store_url, a.store_id, objects[i]}, &e),
                        &e);
        tree_sh("mkdir -p $T/remote/objects/archives/gone; touch "
                "$T/remote/objects/archives/gone/old");
        atomic_bool stop = false;
        must(sweep_all(c, h->config, &stop, &e), &e);
        free(v);
        catalog_archive_done(&a);
        catalog_close(c);
        tree_sh("test ! -e $T/remote/objects/archives/gone && ls $T/remote/objects/manifests/*/*");
        tree_sh("test $(sqlite3 $T/data/catalog.db 'select count(*) from litter') = 0");
        check_stored(h, id);
        free(id);
}

static void an_upload_that_the_store_forgot_is_begun_anew(void **state)
{
        struct home *h = *state;
        stage(30);
        char *id = commit(h);
        struct job j = {.h = h, .id = id};
        pthread_t t;
        tree_sh("echo finish 11 > $T/remote/fail");
        pthread_create(&t, NULL, run_job, &j);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm -r $T/remote/uploads/*; rm $T/remote/fail");
        pthread_join(t, NULL);
        if (j.result != 0)
                fail_msg("%d %s", j.result, j.e.text);
        check_stored(h, id);
        free(id);
}

static void a_spool_that_lost_a_volume_packs_it_again(void **state)
{
        struct home *h = *state;
        if (!has_crash_points())
                return;
        stage(36);
        char *id = commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        run_killed(h, id, "volume-packed:2");
        tree_sh("rm $T/remote/fail; rm $T/data/spool/*-0001.esdk");
        run_to_the_end(h, id);
        check_stored(h, id);
        free(id);
}

static void a_spool_that_rots_packs_again(void **state)
{
        struct home *h = *state;
        if (!has_crash_points())
                return;
        stage(36);
        char *id = commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        run_killed(h, id, "volume-packed:1");
        tree_sh("rm $T/remote/fail; printf x | dd of=$(ls $T/data/spool/*-0001.esdk) bs=1 "
                "seek=5000000 conv=notrunc status=none");
        struct err e = {0};
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        run_to_the_end(h, id);
        check_stored(h, id);
        free(id);
}

static void stopped_it_goes_on_where_it_was(void **state)
{
        struct home *h = *state;
        stage(30);
        char *id = commit(h);
        struct err e = {0};
        tree_sh("echo finish 11 > $T/remote/fail");
        must(engine_start(h->engine, &e), &e);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "the service is away"));
        close_home(h); /* stops the worker */
        tree_sh("rm $T/remote/fail; test -n \"$(ls -A $T/data/spool)\"");
        open_home(h);
        run_to_the_end(h, id);
        tree_sh("grep -q ^resume $T/remote/log");
        check_stored(h, id);
        free(id);
}

static void outside_the_window_it_is_packed_and_not_sent(void **state)
{
        struct home *h = *state;
        char more[160];
        time_t now = time(NULL) + 2 * 3600, then = now + 3600;
        struct tm a, b;
        localtime_r(&now, &a);
        localtime_r(&then, &b);
        (void)snprintf(more, sizeof more, SMALL ", \"UPLOAD_WINDOW\": \"%02d:%02d-%02d:%02d\"",
                a.tm_hour, a.tm_min, b.tm_hour, b.tm_min);
        close_home(h);
        set_config(h, more);
        open_home(h);
        stage(12);
        char *id = commit(h);
        struct err e = {0};
        must(engine_start(h->engine, &e), &e);
        assert_true(wait_for(h, id, ARCHIVE_WAITING, "UPLOAD_WINDOW"));
        tree_sh("test -n \"$(ls -A $T/data/spool)\" && ! grep -q ^part $T/remote/log");
        close_home(h);
        set_config(h, SMALL ", \"UPLOAD_WINDOW\": \"00:00-00:00\"");
        open_home(h);
        run_to_the_end(h, id);
        check_stored(h, id);
        free(id);
}

static void a_rate_holds_back_what_is_sent(void **state)
{
        struct home *h = *state;
        close_home(h);
        set_config(h, SMALL ", \"UPLOAD_RATE_LIMIT\": \"10MiB\"");
        open_home(h);
        stage(22);
        char *id = commit(h);
        int64_t began = clock_monotonic();
        run_to_the_end(h, id);
        assert_true(clock_monotonic() - began > 19 * CLOCK_NSEC / 10);
        check_stored(h, id);
        free(id);
}

static void a_disk_without_room_for_the_spool_is_waited_for(void **state)
{
        struct home *h = *state;
        if (!tree_is_root() ||
                tree_status("mount -t tmpfs -o size=10M none $T/data/spool 2>/dev/null") != 0)
                return;
        stage(22);
        char *id = commit(h);
        struct err e = {0};
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        assert_true(says(h, id, "room on the disk"));
        tree_sh("mount -o remount,size=25M $T/data/spool");
        run_to_the_end(h, id);
        check_stored(h, id);
        tree_sh("umount $T/data/spool");
        free(id);
}

static void a_service_that_is_away_at_first_is_waited_for(void **state)
{
        struct home *h = *state;
        stage(1);
        char *id = commit(h);
        struct err e = {0};
        tree_sh("echo '* 11' > $T/remote/fail");
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        assert_int_equal(state_of(h, id), ARCHIVE_WAITING);
        assert_true(says(h, id, "the service is away"));
        tree_sh("rm $T/remote/fail");
        run_to_the_end(h, id);
        check_stored(h, id);
        free(id);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
                T(killed_at_any_point_it_is_stored_once),
                T(no_part_of_a_packed_volume_is_sent_twice),
                T(a_manifest_of_several_parts_is_whole),
                T(a_commit_many_times_the_spool_goes_through),
                T(a_service_that_is_away_is_waited_for_in_words),
                T(taken_back_while_the_service_is_away_it_is_back_at_once),
                T(taken_back_it_leaves_nothing_in_the_store),
                T(what_is_in_use_is_never_swept),
                T(an_upload_that_the_store_forgot_is_begun_anew),
                T(a_spool_that_lost_a_volume_packs_it_again),
                T(a_spool_that_rots_packs_again),
                T(stopped_it_goes_on_where_it_was),
                T(outside_the_window_it_is_packed_and_not_sent),
                T(a_rate_holds_back_what_is_sent),
                T(a_disk_without_room_for_the_spool_is_waited_for),
                T(a_service_that_is_away_at_first_is_waited_for),
        };
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        return cmocka_run_group_tests(tests, make_keys, remove_keys);
}
