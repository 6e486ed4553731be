/* Four threads of one program archive, list and restore at once, from the very first use on. */
#include <autoglacier.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS = 4, TIMES = 2 };

struct home {
        char path[64], file[96], globs[96];
};

static void run(const char *fmt, const char *path)
{
        char cmd[512];
        (void)snprintf(cmd, sizeof cmd, fmt, path, path, path);
        assert_int_equal(system(cmd), 0);
}

static int setup(void **state)
{
        struct home *h = calloc(1, sizeof *h);
        (void)snprintf(h->path, sizeof h->path, "/tmp/ag-threads-XXXXXX");
        assert_non_null(mkdtemp(h->path));
        (void)snprintf(h->file, sizeof h->file, "%s/file", h->path);
        (void)snprintf(h->globs, sizeof h->globs, "%s/f*", h->path);
        run("cd %s; echo content > file; echo '{\"COMPRESSION\": \"zstd\", "
            "\"COMPRESSION_WORKERS\": 1, "
            "\"JSON_DATABASE\": \"log.json\"}' > CONFIG.json",
                h->path);
        setenv("AUTOGLACIER_HOME", h->path, 1);
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        struct home *h = *state;
        run("rm -rf %s", h->path);
        free(h);
        return 0;
}

static int count_archive(void *ctx, const struct agl_archive *a)
{
        *(int *)ctx += strcmp(a->state, "stored") == 0;
        return 0;
}

static int count_file(void *ctx, const struct agl_file *f)
{
        *(int *)ctx += f->type == 'f' && f->size == 8 && f->sha512 != NULL;
        return 0;
}

struct thread {
        const struct home *home;
        int number;
        char why[1200];
};

static int once(struct thread *t, struct agl *a, int i)
{
        struct agl_error e = {0};
        const char *globs[] = {t->home->globs, NULL};
        const struct agl_job job = {.size = sizeof job, .description = "many", .globs = globs};
        char *name = NULL, to[128];
        int archives = 0, files = 0;
        (void)snprintf(to, sizeof to, "%s/back-%d-%d", t->home->path, t->number, i);
        const struct agl_restore back = {.size = sizeof back, .to = to};
        struct agl_restore r = back;
        int q = agl_backup(a, &job, &name, &e);
        r.archive = name;
        if (q == 0)
                q = agl_archives(a, count_archive, &archives, &e);
        if (q == 0)
                q = agl_files(a, name, count_file, &files, &e);
        if (q == 0)
                q = agl_restore(a, &r, &e);
        if (q != 0 || archives < 1 || files != 1)
                (void)snprintf(t->why, sizeof t->why, "%d, %d archives, %d files: %s", q, archives,
                        files, e.text);
        agl_free(name);
        return q;
}

static void *work(void *arg)
{
        struct thread *t = arg;
        struct agl *a = NULL;
        struct agl_error e = {0};
        if (agl_open(NULL, &a, &e) < 0)
                (void)snprintf(t->why, sizeof t->why, "%s", e.text);
        for (int i = 0; a && i < TIMES && !*t->why; i++)
                (void)once(t, a, i); /* what went wrong stands in t */
        agl_close(a);
        return NULL;
}

static void threads_from_the_first_use_on_do_not_disturb_each_other(void **state)
{
        struct thread t[THREADS];
        pthread_t id[THREADS];
        for (int i = 0; i < THREADS; i++) {
                t[i] = (struct thread){.home = *state, .number = i};
                assert_int_equal(pthread_create(&id[i], NULL, work, &t[i]), 0);
        }
        for (int i = 0; i < THREADS; i++)
                pthread_join(id[i], NULL);
        for (int i = 0; i < THREADS; i++)
                assert_string_equal(t[i].why, "");
        struct agl *a = NULL;
        int archives = 0;
        assert_int_equal(agl_open(NULL, &a, NULL), 0);
        assert_int_equal(agl_archives(a, count_archive, &archives, NULL), 0);
        agl_close(a);
        assert_int_equal(archives, THREADS * TIMES);
}

static int stop_soon(void *ctx)
{
        return ++*(int *)ctx > 0;
}

static void canceled_backup_leaves_nothing(void **state)
{
        const struct home *h = *state;
        struct agl *a = NULL;
        struct agl_error e;
        int asked = 0, archives = 0;
        run("cd %s && truncate -s 4G file", h->path);
        const char *files[] = {h->file, NULL};
        const struct agl_job job = {.size = sizeof job,
                .description = "canceled",
                .config = "{\"COMPRESSION\": \"none\"}",
                .files = files,
                .cancel = stop_soon,
                .ctx = &asked};
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        assert_int_equal(agl_backup(a, &job, NULL, &e), -ECANCELED);
        assert_string_equal(e.text, "canceled, and undone");
        assert_int_equal(agl_archives(a, count_archive, &archives, &e), 0);
        assert_int_equal(archives, 0);
        agl_close(a);
}

static void keep_message(void *ctx, const char *text)
{
        assert_null(strchr(text, '\n'));
        if (strstr(text, "/none"))
                (void)snprintf(ctx, 1200, "%s", text);
}

static void what_is_missing_is_told_and_the_rest_stored(void **state)
{
        const struct home *h = *state;
        struct agl *a = NULL;
        struct agl_error e;
        char told[1200] = "", *name = NULL;
        const char *files[] = {"/none", h->file, NULL};
        const struct agl_job job = {.size = sizeof job,
                .description = "lacks one",
                .files = files,
                .message = keep_message,
                .ctx = told};
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        assert_int_equal(agl_backup(a, &job, &name, &e), 1);
        assert_non_null(strstr(told, "No such file"));
        int n = 0;
        assert_int_equal(agl_files(a, name, count_file, &n, &e), 0);
        assert_int_equal(n, 1);
        agl_free(name);
        agl_close(a);
}

static void restore_replaces_nothing_unless_told_to(void **state)
{
        const struct home *h = *state;
        struct agl *a = NULL;
        struct agl_error e;
        char to[80];
        const char *files[] = {h->file, NULL};
        (void)snprintf(to, sizeof to, "%s/to", h->path);
        struct agl_restore r = {.size = sizeof r, .archive = "latest", .to = to};
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        assert_int_equal(agl_restore(a, &r, &e), -ENOENT);
        assert_non_null(strstr(e.text, "nothing has been archived yet"));
        assert_int_equal(agl_auto_glacier(files, NULL, "x", &e), 0);
        assert_int_equal(agl_restore(a, &r, &e), 0);
        assert_int_equal(agl_restore(a, &r, &e), -EEXIST);
        r.overwrite = 1;
        assert_int_equal(agl_restore(a, &r, &e), 0);
        agl_close(a);
}

static void struct_without_its_size_is_refused(void **state)
{
        (void)state;
        struct agl *a = NULL;
        struct agl_error e;
        const struct agl_job job = {.description = "x"};
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        assert_int_equal(agl_backup(a, &job, NULL, &e), -EINVAL);
        assert_non_null(strstr(e.text, "size"));
        agl_close(a);
}

static void job_that_would_be_something_else_is_refused(void **state)
{
        const struct home *h = *state;
        const char *files[] = {h->file, NULL}, *nameless[] = {h->file, "", NULL};
        const struct agl_job job = {.size = sizeof job, .description = "x", .files = files};
        struct agl_job wrong[] = {job, job, job, job, job, job, job};
        wrong[0].config = "{\"COMPRESSION\": \"zstd\",\n}"; /* would count as none */
        wrong[1].config = "{";
        wrong[2].config = "";
        wrong[3].config = "{}, \"other\": {}";
        wrong[4].files = nameless; /* would be the whole working directory */
        wrong[5].flags = AGL_CHECKSUM;
        wrong[6].description = NULL;
        struct agl *a = NULL;
        struct agl_error e;
        int archives = 0;
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                assert_int_equal(agl_backup(a, &wrong[i], NULL, &e), -EINVAL);
        assert_int_equal(agl_backup(a, NULL, NULL, &e), -EINVAL);
        assert_int_equal(agl_run(a, "", NULL, NULL, &e), -EINVAL);
        assert_int_equal(agl_backup(a, &wrong[0], NULL, &e), -EINVAL);
        assert_non_null(strstr(e.text, "CONFIG:2"));
        assert_int_equal(agl_archives(a, count_archive, &archives, &e), 0);
        assert_int_equal(archives, 0);
        agl_close(a);
}

static int end_with_minus_7(void *ctx, const struct agl_archive *a)
{
        (void)a;
        ++*(int *)ctx;
        return -7;
}

static void what_a_function_of_the_caller_returns_is_not_explained_with_something_else(void **state)
{
        const struct home *h = *state;
        const char *files[] = {h->file, NULL};
        struct agl *a = NULL;
        struct agl_error e;
        int n = 0;
        assert_int_equal(agl_auto_glacier(files, NULL, "x", &e), 0);
        assert_int_equal(agl_open(NULL, &a, &e), 0);
        assert_int_equal(agl_archives(a, end_with_minus_7, &n, &e), -7);
        assert_int_equal(n, 1);
        assert_null(strstr(e.text, "CONFIG.json"));
        agl_close(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(threads_from_the_first_use_on_do_not_disturb_each_other),
                T(canceled_backup_leaves_nothing),
                T(what_is_missing_is_told_and_the_rest_stored),
                T(restore_replaces_nothing_unless_told_to),
                T(struct_without_its_size_is_refused),
                T(job_that_would_be_something_else_is_refused),
                T(what_a_function_of_the_caller_returns_is_not_explained_with_something_else),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
