/* Which version of a file is where: the newest of each path, what was left in others, a tree as it
 * was. */
#include "catalog_helpers.h"
#include "catalog_version.h"

static void add_ino(struct catalog *c, const char *id, const struct put *p, size_t n)
{
        struct catalog_adder *a;
        OK(catalog_adder_new(c, id, &a, E));
        for (size_t i = 0; i < n; i++) {
                const struct catalog_member m = {.path = p[i].path,
                        .type = p[i].type,
                        .size = p[i].size,
                        .tar_offset = p[i].at,
                        .tar_len = 512,
                        .ino = 7};
                OK(catalog_adder_add(a, &m, E));
        }
        OK(catalog_adder_flush(a, E));
        catalog_adder_free(a);
}

static void archive(struct catalog *c, const char *id, int64_t created, const char *chain,
        const char *root, const struct put *p, size_t n)
{
        struct catalog_archive a = {.id = strdup(id),
                .description = strdup("x"),
                .created = created,
                .state = ARCHIVE_QUEUED,
                .store_url = strdup("dir:/s"),
                .recipients = strdup("bb aa")};
        OK(catalog_archive_add(c, &a, E));
        catalog_archive_done(&a);
        add_ino(c, id, p, n);
        const struct catalog_run run = {.chain = (char *)chain,
                .job = (char *)"",
                .roots = (char *)root,
                .roots_len = strlen(root) + 1};
        OK(catalog_run_set(c, id, &run, E));
        OK(catalog_archive_set_state(c, id, ARCHIVE_STORED, "", 0, E));
}

static const char *base_of(struct catalog_versions *v, const char *path)
{
        const struct catalog_version *found = NULL;
        int q = catalog_versions_find(v, path, &found, E);
        if (q < 0)
                fail_msg("%s", scratch_err.text);
        return q > 0 ? found->base : "none";
}

static struct catalog_versions *versions(struct catalog *c, const char *recipients)
{
        struct catalog_versions *v;
        const struct catalog_archive a = {.store_url = (char *)"dir:/s",
                .store_id = (char *)"",
                .recipients = (char *)recipients};
        OK(catalog_versions_new(c, &a, &v, E));
        return v;
}

static void newest_version_of_each_path_is_found(void **state)
{
        struct scratch *s = *state;
        const struct put one[] = {{"a", NULL, 'd', 0, 0, 0}, {"a/b", NULL, 'f', 512, 1, 0},
                {"a/b.c", NULL, 'f', 1024, 1, 0}, {"z", NULL, 'f', 1536, 1, 0}};
        const struct put two[] = {{"a/b", NULL, 'f', 0, 2, 0}};
        archive(s->c, "one", 1, "c", "/a", one, 4);
        archive(s->c, "two", 2, "c", "/a", two, 1);
        struct catalog_versions *v = versions(s->c, "aa bb");
        assert_string_equal(base_of(v, "a"), "one");
        assert_string_equal(base_of(v, "a/a"), "none");
        assert_string_equal(base_of(v, "a/b"), "two");
        assert_string_equal(base_of(v, "a/b.c"), "one");
        assert_string_equal(base_of(v, "m"), "none");
        assert_string_equal(base_of(v, "z"), "one");
        assert_string_equal(base_of(v, "a/b"), "two"); /* out of order, all the same */
        catalog_versions_free(v);
        v = versions(s->c, "aa");
        assert_string_equal(base_of(v, "a/b"), "none");
        catalog_versions_free(v);
        OK(catalog_archive_set_state(s->c, "two", ARCHIVE_DELETED, "", 0, E));
        v = versions(s->c, "bb aa");
        assert_string_equal(base_of(v, "a/b"), "one");
        catalog_versions_free(v);
}

static void later_archive_counts_in_whatever_order_they_are_known(void **state)
{
        struct scratch *s = *state;
        const struct put p[] = {{"x", NULL, 'f', 0, 1, 0}};
        char id[8];
        archive(s->c, "late", 1000, "c", "/", p, 1);
        for (int i = 0; i < 20; i++) {
                struct catalog_versions *v = versions(s->c, "aa bb");
                assert_string_equal(base_of(v, "x"), "late");
                catalog_versions_free(v);
                (void)snprintf(id, sizeof id, "e%02d", i);
                archive(s->c, id, 10 + i, "c", "/", p, 1);
        }
}

/* Few archives are read as they are, many through an index: the answers must be the same. */
static void many_archives_answer_as_few_do(void **state)
{
        struct scratch *s = *state;
        char id[8], path[8];
        for (int i = 0; i < 40; i++) {
                (void)snprintf(id, sizeof id, "n%02d", i);
                (void)snprintf(path, sizeof path, "f%02d", i % 7);
                const struct put p[] = {{path, NULL, 'f', 0, 1, 0}, {"same", NULL, 'f', 512, 1, 0}};
                archive(s->c, id, i + 1, "c", "/", p, 2);
                struct catalog_versions *v = versions(s->c, "aa bb");
                assert_string_equal(base_of(v, path), id);
                assert_string_equal(base_of(v, "same"), id);
                catalog_versions_free(v);
        }
        struct catalog_versions *v = versions(s->c, "aa bb");
        assert_string_equal(base_of(v, "f00"), "n35");
        assert_string_equal(base_of(v, "f06"), "n34");
        assert_string_equal(base_of(v, "f07"), "none");
        catalog_versions_free(v);
        OK(catalog_archive_set_state(s->c, "n35", ARCHIVE_DELETED, "", 0, E));
        v = versions(s->c, "aa bb");
        assert_string_equal(base_of(v, "f00"), "n28");
        catalog_versions_free(v);
}

static void thousands_of_versions_are_found_in_one_pass(void **state)
{
        struct scratch *s = *state;
        enum { N = 3000 };
        static struct put many[N];
        static char names[N][16];
        for (unsigned i = 0; i < N; i++) {
                (void)snprintf(names[i], sizeof names[i], "d%02u/f%02u", i / 100, i % 100);
                many[i] = (struct put){names[i], NULL, 'f', i * 512ull, 1, 0};
        }
        archive(s->c, "one", 1, "c", "/", many, N);
        struct catalog_versions *v = versions(s->c, "aa bb");
        for (unsigned i = 0; i < N; i += 3)
                assert_string_equal(base_of(v, names[i]), "one");
        assert_string_equal(base_of(v, "d29/f99x"), "none");
        catalog_versions_free(v);
}

static int join_state(void *ctx, const char *base, const struct catalog_member *m)
{
        buf_addf(ctx, "%s:%s ", base, m->path ? m->path : m->name);
        return 0;
}

static void folders_show_what_was_left_in_others(void **state)
{
        struct scratch *s = *state;
        const struct put one[] = {{"r/a", NULL, 'd', 0, 0, 0}, {"r/a/x", NULL, 'f', 512, 1, 0},
                {"r/a/y", NULL, 'f', 1024, 1, 0}, {"r/b", NULL, 'f', 1536, 1, 0}};
        const struct put two[] = {{"r/a/y", NULL, 'f', 0, 2, 0}};
        archive(s->c, "one", 1, "c", "/r", one, 4);
        archive(s->c, "two", 2, "c", "/r", two, 1);
        const struct catalog_range left[] = {{0, "one", 0, 512}, {512, "one", 1536, 1536}};
        OK(catalog_unchanged_add(s->c, "two", left, 2, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_state_children(s->c, "two", "", join_state, &b, E));
        OK(catalog_state_children(s->c, "two", "r", join_state, &b, E));
        OK(catalog_state_children(s->c, "two", "r/a", join_state, &b, E));
        assert_string_equal(buf_str(&b), "two:r one:a one:b two:y one:x ");
        buf_reset(&b);
        OK(catalog_state_lookup(s->c, "two", "r/a/x", join_state, &b, E));
        OK(catalog_state_lookup(s->c, "two", "r/a/y", join_state, &b, E));
        assert_string_equal(buf_str(&b), "one:r/a/x two:r/a/y ");
        FAILS(catalog_state_lookup(s->c, "two", "r/a/z", join_state, &b, E), -ENOENT);
        buf_reset(&b);
        OK(catalog_unchanged_cut(s->c, "two", 512, E));
        OK(catalog_unchanged_each(s->c, "two", join_state, &b, E));
        assert_string_equal(buf_str(&b), "one:r/a one:r/a/x ");
        OK(catalog_unchanged_check(s->c, "two", E));
        OK(catalog_archive_set_state(s->c, "one", ARCHIVE_DELETED, "", 0, E));
        FAILS(catalog_unchanged_check(s->c, "two", E), -ENODATA);
}

static void expect_asof(struct catalog *c, int64_t when, const char *path, const char *want)
{
        const char *paths[] = {path, NULL};
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_asof(c, when, paths, E));
        OK(catalog_asof_each(c, NULL, join_state, &b, E));
        assert_string_equal(buf_str(&b), want);
}

static void deleted_files_are_known_as_deleted(void **state)
{
        struct scratch *s = *state;
        const struct put one[] = {{"r/a", NULL, 'f', 0, 1, 0}, {"r/b", NULL, 'f', 512, 1, 0}};
        const struct put two[] = {{"r/b", NULL, 'f', 0, 2, 0}};
        const struct put other[] = {{"q/x", NULL, 'f', 0, 2, 0}};
        archive(s->c, "one", 10, "c", "/r", one, 2);
        archive(s->c, "other", 15, "d", "/q", other, 1);
        archive(s->c, "two", 20, "c", "/r", two, 1);
        expect_asof(s->c, 9, "", "");
        expect_asof(s->c, 19, "r", "one:r/a one:r/b ");
        expect_asof(s->c, 20, "r", "two:r/b ");
        expect_asof(s->c, 20, "", "other:q/x two:r/b ");
        archive(s->c, "three", 30, "e", "/r/b", two, 0); /* another list, which covers a part */
        expect_asof(s->c, 30, "r", "");
}

static void what_could_not_be_read_is_not_gone(void **state)
{
        struct scratch *s = *state;
        const struct put one[] = {{"r/d/x", NULL, 'f', 0, 1, 0}, {"r/d2", NULL, 'f', 512, 1, 0}};
        const struct put two[] = {{"r/new", NULL, 'f', 0, 2, 0}};
        archive(s->c, "one", 10, "c", "/r", one, 2);
        archive(s->c, "two", 20, "c", "/r", two, 1);
        OK(catalog_missed_add(s->c, "two", "r/d", E));
        expect_asof(s->c, 20, "r", "one:r/d/x two:r/new ");
}

static int join_lost(void *ctx, const struct catalog_member *m, const char *later)
{
        buf_addf(ctx, "%s:%s ", m->path, later ? "listed" : "only");
        return 0;
}

static void what_would_be_lost_is_named(void **state)
{
        struct scratch *s = *state;
        const struct put one[] = {{"a", NULL, 'f', 0, 1, 0}, {"b", NULL, 'f', 512, 1, 0},
                {"c", NULL, 'f', 1024, 1, 0}};
        const struct put two[] = {{"a", NULL, 'f', 0, 2, 0}};
        archive(s->c, "one", 1, "c", "/", one, 3);
        archive(s->c, "two", 2, "c", "/", two, 1);
        const struct catalog_range left = {0, "one", 512, 512};
        OK(catalog_unchanged_add(s->c, "two", &left, 1, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_only_here(s->c, "one", join_lost, &b, E));
        assert_string_equal(buf_str(&b), "b:listed c:only ");
        buf_reset(&b);
        OK(catalog_only_here(s->c, "two", join_lost, &b, E));
        assert_string_equal(buf_str(&b), "");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
        const struct CMUnitTest tests[] = {
                T(newest_version_of_each_path_is_found),
                T(later_archive_counts_in_whatever_order_they_are_known),
                T(many_archives_answer_as_few_do),
                T(thousands_of_versions_are_found_in_one_pass),
                T(folders_show_what_was_left_in_others),
                T(deleted_files_are_known_as_deleted),
                T(what_could_not_be_read_is_not_gone),
                T(what_would_be_lost_is_named),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
