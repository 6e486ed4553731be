/* The whole way without a mount: stage, commit, store, restore, compare. */
#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "keys.h"
#include "restore.h"
#include "seal.h"
#include "staging.h"
#include "store.h"
#include "stores.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>

struct home {
        char path[64];
        struct config *config;
        struct engine *engine;
};

static void run(const char *fmt, ...) _printf_(1, 2);
static void run(const char *fmt, ...)
{
        char cmd[2048];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(cmd, sizeof cmd, fmt, ap);
        va_end(ap);
        if (system(cmd) != 0)
                fail_msg("failed: %s", cmd);
}

static void must(int q, const struct err *e)
{
        if (q < 0)
                fail_msg("%d: %s", q, e->text);
}

static void open_engine(struct home *h)
{
        struct err e = {0};
        must(engine_open(h->config, ENGINE_MOUNT, "/mnt/none", &h->engine, &e), &e);
        must(engine_prepare(h->engine, NULL, &e), &e);
}

static void write_config(const struct home *h, const char *json)
{
        char path[128];
        (void)snprintf(path, sizeof path, "%s/CONFIG.json", h->path);
        struct err e = {0};
        must(io_write_file(AT_FDCWD, path, 0600, json, strlen(json), &e), &e);
}

static int setup_with(void **state, const char *json)
{
        struct home *h = calloc(1, sizeof *h);
        (void)snprintf(h->path, sizeof h->path, "/tmp/ag-commit-XXXXXX");
        assert_non_null(mkdtemp(h->path));
        setenv("AUTOGLACIER_HOME", h->path, 1);
        write_config(h, json);
        struct err e = {0};
        must(config_load(NULL, &h->config, &e), &e);
        open_engine(h);
        *state = h;
        return 0;
}

static int setup(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"zstd\"}");
}

static int setup_small_volumes(void **state)
{
        return setup_with(state, "{\"COMPRESSION\": \"none\", \"VOLUME_SIZE\": \"64MiB\"}");
}

static int teardown(void **state)
{
        struct home *h = *state;
        engine_close(h->engine);
        config_free(h->config);
        run("chmod -R u+rwX %s; rm -rf %s", h->path, h->path);
        free(h);
        return 0;
}

static char *commit(struct home *h, const char *text)
{
        struct err e = {0};
        char *id = NULL;
        must(engine_commit(h->engine, text, strlen(text), NULL, &id, &e), &e);
        must(engine_commit_seal(h->engine, id, &e), &e);
        return id;
}

static int run_job(struct home *h, const char *id, struct err *e)
{
        return engine_run(h->engine, id, e);
}

static void restore_all(struct home *h, const char *id, const char *to)
{
        struct err e = {0};
        struct catalog *c;
        struct store *s;
        struct catalog_archive a = {0};
        struct keys_private *key;
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
}

static enum archive_state state_of(struct home *h, const char *id)
{
        struct err e = {0};
        struct catalog *c;
        struct catalog_archive a = {0};
        must(engine_catalog(h->engine, &c, &e), &e);
        must(catalog_archive_get(c, id, &a, &e), &e);
        enum archive_state s = a.state;
        catalog_archive_done(&a);
        catalog_close(c);
        return s;
}

static void stage_tree(struct home *h)
{
        run("set -e; cd %s/data/staging/current; mkdir -p a/b 'odd\n name'; echo hello > a/b/f; ln "
            "a/b/f a/hard;"
            "ln -s b/f a/soft; : > a/empty; truncate -s 3M a/sparse; printf x | dd of=a/sparse "
            "bs=1 seek=2000000 conv=notrunc status=none;"
            "head -c 3000000 /dev/urandom > a/noise; printf 'z\\377' > \"$(printf "
            "'bad\\377name')\"; chmod 000 a/noise; touch -d '1990-01-01 00:00:00.123456789' a/b/f",
                h->path);
}

static void a_staged_tree_comes_back_identical(void **state)
{
        struct home *h = *state;
        stage_tree(h);
        run("chmod 600 %s/data/staging/current/a/noise; cp -a %s/data/staging/current %s/copy; "
            "chmod 000 %s/copy/a/noise %s/data/staging/current/a/noise",
                h->path, h->path, h->path, h->path, h->path);
        char *id = commit(h, "a tree");
        struct err e = {0};
        int q = run_job(h, id, &e);
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        assert_int_equal(state_of(h, id), ARCHIVE_STORED);
        char to[128];
        (void)snprintf(to, sizeof to, "%s/back", h->path);
        restore_all(h, id, to);
        run("chmod 600 %s/back/a/noise %s/copy/a/noise; diff -r --no-dereference %s/copy %s/back",
                h->path, h->path, h->path, h->path);
        run("test $(stat -c %%i %s/back/a/hard) = $(stat -c %%i %s/back/a/b/f)", h->path, h->path);
        run("test \"$(stat -c %%y %s/back/a/b/f)\" = \"$(stat -c %%y %s/copy/a/b/f)\"", h->path,
                h->path);
        run("test -z \"$(ls -A %s/data/staging/current)\"", h->path);
        run("test \"$(ls -A %s/data/staging)\" = current", h->path);
        run("test -z \"$(ls -A %s/data/spool)\"", h->path);
        free(id);
}

static void several_volumes_come_back_identical(void **state)
{
        struct home *h = *state;
        run("cd %s/data/staging/current; head -c 200000000 /dev/urandom > big; for i in 1 2 3 4 5; "
            "do head -c 10000000 /dev/urandom > f$i; done; cp -a . %s/copy",
                h->path, h->path);
        char *id = commit(h, "volumes");
        struct err e = {0};
        int q = run_job(h, id, &e);
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        run("test $(ls %s/data/store/archives/*/*.esdk | wc -l) -ge 4", h->path);
        char to[128];
        (void)snprintf(to, sizeof to, "%s/back", h->path);
        restore_all(h, id, to);
        run("diff -r --no-dereference %s/copy %s/back", h->path, h->path);
        free(id);
}

static void nothing_staged_is_enodata(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        char *id = NULL;
        assert_int_equal(engine_commit(h->engine, "x", 1, NULL, &id, &e), -ENODATA);
        run("test \"$(ls -A %s/data/staging)\" = current", h->path);
}

static void a_fifo_goes_back_and_the_archive_is_incomplete(void **state)
{
        struct home *h = *state;
        run("cd %s/data/staging/current; mkdir d; mkfifo d/pipe; echo x > d/f", h->path);
        char *id = commit(h, "pipe");
        struct err e = {0};
        assert_int_equal(run_job(h, id, &e), 1);
        assert_int_equal(state_of(h, id), ARCHIVE_INCOMPLETE);
        run("test -p %s/data/staging/current/d/pipe; test ! -e %s/data/staging/current/d/f",
                h->path, h->path);
        free(id);
}

static void what_is_taken_back_is_in_the_staging_area_again(void **state)
{
        struct home *h = *state;
        run("echo x > %s/data/staging/current/f", h->path);
        char *id = commit(h, "no");
        struct err e = {0};
        must(engine_abort(h->engine, id, &e), &e);
        run("test \"$(cat %s/data/staging/current/f)\" = x; test \"$(ls -A %s/data/staging)\" = "
            "current",
                h->path, h->path);
        free(id);
}

static void a_store_that_vanished_is_waited_for(void **state)
{
        struct home *h = *state;
        run("echo x > %s/data/staging/current/f; mv %s/data/store %s/away", h->path, h->path,
                h->path);
        char *id = commit(h, "gone");
        struct err e = {0};
        assert_int_equal(run_job(h, id, &e), -EAGAIN);
        assert_int_equal(state_of(h, id), ARCHIVE_WAITING);
        run("mv %s/away %s/data/store", h->path, h->path);
        int q = run_job(h, id, &e);
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        assert_int_equal(state_of(h, id), ARCHIVE_STORED);
        free(id);
}

static void files_by_name_are_archived_and_stay(void **state)
{
        struct home *h = *state;
        run("mkdir %s/src; echo one > %s/src/one; echo two > %s/src/two", h->path, h->path,
                h->path);
        char src[128];
        (void)snprintf(src, sizeof src, "%s/src", h->path);
        const char *files[] = {src, NULL};
        struct err e = {0};
        char *id = NULL;
        must(engine_backup(h->engine, "by name", files, &id, &e), &e);
        int q = run_job(h, id, &e);
        if (q != 0)
                fail_msg("%d %s", q, e.text);
        char to[128];
        (void)snprintf(to, sizeof to, "%s/back", h->path);
        restore_all(h, id, to);
        run("diff -r %s/src %s/back%s/src; test -z \"$(ls -A %s/data/spool)\"", h->path, h->path,
                h->path, h->path);
        free(id);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        a_staged_tree_comes_back_identical, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        several_volumes_come_back_identical, setup_small_volumes, teardown),
                cmocka_unit_test_setup_teardown(nothing_staged_is_enodata, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        a_fifo_goes_back_and_the_archive_is_incomplete, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        what_is_taken_back_is_in_the_staging_area_again, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        a_store_that_vanished_is_waited_for, setup, teardown),
                cmocka_unit_test_setup_teardown(
                        files_by_name_are_archived_and_stay, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
