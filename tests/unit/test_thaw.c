/* What people write is understood or refused; a plan names the bytes that are fetched; a restore
 * asks once and looks ever less often. */
#include "thaw.h"
#include "tree_range.h"

#include "home.h"

#include "cache.h"
#include "catalog_restore.h"
#include "clock.h"
#include "content.h"

#include <pthread.h>
#include <time.h>

/* ---- words ---- */

static void words_are_paths_tier_and_price(void **state _unused_)
{
        static const struct {
                const char *text, *tier;
                double max;
                const char *paths; /* joined by '|'; NULL: all */
        } cases[] = {
                {"all\n", NULL, -1, NULL},
                {"bulk all", "bulk", -1, NULL},
                {"standard\n", "standard", -1, NULL},
                {"max=7.50 standard all\n", "standard", 7.5, NULL},
                {"standard max=7.50USD all\n", "standard", 7.5, NULL},
                {"photos/2026\n", NULL, -1, "photos/2026"},
                {"  a\tb  \n c\n", NULL, -1, "a|b|c"},
                {"expedited \"a b\" 'c \"d' e\\ f\n", "expedited", -1, "a b|c \"d|e f"},
                {"\"bulk\" \"all\" 'max=1'\n", NULL, -1, "bulk|all|max=1"},
                {"a bulk\n", NULL, -1, "a|bulk"},
                {"# what reading shows\n#   echo all\n\nx\n# more\ny", NULL, -1, "x|y"},
                {"a#b \"\\\"\\\\\"\n", NULL, -1, "a#b|\"\\"},
                {"\xff\xfe/a\n", NULL, -1, "\xff\xfe/a"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct thaw_words w;
                struct err e = {0};
                if (thaw_words_parse(cases[i].text, strlen(cases[i].text), &w, &e) < 0)
                        fail_msg("%s: %s", cases[i].text, e.text);
                assert_int_equal(w.everything, cases[i].paths == NULL);
                assert_true(w.max_price == cases[i].max);
                assert_string_equal(w.tier ? w.tier : "", cases[i].tier ? cases[i].tier : "");
                for (size_t k = 0; k + 1 < w.paths_len; k++)
                        if (!w.paths[k])
                                w.paths[k] = '|';
                assert_string_equal(
                        w.paths_len > 0 ? w.paths : "", cases[i].paths ? cases[i].paths : "");
                thaw_words_done(&w);
        }
}

static void what_makes_no_sense_is_refused_in_words(void **state _unused_)
{
        static const char *const texts[] = {"", "\n", "  \t\n\n", "# only a comment\n", "max=3\n",
                "all a\n", "a all\n", "\"a\n", "'a", "max= all", "max=x all", "max=-1 all",
                "max=3EUR all", "\"\" a", "max=nan all"};
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct thaw_words w;
                struct err e = {0};
                if (thaw_words_parse(texts[i], strlen(texts[i]), &w, &e) != -EINVAL)
                        fail_msg("taken: %s", texts[i]);
                assert_true(strlen(e.text) > 10);
        }
        struct thaw_words w;
        assert_int_equal(thaw_words_parse("a\0b", 3, &w, NULL), -EINVAL);
}

/* ---- plans ---- */

static int setup(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"none\", \"VOLUME_SIZE\": \"64MiB\"}");
        return 0;
}

static int teardown(void **state)
{
        home_free(*state);
        return 0;
}

static void plan(struct home *h, const char *path, struct thaw_plan *ret)
{
        home_must(h,
                thaw_plan_make(h->catalog, &h->a, path, path ? strlen(path) + 1 : 0, ret, &h->e));
}

struct fetch {
        struct home *h;
        struct content *k;
        int fd;
};

static int fetch_one(void *ctx, const struct catalog_member *m)
{
        const struct fetch *f = ctx;
        return content_fetch(f->k, m, "a file", f->fd, NULL, NULL, &f->h->e);
}

/* Bytes that reading everything in the plan takes from the store. */
static uint64_t fetched(struct home *h, const struct thaw_plan *p)
{
        struct fetch f = {.h = h};
        home_must(h, content_new(h->catalog, h->store, &h->a, seal_unwrap_with_key, h->key, &f.k,
                             &h->e));
        for (size_t i = 0; i < p->n_files; i++) {
                f.fd = open(h->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
                home_must(h, catalog_member_by_row(
                                     h->catalog, p->files[i].member, fetch_one, &f, &h->e));
                (void)close(f.fd); /* only a test's */
        }
        uint64_t n = content_fetched(f.k);
        content_free(f.k);
        return n;
}

/* Each stands under one node of its object's tree, and none is asked for twice. */
static void check_pieces(const struct thaw_plan *p)
{
        uint64_t sum = 0;
        size_t n = 0;
        for (size_t i = 0; i < p->n; i++)
                for (size_t k = 0; k < p->objects[i].n_pieces; k++) {
                        const struct tree_range *r = &p->objects[i].pieces[k];
                        assert_true(tree_range_is_node(r, p->objects[i].size));
                        assert_true(k == 0 || r->start >= r[-1].end);
                        sum += r->end - r->start;
                        n++;
                }
        assert_int_equal(n, p->pieces);
        assert_int_equal(sum, p->range);
        assert_true(p->range >= p->fetch && p->range <= p->thaw);
        assert_true(p->range <= p->fetch + p->fetch / 8 + p->n * 24 * (uint64_t)MiB);
}

static int setup_large(void **state)
{
        *state = home_new("{\"COMPRESSION\": \"none\", \"VOLUME_SIZE\": \"256MiB\"}");
        return 0;
}

static void what_lies_far_between_is_not_asked_for(void **state)
{
        static const char paths[] = "d/1\0d/7";
        struct home *h = *state;
        home_archive(h, "mkdir d; for i in 1 2 3 4 5 6 7; do head -c 14000000 /dev/urandom >d/$i; "
                        "done");
        struct thaw_plan p;
        home_must(h, thaw_plan_make(h->catalog, &h->a, paths, sizeof paths, &p, &h->e));
        assert_int_equal(p.n, 1);
        assert_int_equal(p.n_files, 2);
        check_pieces(&p);
        print_message("%zu pieces, %llu of %llu\n", p.pieces, (unsigned long long)p.range,
                (unsigned long long)p.thaw);
        assert_true(p.range < 70 * (uint64_t)MiB);
        thaw_plan_done(&p);
        plan(h, NULL, &p);
        assert_int_equal(p.pieces, 1); /* the whole object is one node */
        assert_int_equal(p.range, p.thaw);
        thaw_plan_done(&p);
}

static void a_plan_names_what_is_fetched(void **state)
{
        struct home *h = *state;
        home_archive(h,
                "mkdir d; for i in 1 2 3 4 5; do head -c 14000000 /dev/urandom >d/$i; done; "
                "head -c 1000 /dev/urandom >small; ln d/3 link; touch none; ln -s x sym");
        static const struct {
                const char *path;
                size_t files;
                uint64_t bytes;
        } cases[] = {{"d/1", 1, 14000000}, {"d/4", 1, 14000000}, {"d", 5, 70000000},
                {"small", 1, 1000}, {"link", 1, 14000000}, {"none", 0, 0}, {"sym", 0, 0},
                {NULL, 6, 70001000}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct thaw_plan p;
                plan(h, cases[i].path, &p);
                uint64_t got = fetched(h, &p);
                print_message("%s: %zu objects, %llu planned, %llu fetched\n",
                        cases[i].path ? cases[i].path : "all", p.n, (unsigned long long)p.fetch,
                        (unsigned long long)got);
                assert_int_equal(p.n_files, cases[i].files);
                assert_int_equal(p.bytes, cases[i].bytes);
                assert_true(got <= p.fetch);
                assert_true(p.fetch <= got + 2 * (uint64_t)MiB);
                assert_true(p.fetch <= p.bytes + 40 * (uint64_t)MiB);
                assert_true(p.thaw >= p.fetch && p.thaw >= got); /* no byte twice */
                check_pieces(&p);
                thaw_plan_done(&p);
        }
}

static void what_has_no_room_is_refused_before_it_is_paid_for(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo a >a");
        struct thaw_plan p;
        plan(h, "a", &p);
        home_must(h, thaw_room_in_folder(&p, h->path, &h->e));
        home_must(h, thaw_room_in_cache(h->catalog, &p, h->path, 0, &h->e));
        p.files[0].size = UINT64_MAX / 2; /* mostly a hole */
        home_must(h, thaw_room_in_folder(&p, h->path, &h->e));
        p.files[0].tar_len = UINT64_MAX / 2;
        _cleanup_free_ char *deep = io_join(h->path, "not/made/yet");
        assert_int_equal(thaw_room_in_folder(&p, deep, &h->e), -ENOSPC);
        assert_int_equal(thaw_room_in_cache(h->catalog, &p, h->path, 0, &h->e), -ENOSPC);
        assert_non_null(strstr(h->e.text, "a needs "));
        home_must(h, thaw_room_in_cache(h->catalog, &p, h->path, UINT64_MAX, &h->e));
        thaw_plan_done(&p);
}

static void paths_are_taken_as_people_write_them(void **state)
{
        struct home *h = *state;
        home_archive(h, "mkdir d files; echo a >d/a; echo b >files/b; echo c >c");
        static const struct {
                const char *written, *plain;
        } cases[] = {{"d/a", "d/a"}, {"/d/a", "d/a"}, {"./d//", "d"}, {"files/d/a", "d/a"},
                {"files/b", "files/b"}, {"files", "files"}};
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char *got = NULL;
                size_t len;
                home_must(h, thaw_paths_plain(h->catalog, h->a.id, cases[i].written,
                                     strlen(cases[i].written) + 1, &got, &len, &h->e));
                assert_string_equal(got, cases[i].plain);
                free(got);
        }
        char *got = NULL;
        size_t len;
        assert_int_equal(
                thaw_paths_plain(h->catalog, h->a.id, "d/b", 4, &got, &len, &h->e), -ENOENT);
        assert_non_null(strstr(h->e.text, "d/b"));
        static const char twice[] = "d/a\0c\0./d/a";
        home_must(h, thaw_paths_plain(h->catalog, h->a.id, twice, sizeof twice, &got, &len, &h->e));
        assert_int_equal(len, 6);
        assert_memory_equal(got, "c\0d/a", 6);
        free(got);
        static const char top[] = "d/a\0/";
        home_must(h, thaw_paths_plain(h->catalog, h->a.id, top, sizeof top, &got, &len, &h->e));
        assert_int_equal(len, 0);
        free(got);
}

/* ---- the record ---- */

static int64_t ask(struct home *h, const char *path)
{
        const struct engine_restore_wish w = {.id = h->a.id,
                .paths = path,
                .paths_len = path ? strlen(path) + 1 : 0,
                .max_price = -1};
        int64_t row;
        home_must(h, engine_restore(h->engine, &w, &row, NULL, &h->e));
        return row;
}

static void a_store_that_is_not_cold_is_ready_at_once(void **state)
{
        struct home *h = *state;
        const atomic_bool stop = false;
        struct catalog_restore r;
        home_archive(h, "mkdir d; echo a >d/a; echo b >b");
        int64_t row = ask(h, "d");
        home_must(h, engine_restore_run(h->engine, row, false, NULL, NULL, &stop, &r, &h->e));
        assert_int_equal(r.state, RESTORE_READY);
        assert_int_equal(r.done_files, 1);
        assert_int_equal(r.done_bytes, 2);
        assert_true(r.ready_until > clock_now() + 6 * 86400 * CLOCK_NSEC);
        assert_int_equal(catalog_restore_covers(h->catalog, h->a.id, "d/a", clock_now(), &h->e), 1);
        assert_int_equal(catalog_restore_covers(h->catalog, h->a.id, "d", clock_now(), &h->e), 1);
        assert_int_equal(catalog_restore_covers(h->catalog, h->a.id, "b", clock_now(), &h->e), 0);
        assert_int_equal(
                catalog_restore_covers(h->catalog, h->a.id, "d/a", r.ready_until, &h->e), 0);
        catalog_restore_done(&r);
}

#ifdef CRASH_POINTS

static struct catalog_restore look(struct home *h, int64_t row)
{
        struct catalog_restore r;
        home_must(h, catalog_restore_get(h->catalog, row, &r, &h->e));
        return r;
}

static int setup_cold(void **state)
{
        struct home *h = home_new("{\"COMPRESSION\": \"none\"}");
        char *url = NULL;
        assert_true(asprintf(&url, "cold:delay=1000/dir:%s/disk", h->path) > 0);
        free(h->config->vault);
        h->config->vault = url;
        home_must(h, engine_prepare(h->engine, NULL, &h->e));
        *state = h;
        return 0;
}

static unsigned asked(void)
{
        return (unsigned)tree_status("exit $(grep -c ^thaw $T/disk.cold/requests)");
}

static struct thaw_env env_of(struct home *h, struct cache *k)
{
        return (struct thaw_env){.config = h->config,
                .catalog = h->catalog,
                .cache = k,
                .locks_fd = open(h->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                .unwrap = seal_unwrap_with_key,
                .unwrap_ctx = h->key};
}

struct patience {
        unsigned shown;
        atomic_bool stop;
};

static void stop_at_the_third(void *ctx, _unused_ const struct catalog_restore *r)
{
        struct patience *p = ctx;
        if (++p->shown == 3)
                atomic_store(&p->stop, true);
}

static void who_waits_looks_no_oftener_than_a_mount_does(void **state)
{
        struct home *h = *state;
        struct patience p = {0};
        struct catalog_restore r;
        home_archive(h, "echo a >a");
        int64_t row = ask(h, NULL);
        home_must(h, engine_restore_run(h->engine, row, false, NULL, NULL, &p.stop, &r, &h->e));
        assert_int_equal(r.state, RESTORE_THAWING);
        r.tries = 40;
        home_must(h, catalog_restore_update(h->catalog, &r, &h->e));
        catalog_restore_done(&r);
        home_must(h, engine_restore_run(
                             h->engine, row, true, stop_at_the_third, &p, &p.stop, &r, &h->e));
        assert_true(p.shown >= 3);
        assert_int_equal(r.tries, 41); /* the first look, and the next is ten minutes later */
        catalog_restore_done(&r);
}

static void looks_get_rarer_and_are_never_further_apart_than_ten_minutes(void **state)
{
        struct home *h = *state;
        _cleanup_(cache_closep) struct cache *k = NULL;
        home_archive(h, "echo a >a");
        int64_t row = ask(h, NULL), before = 0;
        home_must(h, cache_open(h->path, MiB, &k, &h->e));
        const struct thaw_env env = env_of(h, k);
        for (unsigned i = 0; i < 30; i++) {
                int64_t began = clock_now();
                home_must(h, thaw_run(&env, row, &h->e));
                int64_t ended = clock_now();
                struct catalog_restore r = look(h, row);
                assert_int_equal(r.state, RESTORE_THAWING);
                if (i > 1 && before < 300 * CLOCK_NSEC)
                        assert_true(r.retry_at - began > before);
                before = r.retry_at - ended; /* or a little longer */
                assert_true(before <= 600 * CLOCK_NSEC);
                catalog_restore_done(&r);
        }
        assert_true(before > 500 * CLOCK_NSEC);
        assert_int_equal(asked(), 1);
}

static void restores_of_one_object_share_one_request(void **state)
{
        struct home *h = *state;
        _cleanup_(cache_closep) struct cache *k = NULL;
        home_archive(h, "echo a >a; echo b >b; echo c >c");
        home_must(h, cache_open(h->path, MiB, &k, &h->e));
        const struct thaw_env env = env_of(h, k);
        const int64_t rows[] = {ask(h, "a"), ask(h, "b"), ask(h, NULL)};
        assert_int_equal(ask(h, "a"), rows[0]); /* the same again is the same */
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                home_must(h, thaw_run(&env, rows[i], &h->e));
                struct catalog_restore r = look(h, rows[i]);
                assert_int_equal(r.state, RESTORE_THAWING);
                catalog_restore_done(&r);
        }
        assert_int_equal(asked(), 1);
}

struct runner {
        struct home *h;
        struct thaw_env env;
        int64_t row;
        pthread_t thread;
};

static void *run_one(void *arg)
{
        struct runner *r = arg;
        struct err e = {0};
        if (engine_catalog(r->h->engine, &r->env.catalog, &e) < 0 ||
                thaw_run(&r->env, r->row, &e) < 0)
                fail_msg("%s", e.text);
        catalog_close(r->env.catalog);
        return NULL;
}

static void restores_that_begin_at_the_same_moment_ask_once(void **state)
{
        struct home *h = *state;
        _cleanup_(cache_closep) struct cache *k = NULL;
        struct runner r[6];
        static const char *const paths[] = {"a", "b", "c", "d", "e", "f"};
        home_must(h, cache_open(h->path, MiB, &k, &h->e));
        for (unsigned round = 1; round <= 3; round++) {
                home_archive(h, "for i in a b c d e f; do echo $i >$i; done");
                for (size_t i = 0; i < ARRAY_SIZE(r); i++)
                        r[i] = (struct runner){
                                .h = h, .env = env_of(h, k), .row = ask(h, paths[i])};
                for (size_t i = 0; i < ARRAY_SIZE(r); i++)
                        assert_int_equal(pthread_create(&r[i].thread, NULL, run_one, &r[i]), 0);
                for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
                        pthread_join(r[i].thread, NULL);
                        (void)close(r[i].env.locks_fd); /* only locked */
                }
                assert_int_equal(asked(), round);
        }
}

static void a_cancelled_restore_ends_and_may_be_asked_again(void **state)
{
        struct home *h = *state;
        _cleanup_(cache_closep) struct cache *k = NULL;
        home_archive(h, "echo a >a");
        home_must(h, cache_open(h->path, MiB, &k, &h->e));
        const struct thaw_env env = env_of(h, k);
        int64_t row = ask(h, NULL);
        home_must(h, thaw_run(&env, row, &h->e));
        home_must(h, engine_restore_cancel(h->engine, h->a.id, NULL, &h->e));
        home_must(h, thaw_run(&env, row, &h->e));
        struct catalog_restore r = look(h, row);
        assert_int_equal(r.state, RESTORE_CANCELLED);
        catalog_restore_done(&r);
        int64_t again = ask(h, NULL);
        assert_int_not_equal(again, row);
        home_must(h, catalog_archive_set_state(h->catalog, h->a.id, ARCHIVE_DELETED, "", 0, &h->e));
        home_must(h, thaw_run(&env, again, &h->e));
        r = look(h, again);
        assert_int_equal(r.state, RESTORE_CANCELLED);
        catalog_restore_done(&r);
}

static void above_the_limit_the_price_must_have_been_said(void **state)
{
        struct home *h = *state;
        home_archive(h, "head -c 3000000 /dev/urandom >a");
        h->config->cost_limit = 0.0001;
        struct engine_restore_wish w = {.id = h->a.id, .max_price = -1};
        int64_t row;
        assert_int_equal(engine_restore(h->engine, &w, &row, NULL, &h->e), -EDQUOT);
        assert_non_null(strstr(h->e.text, "max=0.01"));
        w.max_price = 0.0002;
        assert_int_equal(engine_restore(h->engine, &w, &row, NULL, &h->e), -EDQUOT);
        w.max_price = 0.01;
        home_must(h, engine_restore(h->engine, &w, &row, NULL, &h->e));
        w.tier = "expedited"; /* DEEP_ARCHIVE has none */
        assert_int_equal(engine_restore(h->engine, &w, &row, NULL, &h->e), -EINVAL);
        assert_non_null(strstr(h->e.text, "bulk, standard"));
}

#endif

#define T(f)    cmocka_unit_test_setup_teardown(f, setup, teardown)
#define COLD(f) cmocka_unit_test_setup_teardown(f, setup_cold, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(words_are_paths_tier_and_price),
                cmocka_unit_test(what_makes_no_sense_is_refused_in_words),
                T(a_plan_names_what_is_fetched),
                cmocka_unit_test_setup_teardown(
                        what_lies_far_between_is_not_asked_for, setup_large, teardown),
                T(what_has_no_room_is_refused_before_it_is_paid_for),
                T(paths_are_taken_as_people_write_them),
                T(a_store_that_is_not_cold_is_ready_at_once),
#ifdef CRASH_POINTS
                COLD(who_waits_looks_no_oftener_than_a_mount_does),
                COLD(looks_get_rarer_and_are_never_further_apart_than_ten_minutes),
                COLD(restores_of_one_object_share_one_request),
                COLD(restores_that_begin_at_the_same_moment_ask_once),
                COLD(a_cancelled_restore_ends_and_may_be_asked_again),
                COLD(above_the_limit_the_price_must_have_been_said),
#endif
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
