/* Saved jobs: what their files may say, how mistakes are named, and what a gather hook can do. */
#include "buf.h"
#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "job.h"
#include "spec.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct home {
        char path[64];
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

static void put(const struct home *h, const char *name, mode_t mode, const char *text)
{
        char path[256];
        struct err e = {0};
        (void)snprintf(path, sizeof path, "%s/%s", h->path, name);
        must(io_write_file(AT_FDCWD, path, mode, text, strlen(text), &e), &e);
}

static int setup(void **state)
{
        struct home *h = calloc(1, sizeof *h);
        (void)snprintf(h->path, sizeof h->path, "/tmp/ag-job-XXXXXX");
        assert_non_null(mkdtemp(h->path));
        setenv("AUTOGLACIER_HOME", h->path, 1);
        run("cd %s; mkdir jobs src src/in; echo one > src/one; echo two > src/two.txt; echo three "
            "> "
            "src/in/three.txt; : > src/.hidden.txt",
                h->path);
        put(h, "CONFIG.json", 0600, "{\"COMPRESSION\": \"zstd\", \"COST_LIMIT\": 7}");
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

static struct job *load(const struct home *h, const char *text)
{
        struct err e = {0};
        struct job *j = NULL;
        put(h, "jobs/a.json", 0600, text);
        must(job_load("a", NULL, &j, &e), &e);
        return j;
}

static void refused(const struct home *h, const char *text, const char *words)
{
        struct err e = {0};
        struct job *j = NULL;
        put(h, "jobs/a.json", 0600, text);
        assert_int_equal(job_load("a", NULL, &j, &e), -EINVAL);
        if (!strstr(e.text, words))
                fail_msg("%s", e.text);
}

/* ---- the file ---- */

static void configuration_of_a_job_lies_over_the_other(void **state)
{
        struct home *h = *state;
        _cleanup_(job_freep) struct job *j = load(h,
                "{\"CONFIG\": {\"COMPRESSION\": \"gzip\", \"TMP_DIR\": \"tmp\"},\n \"files\": "
                "[\"~/x\", \"rel\", \"/abs\"]}");
        assert_int_equal(j->config->compression, COMPRESS_GZIP);
        assert_true(j->config->cost_limit > 6.9);
        char want[128];
        (void)snprintf(want, sizeof want, "%s/jobs/rel", h->path);
        assert_string_equal(j->files[1], want);
        (void)snprintf(want, sizeof want, "%s/jobs/tmp", h->path);
        assert_string_equal(j->config->tmp_dir, want);
        assert_string_equal(j->files[2], "/abs");
        assert_string_equal(j->name, "a");
        assert_string_equal(strrchr(j->config->file, '/'), "/CONFIG.json");
}

static void vault_of_a_job_takes_the_place_of_the_configured_one(void **state)
{
        struct home *h = *state;
        put(h, "CONFIG.json", 0600, "{\"VAULT\": \"dir:/nowhere\"}");
        _cleanup_(job_freep) struct job *j =
                load(h, "{\"CONFIG\": {\"VAULT_NAME\": \"mine\"}, \"files\": [\"/abs\"]}");
        assert_string_equal(j->config->vault, "glacier://mine");
}

static void mistakes_are_named_with_line_and_key(void **state)
{
        struct home *h = *state;
        refused(h, "{\n\"files\": [1]}", "a.json:2: files: ");
        refused(h, "{\n\n\"file\": []}", "a.json:3: file: a job has no such key");
        refused(h, "{\"files\": [\"/a\"],\n\"CONFIG\": {\n\"COMPRESION\": \"gzip\"}}",
                "a.json:3: unknown key COMPRESION");
        refused(h, "{\"files\": [\"/a\"],\n\"CONFIG\": []}", "a.json:2: CONFIG");
        refused(h, "{\"files\": [\"/a\"],", "a.json:1:");
        refused(h, "{\"description\": \"x\"}", "names nothing to archive");
        refused(h, "{\"files\": [\"/a\"],\n \"gather_hook_limit\": \"soon\"}",
                "a.json:2: gather_hook_limit");
        refused(h, "{\"files\": [\"/a\"],\n \"changed_only\": 1}", "a.json:2: changed_only");
}

static void secret_that_others_can_read_is_refused(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        struct job *j = NULL;
        put(h, "jobs/a.json", 0644,
                "{\"files\": [\"/a\"], \"CONFIG\": {\"AWS_SECRET_ACCESS_KEY\": \"s\"}}");
        assert_int_equal(job_load("a", NULL, &j, &e), -EINVAL);
        assert_non_null(strstr(e.text, "chmod 600"));
}

static void missing_job_is_named(void **state _unused_)
{
        struct err e = {0};
        struct job *j = NULL;
        assert_int_equal(job_load("none", NULL, &j, &e), -ENOENT);
        assert_non_null(strstr(e.text, "there is no job none"));
}

static void description_has_the_dates_filled_in(void **state)
{
        struct home *h = *state;
        setenv("TZ", "UTC", 1);
        _cleanup_(job_freep) struct job *j =
                load(h, "{\"files\": [\"/a\"], \"description\": \"on %Y-%m-%d at 100%%\"}");
        _cleanup_buf_ struct buf b = BUF_INIT;
        must(job_description(j, 86400ll * 1000000000, &b, NULL), &(struct err){0});
        assert_string_equal(buf_str(&b), "on 1970-01-02 at 100%");
}

static int note_name(void *ctx, const char *name, struct err *e _unused_)
{
        buf_addf(ctx, "%s ", name);
        return 0;
}

static void jobs_are_listed_by_name(void **state)
{
        struct home *h = *state;
        put(h, "jobs/b.json", 0600, "{}");
        put(h, "jobs/notes.txt", 0600, "");
        _cleanup_(job_freep) struct job *j = load(h, "{\"files\": [\"/a\"]}");
        _cleanup_buf_ struct buf b = BUF_INIT;
        assert_int_equal(job_each(j->config, note_name, &b, NULL), 0);
        assert_string_equal(buf_str(&b), "a b ");
}

/* ---- running ---- */

struct result {
        int code;
        enum archive_state state;
        struct buf log, members;
};

static int note_event(void *ctx, int64_t time _unused_, char level, const char *text)
{
        buf_addf(ctx, "%c %s\n", level, text);
        return 0;
}

static int note_member(void *ctx, const struct catalog_member *m)
{
        if (m->type == 'f')
                buf_addf(ctx, "%s\n", strrchr(m->path, '/') + 1);
        return 0;
}

static void run_job(const struct home *h, const char *text, struct result *ret)
{
        struct err e = {0};
        _cleanup_(job_freep) struct job *j = load(h, text);
        struct engine *g;
        char *id = NULL;
        must(engine_open(j->config, ENGINE_WORK, NULL, &g, &e), &e);
        must(engine_prepare(g, NULL, &e), &e);
        must(engine_job(g, j, NULL, &id, &e), &e);
        *ret = (struct result){.code = engine_run(g, id, &e)};
        struct catalog *c;
        struct catalog_archive a = {0};
        must(engine_catalog(g, &c, &e), &e);
        must(catalog_archive_get(c, id, &a, &e), &e);
        ret->state = a.state;
        must(catalog_events(c, id, note_event, &ret->log, &e), &e);
        must(catalog_members_each(c, id, CATALOG_AS_TAR, note_member, &ret->members, &e), &e);
        catalog_archive_done(&a);
        catalog_close(c);
        engine_close(g);
        free(id);
}

static void result_done(struct result *r)
{
        buf_done(&r->log);
        buf_done(&r->members);
}

static void failed_with(struct home *h, const char *hook, const char *limit, const char *words)
{
        char text[512];
        put(h, "jobs/hook", 0700, hook);
        (void)snprintf(text, sizeof text,
                "{\"list_of_globs\": [\"%s/src/*\"], \"gather_hook\": \"./hook\"%s}", h->path,
                limit);
        struct result r;
        run_job(h, text, &r);
        assert_int_equal(r.code, -EINVAL);
        assert_int_equal(r.state, ARCHIVE_FAILED);
        assert_string_equal(buf_str(&r.members), "");
        if (!strstr(buf_str(&r.log), words) || !strstr(buf_str(&r.log), "nothing was archived"))
                fail_msg("%s", buf_str(&r.log));
        result_done(&r);
        run("! ls %s/data/store/archives 2>/dev/null | grep -q .", h->path);
}

static void job_archives_files_and_what_its_globs_find(void **state)
{
        struct home *h = *state;
        char text[512];
        (void)snprintf(text, sizeof text,
                "{\"files\": [\"../src/one\"], \"list_of_globs\": [\"%s/src/**/*.txt\", "
                "\"%s/src/*.pdf\"], \"description\": \"d\"}",
                h->path, h->path);
        struct result r;
        run_job(h, text, &r);
        assert_int_equal(r.code, 1); /* with a warning: */
        assert_non_null(strstr(buf_str(&r.log), "src/*.pdf finds nothing"));
        assert_int_equal(r.state, ARCHIVE_STORED);
        assert_string_equal(buf_str(&r.members), "three.txt\none\ntwo.txt\n");
        result_done(&r);
}

static void hook_changes_the_list_and_its_words_go_to_the_log(void **state)
{
        struct home *h = *state;
        char text[512];
        put(h, "jobs/hook", 0700,
                "#!/bin/sh\necho picked for $AUTOGLACIER_JOB >&2\ngrep -zv two\nprintf '%s\\0' "
                "\"$(dirname $0)/../src/in\"\n");
        (void)snprintf(text, sizeof text,
                "{\"list_of_globs\": [\"%s/src/*\"], \"gather_hook\": [\"./hook\", \"x\"]}",
                h->path);
        struct result r;
        run_job(h, text, &r);
        assert_int_equal(r.code, 0);
        assert_string_equal(buf_str(&r.members), "three.txt\none\n");
        assert_non_null(strstr(buf_str(&r.log), "i gather hook: picked for a"));
        result_done(&r);
}

static void hook_that_hangs_is_ended(void **state)
{
        failed_with(*state, "#!/bin/sh\necho waiting >&2\nsleep 1000\n",
                ", \"gather_hook_limit\": 1", "time limit of 1 s");
}

static void what_a_hook_has_started_ends_with_it(void **state)
{
        const struct home *h = *state;
        failed_with(*state,
                "#!/bin/sh\ncd \"$(dirname \"$0\")\"\n"
                "sh -c 'trap \"\" TERM; echo $$ >pid; exec sleep 1000' &\n"
                "until [ -s pid ]; do sleep 0.05; done\n"
                "printf 'hello\\0'\nsleep 1000\n",
                "", "is not an absolute path");
        run("p=$(cat %s/jobs/pid); for i in $(seq 300); do "
            "case $(cut -d' ' -f2,3 /proc/$p/stat 2>/dev/null) in ''|*Z) exit 0;; esac; "
            "sleep 0.1; done; exit 1",
                h->path);
}

static void hook_that_dies_stops_the_job(void **state)
{
        failed_with(*state, "#!/bin/sh\nkill -9 $$\n", "", "was killed by signal 9");
        failed_with(*state, "#!/bin/sh\ncat; exit 3\n", "", "ended with status 3");
}

static void hook_that_cannot_be_started_stops_the_job(void **state)
{
        failed_with(*state, "no program", "", "cannot start");
}

static void hook_that_prints_garbage_stops_the_job(void **state)
{
        failed_with(*state, "#!/bin/sh\necho hello\n", "", "is not an absolute path");
        failed_with(*state, "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' x\n", "",
                "is longer than any path can be");
        failed_with(*state, "#!/bin/sh\ntr '\\0' '\\n'\n", "", "zero byte, not with a newline");
}

static void hook_that_prints_a_missing_file_stops_the_job(void **state)
{
        failed_with(*state, "#!/bin/sh\nprintf '/nowhere/at/all\\0'\n", "",
                "\"/nowhere/at/all\", is not there");
}

static void hook_that_prints_nothing_leaves_nothing_to_archive(void **state)
{
        struct home *h = *state;
        put(h, "jobs/hook", 0700, "#!/bin/sh\nexit 0\n");
        struct result r;
        run_job(h, "{\"gather_hook\": \"./hook\"}", &r);
        assert_int_equal(r.code, -ENODATA);
        assert_int_equal(r.state, ARCHIVE_FAILED);
        assert_non_null(strstr(buf_str(&r.log), "has picked nothing to archive"));
        result_done(&r);
}

static int ignore(void *ctx _unused_, const char *text _unused_, struct err *e _unused_)
{
        return 0;
}

static long peak_kb(void)
{
        struct rusage u;
        assert_int_equal(getrusage(RUSAGE_SELF, &u), 0);
        return u.ru_maxrss;
}

static void million_paths_of_a_hook_take_no_memory(void **state)
{
        struct home *h = *state;
        struct err e = {0};
        put(h, "jobs/hook", 0700,
                "#!/bin/sh\nyes /etc/passwd | head -n 1000000 | tr '\\n' '\\0'\n");
        _cleanup_(job_freep) struct job *j = load(h, "{\"gather_hook\": \"./hook\"}");
        _cleanup_free_ char *data = io_join(h->path, "data");
        run("mkdir -p %s/spool", data);
        const struct job_gather g = {.data = data, .id = "million", .warn = ignore, .log = ignore};
        long before = peak_kb();
        must(job_gather(j, &g, &e), &e);
        assert_true(peak_kb() - before < 8 * 1024);
        struct spec_files f;
        must(spec_files_load(data, "million", &f, &e), &e);
        assert_string_equal(f.paths[999999], "/etc/passwd");
        assert_null(f.paths[1000000]);
        spec_files_done(&f);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(configuration_of_a_job_lies_over_the_other),
                T(vault_of_a_job_takes_the_place_of_the_configured_one),
                T(mistakes_are_named_with_line_and_key),
                T(secret_that_others_can_read_is_refused),
                T(missing_job_is_named),
                T(description_has_the_dates_filled_in),
                T(jobs_are_listed_by_name),
                T(job_archives_files_and_what_its_globs_find),
                T(hook_changes_the_list_and_its_words_go_to_the_log),
                T(hook_that_hangs_is_ended),
                T(what_a_hook_has_started_ends_with_it),
                T(hook_that_dies_stops_the_job),
                T(hook_that_cannot_be_started_stops_the_job),
                T(hook_that_prints_garbage_stops_the_job),
                T(hook_that_prints_a_missing_file_stops_the_job),
                T(hook_that_prints_nothing_leaves_nothing_to_archive),
                T(million_paths_of_a_hook_take_no_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
