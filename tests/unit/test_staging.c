/* Nothing staged is lost on the way into a commit and back, whatever modes folders have. */
#include "staging_internal.h"

#include "io.h"
#include "tree.h"

#define ID     "20260101T000000Z-00000000"
#define NOBODY 65534

struct world {
        char dir[64];
        struct staging *staging;
        struct err err;
};

static int setup(void **state)
{
        struct world *w = calloc(1, sizeof *w);
        assert_non_null(w);
        tree_setup(w->dir);
        _cleanup_free_ char *path = io_join(w->dir, "staging");
        assert_int_equal(staging_open(path, &w->staging, NULL), 0);
        *state = w;
        return 0;
}

static int teardown(void **state)
{
        struct world *w = *state;
        staging_close(w->staging);
        tree_remove(w->dir);
        free(w);
        return 0;
}

static void must(const struct world *w, int q)
{
        if (q < 0)
                fail_msg("%d: %s", q, w->err.text);
}

/* ---- freezing ---- */

static int refuse(void *ctx _unused_, struct err *e)
{
        tree_sh("echo text > $T/staging/" ID "/file");
        return err_set(e, -EBUSY, "not now");
}

static int prepare(void *ctx _unused_, struct err *e _unused_)
{
        return 0;
}

static void a_freeze_that_fails_deletes_no_file(void **state)
{
        struct world *w = *state;
        const struct staging_freeze_hooks h = {.prepare = prepare, .still = refuse};
        tree_sh("echo a > $T/staging/current/a");
        assert_int_equal(staging_freeze(w->staging, ID, "{}", &h, &w->err), -EBUSY);
        tree_sh("[ \"$(cat $T/staging/" ID "/file)\" = text ] && [ -e $T/staging/current/a ]");
}

/* What the folder is synced by cannot be synced any more. */
static void spoil_sync(void *ctx)
{
        const struct world *w = ctx;
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_true(dup2(ends[0], w->staging->sync) >= 0);
        close(ends[0]);
        close(ends[1]);
        assert_true(fsync(w->staging->sync) < 0);
}

static void what_has_moved_is_frozen_also_where_it_cannot_be_synced_yet(void **state)
{
        struct world *w = *state;
        const struct staging_freeze_hooks h = {.prepare = prepare, .frozen = spoil_sync, .ctx = w};
        tree_sh("echo a > $T/staging/current/a");
        must(w, staging_freeze(w->staging, ID, "{}", &h, &w->err));
        tree_sh("[ -e $T/staging/" ID "/a ] && [ -e $T/staging/" ID
                ".json ] && [ ! -e $T/staging/current/a ]");
}

static void only_what_is_empty_is_dropped(void **state)
{
        struct world *w = *state;
        tree_sh("mkdir -p $T/staging/" ID "/folder; echo {} > $T/staging/" ID ".json");
        assert_int_equal(staging_drop_empty(w->staging, ID, &w->err), -ENOTEMPTY);
        tree_sh("[ -d $T/staging/" ID "/folder ] && [ -e $T/staging/" ID ".json ]");
        tree_sh("rmdir $T/staging/" ID "/folder");
        must(w, staging_drop_empty(w->staging, ID, &w->err));
        tree_sh("[ \"$(ls $T/staging)\" = current ]");
        must(w, staging_drop_empty(w->staging, ID, &w->err)); /* again is harmless */
}

static void a_tree_of_any_depth_is_released(void **state)
{
        struct world *w = *state;
        tree_sh("mkdir $T/staging/" ID " && cd $T/staging/" ID
                " && p=$(printf 'd/%.0s' $(seq 100)) &&\n"
                "for i in $(seq 15); do mkdir -p $p e && touch e/f first && cd $p || exit 1; done");
        must(w, staging_release(w->staging, ID, &w->err));
        tree_sh("[ \"$(ls $T/staging)\" = current ]");
}

/* ---- the way back ---- */

static void in_folders_of_any_mode(struct world *w, const char *const *paths, size_t n)
{
        tree_sh("cd $T/staging/" ID " && mkdir -p a/b/c whole/in && touch a/b/c/f whole/in/f &&\n"
                "{ [ $(id -u) != 0 ] || chown -R nobody $T; } &&\n"
                "chmod 555 a/b/c && chmod 300 a/b && chmod 0 a whole/in whole");
        _cleanup_free_ char *where = NULL;
        must(w, staging_give_back(w->staging, ID, paths, n, "back", &where, &w->err));
        assert_string_equal(where, "");
        tree_sh("cd $T/staging/current && [ $(stat -c %a a) = 0 ] && chmod 700 a && [ $(stat -c %a "
                "a/b) = 300 ] &&\n"
                "chmod 700 a/b && [ $(stat -c %a a/b/c) = 555 ] && [ -e a/b/c/f ]");
}

/* Modes mean nothing to root. The shell commands are run as root all the same. */
static void as_nobody(void (*test)(struct world *w), struct world *w)
{
        bool root = geteuid() == 0;
        tree_sh("mkdir $T/staging/" ID);
        assert_int_equal(root ? seteuid(NOBODY) : 0, 0);
        test(w);
        assert_int_equal(root ? seteuid(0) : 0, 0);
}

static void all_of_it(struct world *w)
{
        in_folders_of_any_mode(w, NULL, 0);
        tree_sh("cd $T/staging/current && [ $(stat -c %a whole) = 0 ]");
        must(w, staging_drop_empty(w->staging, ID, &w->err));
}

static void all_goes_back_whatever_modes_folders_have(void **state)
{
        as_nobody(all_of_it, *state);
}

static void one_of_it(struct world *w)
{
        in_folders_of_any_mode(w, (const char *const[]){"a/b/c/f"}, 1);
        tree_sh("[ ! -e $T/staging/current/whole ]");
}

static void one_entry_goes_back_whatever_modes_folders_have(void **state)
{
        as_nobody(one_of_it, *state);
}

static void a_folder_made_on_the_way_belongs_to_whom_it_belonged(void **state)
{
        struct world *w = *state;
        if (!tree_is_root())
                skip();
        tree_sh("mkdir -p $T/staging/" ID "/a/b && touch $T/staging/" ID "/a/b/f &&\n"
                "chown nobody:nogroup $T/staging/" ID "/a && chmod 2750 $T/staging/" ID "/a");
        must(w, staging_give_back(
                        w->staging, ID, (const char *const[]){"a/b/f"}, 1, "back", NULL, &w->err));
        tree_sh("[ $(stat -c %U:%G:%a $T/staging/current/a) = nobody:nogroup:2750 ]");
}

static void a_folder_that_is_there_keeps_its_mode(void **state)
{
        struct world *w = *state;
        tree_sh("mkdir -p $T/staging/" ID "/a && touch $T/staging/" ID
                "/a/f && chmod 755 $T/staging/" ID "/a &&\n"
                "mkdir -m 700 $T/staging/current/a");
        must(w, staging_give_back(
                        w->staging, ID, (const char *const[]){"a/f"}, 1, "back", NULL, &w->err));
        tree_sh("[ $(stat -c %a $T/staging/current/a) = 700 ] && [ -e $T/staging/current/a/f ]");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(a_freeze_that_fails_deletes_no_file),
                T(what_has_moved_is_frozen_also_where_it_cannot_be_synced_yet),
                T(only_what_is_empty_is_dropped),
                T(a_tree_of_any_depth_is_released),
                T(all_goes_back_whatever_modes_folders_have),
                T(one_entry_goes_back_whatever_modes_folders_have),
                T(a_folder_made_on_the_way_belongs_to_whom_it_belonged),
                T(a_folder_that_is_there_keeps_its_mode),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
