/* Commits to a store that is reached over a network go through the spool: killed at any point, many
 * times its size, in the hours that are allowed. */
#include "clock.h"
#include "spool.h"
#include "spool_home.h"

#include <pthread.h>
#include <time.h>

/* ---- killed ---- */

static void killed_at_any_point_it_is_stored_once(void **state)
{
        static const char *const points[] = {"volume-begin", "part-spooled", "part-recorded:3",
                "upload-begun", "upload-recorded", "part-sent", "part-sent:7", "volume-written",
                "volume-packed", "volume-packed:2", "volume-confirmed", "volume-done",
                "volume-confirmed:2", "packed", "manifest-stored", "stored"};
        struct home *h = *state;
        if (!home_has_crash_points())
                return;
        for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
                home_stage(22);
                char *id = home_commit(h);
                home_run_killed(h, id, points[i]);
                home_run(h, id);
                print_message("%s\n", points[i]);
                home_check_stored(h, id);
                tree_sh("test $(ls $T/remote/objects/archives/*/* | wc -l) = 2"); /* none is empty
                                                                                   */
                tree_sh("rm -rf $T/src $T/remote/objects/archives $T/remote/log");
                free(id);
        }
}

/* After everything is packed, each further kill costs at most the parts in flight. */
static void no_part_of_a_packed_volume_is_sent_twice(void **state)
{
        struct home *h = *state;
        if (!home_has_crash_points())
                return;
        home_configure(h, ", \"VOLUME_SIZE\": \"20MiB\", \"SPOOL_LIMIT\": \"1GiB\", "
                          "\"UPLOAD_CONCURRENCY\": 1, \"UPLOAD_WINDOW\": \"00:00-00:00\"");
        home_stage(36);
        char *id = home_commit(h);
        tree_sh("echo put_part 11 > $T/remote/fail");
        home_run_killed(h, id, "volume-packed:2"); /* all but the end is in the spool */
        tree_sh("rm $T/remote/fail");
        for (int i = 0; i < 8; i++)
                home_run_killed(h, id, "part-sent:3");
        home_run(h, id);
        /* Only volumes 1 and 2 were packed then. */
        if (getenv("KEEP"))
                tree_sh("cp $T/remote/log $KEEP");
        tree_sh("grep ^part $T/remote/log | grep -e -0001 -e -0002 | cut -d' ' -f1-3 | sort | uniq "
                "-d > $T/twice; test ! -s $T/twice");
        home_check_stored(h, id);
        free(id);
}

/* A link that leads nowhere, into which no pattern has crept that would make it smaller. */
static void make_link(unsigned number, unsigned len)
{
        char target[4096], path[128];
        for (unsigned i = 0; i < len; i++)
                target[i] = (char)(i % 200 == 199 ? '/' : 'a' + random() % 26);
        target[len] = 0;
        (void)snprintf(path, sizeof path, "%s/src/%u", getenv("T"), number);
        assert_int_equal(symlink(target, path), 0);
}

static void a_manifest_of_several_parts_is_whole(void **state)
{
        struct home *h = *state;
        tree_sh("mkdir $T/src");
        for (unsigned i = 0; i < 700; i++)
                make_link(i, 4000);
        tree_sh("cp -a $T/src $T/data/staging/current/src");
        char *id = home_commit(h);
        home_run(h, id);
        tree_sh("grep '^part manifests/' $T/remote/log | cut -d' ' -f3,4 > $T/parts; "
                "test $(wc -l < $T/parts) -ge 2 && test $(grep -vc ' 1048576$' $T/parts) = 1");
        home_check_stored(h, id);
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
        home_must(spool_open(data, "none", &spool, &e), &e);
        while (!atomic_load(&watched_enough)) {
                uint64_t now = spool_used(spool);
                most = MAX(most, now);
                (void)usleep(10000);
        }
        spool_close(spool);
        return &most;
}

/* Ten links stand for the same folder: archived ten times, staged none. */
static void a_commit_ten_times_the_spool_goes_through(void **state)
{
        struct home *h = *state;
        home_stage(43);
        tree_sh("rm -r $T/data/staging/current/src; "
                "for i in 0 1 2 3 4 5 6 7 8 9; do ln -s $T/src $T/data/staging/current/$i; done");
        char *id = home_commit(h);
        pthread_t t;
        pthread_create(&t, NULL, watch_spool, h);
        home_run(h, id);
        atomic_store(&watched_enough, true);
        void *most;
        pthread_join(t, &most);
        if (*(uint64_t *)most > 43 * MiB)
                fail_msg("the spool held %llu bytes", (unsigned long long)*(uint64_t *)most);
        tree_sh("test $(cat $T/remote/objects/archives/*/* | wc -c) -gt 419430400");
        home_restore(h, id);
        tree_sh("for i in 0 1 2 3 4 5 6 7 8 9; do diff -r $T/src $T/back/$i || exit; done");
        home_is_clean();
        free(id);
}

/* ---- the daily window ---- */

#define AN_HOUR_NS (3600 * CLOCK_NSEC)
#define A_DAY      (24 * AN_HOUR_NS)

/* Where `on`, the wall shows the second hour of the day until so many parts have come, and then the
 * third; in Greenwich, where no day is longer than another. */
static struct {
        atomic_bool on, open;
        atomic_uint day, until_parts;
} wall;

int64_t __real_clock_now(void);
int64_t __wrap_clock_now(void);

static unsigned parts_sent(void)
{
        char path[128], line[1024];
        unsigned n = 0;
        (void)snprintf(path, sizeof path, "%s/remote/log", getenv("T"));
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
                n += startswith(line, "part archives/") != NULL;
        if (f)
                (void)fclose(f);
        return n;
}

int64_t __wrap_clock_now(void)
{
        int64_t now = __real_clock_now();
        if (!atomic_load(&wall.on))
                return now;
        if (atomic_load(&wall.open) && parts_sent() >= atomic_load(&wall.until_parts))
                atomic_store(&wall.open, false);
        int64_t hours =
                24 * (1 + (int64_t)atomic_load(&wall.day)) + (atomic_load(&wall.open) ? 2 : 3);
        return now - now % A_DAY + hours * AN_HOUR_NS + now % (60 * CLOCK_NSEC);
}

/* Waits until what may be sent in this hour is, or all of it; true if more is to come. */
static bool the_hour_is_over(struct home *h, const char *id)
{
        for (int64_t end = clock_monotonic() + 120 * CLOCK_NSEC; clock_monotonic() < end;) {
                if (home_is(h, id, ARCHIVE_STORED, ""))
                        return false;
                if (!atomic_load(&wall.open) && home_is(h, id, ARCHIVE_WAITING, "UPLOAD_WINDOW"))
                        return true;
                (void)usleep(20000);
        }
        fail_msg("neither stored nor waiting");
        return false;
}

#define AN_HOUR 9u /* parts, of about 36 */

static void an_hour_a_day_is_enough(void **state)
{
        struct home *h = *state;
        unsigned days = 0;
        home_configure(h, HOME_SMALL ", \"UPLOAD_WINDOW\": \"02:00-03:00\", "
                                     "\"UPLOAD_CONCURRENCY\": 1");
        home_stage(36);
        char *id = home_commit(h);
        struct home_job j = {.h = h, .id = id};
        engine_set_patience(h->engine, CLOCK_NSEC / 10); /* is for stores that are away */
        pthread_t t;
        atomic_store(&wall.on, true);
        pthread_create(&t, NULL, home_run_job, &j);
        while (the_hour_is_over(h, id)) {
                unsigned sent = parts_sent();
                (void)usleep(400000); /* longer than it takes to look again */
                assert_int_equal(parts_sent(), sent);
                assert_int_equal(sent, AN_HOUR * days);
                atomic_store(&wall.until_parts, sent + AN_HOUR);
                atomic_fetch_add(&wall.day, 1);
                atomic_store(&wall.open, true);
                days++;
        }
        pthread_join(t, NULL);
        atomic_store(&wall.on, false);
        home_must(j.result, &j.e);
        assert_in_range(days, 4, 5);
        home_check_stored(h, id);
        free(id);
}

static void outside_the_window_it_is_packed_and_not_sent(void **state)
{
        struct home *h = *state;
        home_shut_window(h);
        home_stage(12);
        char *id = home_commit(h);
        struct err e = {0};
        home_must(engine_start(h->engine, &e), &e);
        assert_true(home_wait(h, id, ARCHIVE_WAITING, "UPLOAD_WINDOW"));
        tree_sh("test -n \"$(ls -A $T/data/spool)\" && ! grep -q ^part $T/remote/log");
        home_configure(h, HOME_SMALL ", \"UPLOAD_WINDOW\": \"00:00-00:00\"");
        home_run(h, id);
        home_check_stored(h, id);
        free(id);
}

static void a_rate_holds_back_what_is_sent(void **state)
{
        struct home *h = *state;
        home_configure(h, HOME_SMALL ", \"UPLOAD_RATE_LIMIT\": \"10MiB\"");
        home_stage(22);
        char *id = home_commit(h);
        int64_t began = clock_monotonic();
        home_run(h, id);
        assert_true(clock_monotonic() - began > 19 * CLOCK_NSEC / 10);
        home_check_stored(h, id);
        free(id);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, home_setup, home_teardown)
                T(killed_at_any_point_it_is_stored_once),
                T(no_part_of_a_packed_volume_is_sent_twice),
                T(a_manifest_of_several_parts_is_whole),
                T(a_commit_ten_times_the_spool_goes_through),
                T(an_hour_a_day_is_enough),
                T(outside_the_window_it_is_packed_and_not_sent),
                T(a_rate_holds_back_what_is_sent),
        };
        setenv("TZ", "UTC0", 1);
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        return cmocka_run_group_tests(tests, home_make_keys, home_remove_keys);
}
