/* Commits through the spool with something in the way: the service, the disk, a change of mind. */
#include "clock.h"
#include "io.h"
#include "spool_home.h"
#include "stores.h"
#include "sweep.h"

#include <fcntl.h>
#include <pthread.h>

#define WITHIN_NS (120 * CLOCK_NSEC)

static void a_service_that_is_away_is_waited_for_in_words(void **state)
{
        struct home *h = *state;
        home_stage(30);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        pthread_t t;
        tree_sh("echo put_part 11 > $T/remote/fail");
        pthread_create(&t, NULL, home_run_job, &j);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail");
        pthread_join(t, NULL);
        if (j.result != 0)
                fail_msg("%d %s", j.result, j.e.text);
        home_check_stored(h, id);
        free(id);
}

/* For a program that ends, as one that cron starts. */
static void with_patience_a_service_that_stays_away_is_left_to_others(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        home_stage(30);
        char *id = home_commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        engine_set_patience(h->engine, 2 * CLOCK_NSEC);
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        assert_non_null(strstr(e.text, "the service is away"));
        assert_true(home_is(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail");
        home_run(h, id);
        home_check_stored(h, id);
        free(id);
}

static void a_job_that_only_waits_gives_way_to_another(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        char path[128], other[128], *id, *small;
        home_shut_window(h);
        home_stage(12);
        id = home_commit(h);
        engine_set_patience(h->engine, CLOCK_NSEC); /* a minute is long for a test */
        home_must(engine_start(h->engine, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "UPLOAD_WINDOW"));
        /* The other one may be sent at any time. */
        (void)snprintf(other, sizeof other, "%s/OTHER.json", h->path);
        (void)snprintf(path, sizeof path, "%s/src/aaa", h->path);
        tree_sh("sed 's/, .UPLOAD_WINDOW.*}/}/' $T/CONFIG.json > $T/OTHER.json; chmod 600 "
                "$T/*.json");
        const char *files[] = {path, NULL};
        struct home second = {0};
        home_must(config_load(other, &second.config, &e), &e);
        home_must(engine_open(second.config, ENGINE_WORK, NULL, &second.engine, &e), &e);
        home_must(engine_backup(second.engine, "small", files, &small, &e), &e);
        home_must(engine_detach(second.engine, small, &e), &e);
        home_close(&second);
        assert_true(home_wait(h, small, ARCHIVE_STORED, ""));
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "UPLOAD_WINDOW"));
        home_configure(h, HOME_SMALL);
        home_run(h, id);
        free(small);
        free(id);
}

/* A job of a program that is gone, made under $T/OTHER.json. */
static char *job_of_another_configuration(struct home *h)
{
        struct err e = {0};
        char path[128], other[128], *id;
        home_stage(1);
        (void)snprintf(other, sizeof other, "%s/OTHER.json", h->path);
        (void)snprintf(path, sizeof path, "%s/src/aaa", h->path);
        tree_sh("cp -p $T/CONFIG.json $T/OTHER.json");
        const char *files[] = {path, NULL};
        struct home second = {0};
        home_must(config_load(other, &second.config, &e), &e);
        home_must(engine_open(second.config, ENGINE_WORK, NULL, &second.engine, &e), &e);
        home_must(engine_backup(second.engine, "small", files, &id, &e), &e);
        home_must(engine_detach(second.engine, id, &e), &e);
        home_close(&second);
        return id;
}

static void a_job_without_a_readable_configuration_says_so_and_waits(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        char *id = job_of_another_configuration(h);
        tree_sh("echo '{' > $T/OTHER.json");
        home_must(engine_start(h->engine, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "OTHER.json"));
        tree_sh("cp $T/CONFIG.json $T/OTHER.json");
        home_must(engine_retry(h->engine, id, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_STORED, ""));
        free(id);
}

static bool is_forgotten(struct home *h, const char *id)
{
        struct catalog *c;
        struct catalog_archive a = {0};
        struct err e = {0};
        home_must(engine_catalog(h->engine, &c, &e), &e);
        int q = catalog_archive_get(c, id, &a, NULL);
        catalog_archive_done(&a);
        catalog_close(c);
        return q == -ENOENT;
}

/* The wish is in the row: whoever worked on it was killed before it could see it. */
static void a_job_without_a_readable_configuration_is_taken_back_all_the_same(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        struct catalog *c;
        char *id = job_of_another_configuration(h);
        tree_sh("echo '{' > $T/OTHER.json");
        home_must(engine_catalog(h->engine, &c, &e), &e);
        home_must(catalog_archive_want_abort(c, id, &e), &e);
        catalog_close(c);
        home_must(engine_start(h->engine, &e), &e);
        for (int64_t end = clock_monotonic() + WITHIN_NS; clock_monotonic() < end;) {
                if (is_forgotten(h, id))
                        break;
                (void)usleep(20000);
        }
        assert_true(is_forgotten(h, id));
        free(id);
}

static void a_job_whose_lock_cannot_be_made_says_so_and_waits(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        home_stage(1);
        char *id = home_commit(h);
        tree_sh("rm -f $T/data/locks/*.lock && mkdir $T/data/locks/$(ls $T/data/staging | grep -v "
                "-e current -e json).lock");
        home_must(engine_start(h->engine, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "lock file"));
        tree_sh("rmdir $T/data/locks/*.lock");
        home_must(engine_retry(h->engine, id, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_STORED, ""));
        free(id);
}

static void taken_back_while_the_service_is_away_it_is_back_at_once(void **state)
{
        struct home *h = *state;
        home_stage(30);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        pthread_t t;
        struct err e = {0};
        tree_sh("echo finish 11 > $T/remote/fail");
        pthread_create(&t, NULL, home_run_job, &j);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("echo '* 11' > $T/fail && mv $T/fail $T/remote"); /* at no moment is there none */
        int64_t began = clock_monotonic();
        home_must(engine_abort(h->engine, id, &e), &e);
        pthread_join(t, NULL);
        int64_t took = clock_monotonic() - began;
        assert_int_equal(j.result, -ECANCELED);
        if (took > 30 * CLOCK_NSEC) /* a second or two where nothing else runs */
                fail_msg("it took %lld ms", (long long)(took / 1000000));
        tree_sh("diff -r $T/src $T/data/staging/current/src && test -z \"$(ls -A $T/data/spool)\"");
        /* What the store holds of it is taken away when the store is back. */
        tree_sh("test -n \"$(ls -A $T/remote/uploads)\"; rm $T/remote/fail; rm -rf $T/src");
        home_must(engine_start(h->engine, &e), &e);
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
        home_stage(36);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        pthread_t t;
        struct err e = {0};
        if (!home_has_crash_points())
                return;
        home_run_killed(h, id, "volume-done"); /* one volume is there, the second is on its way */
        tree_sh("echo put_part 11 > $T/remote/fail");
        pthread_create(&t, NULL, home_run_job, &j);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail; ls $T/remote/objects/archives/*/*-0001*");
        home_must(engine_abort(h->engine, id, &e), &e);
        pthread_join(t, NULL);
        tree_sh("test -z \"$(ls -A $T/remote/uploads)\" && test -z \"$(ls -A $T/data/spool)\" && "
                "test ! -e $T/remote/objects/archives");
        tree_sh("diff -r $T/src $T/data/staging/current/src");
        free(id);
}

/* The row is what keeps it from being taken back. */
static void stored_it_stays_so_while_the_cleaning_up_waits(void **state)
{
        struct home *h = *state;
        home_stage(12);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        pthread_t t;
        struct err e = {0};
        tree_sh("echo sweep 0 > $T/remote/fail");
        pthread_create(&t, NULL, home_run_job, &j);
        bool stored = home_wait(h, id, ARCHIVE_STORED, "");
        for (int i = 0; stored && i < 30; i++) {
                (void)usleep(100000);
                stored = home_is(h, id, ARCHIVE_STORED, "");
        }
        int q = engine_abort(h->engine, id, &e);
        tree_sh("grep -q 'failed sweep' $T/remote/log; rm $T/remote/fail");
        pthread_join(t, NULL);
        assert_true(stored);
        assert_int_equal(q, -EBUSY);
        if (j.result != 0)
                fail_msg("%d %s", j.result, j.e.text);
        home_check_stored(h, id);
        free(id);
}

/* `object` "": uploads that nobody knows of. */
static void add_litter(struct catalog *c, const char *url, const char *store, const char *object)
{
        struct err e = {0};
        home_must(catalog_litter_add(c, &(struct catalog_litter){url, store, object}, &e), &e);
}

/* Its row, through a connection of its own. */
static void open_row(
        struct home *h, const char *id, struct catalog **ret, struct catalog_archive *ret_row)
{
        struct err e = {0};
        home_must(engine_catalog(h->engine, ret, &e), &e);
        home_must(catalog_archive_get(*ret, id, ret_row, &e), &e);
}

static void sweep(struct home *h, struct catalog *c)
{
        struct err e = {0};
        atomic_bool stop = false;
        home_must(sweep_all(c, h->config, &stop, &e), &e);
}

/* An upload of that name, which the store has. The path of its file. */
static char *put_upload(const struct home *h, const char *object)
{
        struct err e = {0};
        tree_sh("mkdir -p $T/remote/uploads/m");
        char *path = io_join(h->path, "remote/uploads/m/name");
        home_must(io_write_file(AT_FDCWD, path, 0600, object, strlen(object), &e), &e);
        return path;
}

static void what_is_in_use_is_never_swept(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        struct catalog *c;
        struct catalog_archive a = {0};
        struct catalog_volume *v;
        size_t n;
        home_stage(1);
        char *id = home_commit(h);
        home_run(h, id);
        open_row(h, id, &c, &a);
        home_must(catalog_volumes(c, id, &v, &n, &e), &e);
        _cleanup_free_ char *manifest = stores_manifest_name(a.origin, id);
        const char *objects[] = {v[0].object, manifest, "archives/gone/old"};
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
                add_litter(c, a.store_url, a.store_id, objects[i]);
        add_litter(c, a.store_url, "another", "archives/other/old"); /* at another time */
        tree_sh("cd $T/remote/objects/archives && mkdir gone other && touch gone/old other/old");
        sweep(h, c);
        free(v);
        catalog_archive_done(&a);
        catalog_close(c);
        tree_sh("test ! -e $T/remote/objects/archives/gone && ls $T/remote/objects/manifests/*/*");
        tree_sh("test -e $T/remote/objects/archives/other/old");
        tree_sh("test $(sqlite3 $T/data/catalog.db 'select store_id from litter') = another");
        home_check_stored(h, id);
        free(id);
}

static void in_doubt_an_upload_is_kept(void **state)
{
        struct home *h = *state;
        struct catalog *c;
        struct catalog_archive a = {0};
        home_stage(1);
        char *id = home_commit(h);
        open_row(h, id, &c, &a);
        _cleanup_free_ char *object = stores_volume_name(a.origin, "gone", 1, ".tar.xz");
        _cleanup_free_ char *name = put_upload(h, object);
        add_litter(c, a.store_url, a.store_id, "");
        tree_sh("sqlite3 $T/data/catalog.db 'alter table volume rename to away'");
        sweep(h, c);
        assert_int_equal(access(name, F_OK), 0);
        tree_sh("sqlite3 $T/data/catalog.db 'alter table away rename to volume'");
        add_litter(c, a.store_url, a.store_id, "");
        sweep(h, c);
        assert_int_equal(access(name, F_OK), -1);
        catalog_archive_done(&a);
        catalog_close(c);
        free(id);
}

/* Other uploads have a row that says whether they are wanted. */
static void upload_of_a_manifest_is_swept_once_its_archive_is_taken_back(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        struct catalog *c;
        struct catalog_archive a = {0};
        home_stage(1);
        char *id = home_commit(h);
        open_row(h, id, &c, &a);
        _cleanup_free_ char *manifest = stores_manifest_name(a.origin, id);
        _cleanup_free_ char *name = put_upload(h, manifest);
        for (unsigned taken_back = 0; taken_back < 2; taken_back++) {
                if (taken_back)
                        home_must(catalog_archive_want_abort(c, id, &e), &e);
                add_litter(c, a.store_url, a.store_id, "");
                sweep(h, c);
                assert_int_equal(access(name, F_OK) == 0, !taken_back);
        }
        catalog_archive_done(&a);
        catalog_close(c);
        free(id);
}

static void an_upload_that_the_store_forgot_is_begun_anew(void **state)
{
        struct home *h = *state;
        home_stage(30);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        pthread_t t;
        tree_sh("echo finish 11 > $T/remote/fail");
        pthread_create(&t, NULL, home_run_job, &j);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm -r $T/remote/uploads/*; rm $T/remote/fail");
        pthread_join(t, NULL);
        if (j.result != 0)
                fail_msg("%d %s", j.result, j.e.text);
        home_check_stored(h, id);
        free(id);
}

static void a_spool_that_lost_a_volume_packs_it_again(void **state)
{
        struct home *h = *state;
        if (!home_has_crash_points())
                return;
        home_stage(36);
        char *id = home_commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        home_run_killed(h, id, "volume-packed:2");
        tree_sh("rm $T/remote/fail; rm $T/data/spool/*-0001.esdk");
        home_run(h, id);
        home_check_stored(h, id);
        free(id);
}

static void a_spool_that_rots_packs_again(void **state)
{
        struct home *h = *state;
        if (!home_has_crash_points())
                return;
        home_stage(36);
        char *id = home_commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        home_run_killed(h, id, "volume-packed:1");
        tree_sh("rm $T/remote/fail; printf 'spoiled by a test' | dd of=$(ls "
                "$T/data/spool/*-0001.esdk) bs=1 "
                "seek=5000000 conv=notrunc status=none");
        struct err e = {0};
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        home_run(h, id);
        home_check_stored(h, id);
        free(id);
}

static void stopped_it_goes_on_where_it_was(void **state)
{
        struct home *h = *state;
        home_stage(30);
        char *id = home_commit(h);
        struct err e = {0};
        tree_sh("echo finish 11 > $T/remote/fail");
        home_must(engine_start(h->engine, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "the service is away"));
        home_close(h); /* stops the worker */
        tree_sh("rm $T/remote/fail; test -n \"$(ls -A $T/data/spool)\"");
        home_open(h);
        home_run(h, id);
        tree_sh("grep -q ^resume $T/remote/log");
        home_check_stored(h, id);
        free(id);
}

static void a_disk_without_room_for_the_spool_is_waited_for(void **state)
{
        struct home *h = *state;
        if (!tree_is_root() ||
                tree_status("mount -t tmpfs -o size=10M none $T/data/spool 2>/dev/null") != 0)
                return;
        home_stage(22);
        char *id = home_commit(h);
        struct err e = {0};
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        assert_true(home_is(h, id, ARCHIVE_WAITING, "room on the disk"));
        tree_sh("mount -o remount,size=25M $T/data/spool");
        home_run(h, id);
        home_check_stored(h, id);
        tree_sh("umount $T/data/spool");
        free(id);
}

static void a_service_that_is_away_at_first_is_waited_for(void **state)
{
        struct home *h = *state;
        home_stage(1);
        char *id = home_commit(h);
        struct err e = {0};
        tree_sh("echo '* 11' > $T/remote/fail");
        assert_int_equal(engine_run(h->engine, id, &e), -EAGAIN);
        assert_true(home_is(h, id, ARCHIVE_WAITING, "the service is away"));
        tree_sh("rm $T/remote/fail");
        home_run(h, id);
        home_check_stored(h, id);
        free(id);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)
                T(a_service_that_is_away_is_waited_for_in_words),
                T(with_patience_a_service_that_stays_away_is_left_to_others),
                T(a_job_that_only_waits_gives_way_to_another),
                T(a_job_without_a_readable_configuration_says_so_and_waits),
                T(a_job_without_a_readable_configuration_is_taken_back_all_the_same),
                T(a_job_whose_lock_cannot_be_made_says_so_and_waits),
                T(taken_back_while_the_service_is_away_it_is_back_at_once),
                T(taken_back_it_leaves_nothing_in_the_store),
                T(stored_it_stays_so_while_the_cleaning_up_waits),
                T(what_is_in_use_is_never_swept),
                T(in_doubt_an_upload_is_kept),
                T(upload_of_a_manifest_is_swept_once_its_archive_is_taken_back),
                T(an_upload_that_the_store_forgot_is_begun_anew),
                T(a_spool_that_lost_a_volume_packs_it_again),
                T(a_spool_that_rots_packs_again),
                T(stopped_it_goes_on_where_it_was),
                T(a_disk_without_room_for_the_spool_is_waited_for),
                T(a_service_that_is_away_at_first_is_waited_for),
        };
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        return cmocka_run_group_tests(tests, home_make_keys, home_remove_keys);
}
