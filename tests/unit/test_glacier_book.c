/* The book of what is in vaults: what is written stays, and inventories change it as they should.
 */
#include "glacier_book.h"
#include "io.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define V   "vault"
#define DAY 100

static struct err err;
#define E (&err)
#define OK(call)                                                                                   \
        do {                                                                                       \
                if ((call) < 0)                                                                    \
                        fail_msg("%s", err.text);                                                  \
        } while (0)
#define FAILS(code, call) assert_int_equal((call), (code))

struct setup {
        char dir[64], path[80];
        struct glacier_book *b;
};

static int set_up(void **state)
{
        struct setup *u = calloc(1, sizeof *u);
        (void)snprintf(u->dir, sizeof u->dir, "/tmp/ag-book-XXXXXX");
        assert_non_null(mkdtemp(u->dir));
        (void)snprintf(u->path, sizeof u->path, "%s/vaults.db", u->dir);
        OK(glacier_book_open(u->path, &u->b, E));
        *state = u;
        return 0;
}

static int tear_down(void **state)
{
        struct setup *u = *state;
        glacier_book_close(u->b);
        OK(io_remove_tree(AT_FDCWD, u->dir, E));
        free(u);
        return 0;
}

static struct glacier_book *book_of(void **state)
{
        return ((struct setup *)*state)->b;
}

static struct glacier_object object(const char *name, const char *archive, int64_t created)
{
        struct glacier_object o = {.size = 5, .created = created, .tree_hash = {1, 2, 3}};
        (void)snprintf(o.name, sizeof o.name, "%s", name);
        (void)snprintf(o.archive, sizeof o.archive, "%s", archive);
        return o;
}

static void add(struct glacier_book *b, const char *name, const char *archive, int64_t created,
        int64_t listed)
{
        struct glacier_object o = object(name, archive, created);
        o.listed = listed;
        OK(glacier_book_add(b, V, &o, E));
}

static void expect(struct glacier_book *b, const char *name, const char *archive)
{
        struct glacier_object o;
        if (!archive) {
                FAILS(-ENOENT, glacier_book_find(b, V, name, &o, E));
                return;
        }
        OK(glacier_book_find(b, V, name, &o, E));
        assert_string_equal(o.archive, archive);
}

static void what_is_written_is_there_for_the_next_program(void **state)
{
        struct setup *u = *state;
        struct stat st;
        struct glacier_object o;
        add(u->b, "name", "id", 7, 0);
        glacier_book_close(u->b);
        OK(glacier_book_open(u->path, &u->b, E));
        OK(glacier_book_find(u->b, V, "name", &o, E));
        assert_int_equal(o.size, 5);
        assert_int_equal(o.created, 7);
        assert_int_equal(o.tree_hash[2], 3);
        FAILS(-ENOENT, glacier_book_find(u->b, "other vault", "name", &o, E));
        assert_int_equal(stat(u->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
}

static void the_newest_archive_of_a_name_counts(void **state)
{
        struct glacier_book *b = book_of(state);
        struct glacier_object o, newest;
        add(b, "name", "old", 1, 0);
        add(b, "name", "new", 2, 0);
        add(b, "name", "older", 0, 0);
        expect(b, "name", "new");
        OK(glacier_book_find(b, V, "name", &newest, E));
        OK(glacier_book_find_other(b, V, &newest, &o, E));
        OK(glacier_book_forget(b, V, o.archive, E));
        OK(glacier_book_find_other(b, V, &newest, &o, E));
        OK(glacier_book_forget(b, V, o.archive, E));
        FAILS(-ENOENT, glacier_book_find_other(b, V, &newest, &o, E));
        expect(b, "name", "new");
}

static void names_come_in_order_each_once(void **state)
{
        struct glacier_book *b = book_of(state);
        struct glacier_object o = {0};
        char all[64] = "";
        static const char *const names[] = {"a/2", "b/1", "a/1", "a/10", "a", "a/2"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char id[8];
                (void)snprintf(id, sizeof id, "id%zu", i);
                add(b, names[i], id, (int64_t)i, 0);
        }
        while (glacier_book_next(b, V, "a/", o.name, &o, E) == 0) {
                strcat(all, o.name);
                strcat(all, " ");
        }
        assert_string_equal(all, "a/1 a/10 a/2 ");
}

static void inventory_forgets_only_what_it_should_have_had(void **state)
{
        struct glacier_book *b = book_of(state);
        add(b, "listed", "1", 10, 1001);
        add(b, "lost", "2", 10, 0);
        add(b, "too new", "3", 1000 - DAY, 0);
        add(b, "imported", "4", 10, 0);
        OK(glacier_book_seen(b, V, "4", 1001, E));
        OK(glacier_book_seen(b, V, "none of ours", 1001, E));
        OK(glacier_book_set_inventory(b, V, 1000, DAY, E));
        expect(b, "listed", "1");
        expect(b, "lost", NULL);
        expect(b, "too new", "3");
        expect(b, "imported", "4");
        int64_t date;
        OK(glacier_book_inventory(b, V, &date, E));
        assert_int_equal(date, 1000);
}

static void what_was_removed_does_not_come_back(void **state)
{
        struct glacier_book *b = book_of(state);
        add(b, "name", "id", 1, 0);
        OK(glacier_book_forget(b, V, "id", E));
        add(b, "name", "id", 1, 1001);
        expect(b, "name", NULL);
        add(b, "name", "another", 2, 0);
        expect(b, "name", "another");
}

static void book_that_began_late_is_not_complete_until_an_inventory(void **state)
{
        struct glacier_book *b = book_of(state);
        bool complete;
        OK(glacier_book_meet(b, V, false, E));
        OK(glacier_book_meet(b, V, true, E)); /* only the first time counts */
        OK(glacier_book_complete(b, V, &complete, E));
        assert_false(complete);
        assert_int_equal(glacier_book_was_begun(b, V, "mine", E), 0);
        OK(glacier_book_begun(b, V, "mine", E));
        assert_int_equal(glacier_book_was_begun(b, V, "mine", E), 1);
        OK(glacier_book_set_inventory(b, V, 1000, DAY, E));
        OK(glacier_book_complete(b, V, &complete, E));
        assert_true(complete);
        OK(glacier_book_meet(b, "empty", true, E));
        OK(glacier_book_complete(b, "empty", &complete, E));
        assert_true(complete);
}

static void finishing_is_remembered_until_it_is_known(void **state)
{
        struct glacier_book *b = book_of(state);
        struct glacier_object o = object("name", "", 1), back;
        char upload[GLACIER_ID_MAX];
        OK(glacier_book_finishing(b, V, "upload", &o, E));
        OK(glacier_book_find_unfinished(b, V, "name", upload, &back, E));
        assert_string_equal(upload, "upload");
        OK(glacier_book_find_finishing(b, V, "upload", &back, E));
        assert_memory_equal(back.tree_hash, o.tree_hash, sizeof o.tree_hash);
        o = object("name", "id", 1);
        OK(glacier_book_finished(b, V, "upload", &o, E));
        expect(b, "name", "id");
        FAILS(-ENOENT, glacier_book_find_finishing(b, V, "upload", &back, E));
        FAILS(-ENOENT, glacier_book_find_unfinished(b, V, "name", upload, &back, E));
}

static void jobs_come_newest_first(void **state)
{
        struct glacier_book *b = book_of(state);
        _cleanup_free_ struct glacier_job *v = NULL;
        size_t n;
        for (int i = 0; i < 3; i++) {
                struct glacier_job j = {.archive = "a", .start = 1, .end = 9, .asked = i};
                (void)snprintf(j.id, sizeof j.id, "job%d", i);
                OK(glacier_book_set_job(b, V, &j, E));
        }
        OK(glacier_book_forget_job(b, V, "job1", E));
        OK(glacier_book_jobs(b, V, "a", &v, &n, E));
        assert_int_equal(n, 2);
        assert_string_equal(v[0].id, "job2");
        assert_string_equal(v[1].id, "job0");
        assert_int_equal(v[1].end, 9);
}

static void batch_is_all_or_nothing(void **state)
{
        struct setup *u = *state;
        struct glacier_book *other;
        OK(glacier_book_open(u->path, &other, E));
        OK(glacier_book_batch_begin(u->b, E));
        add(u->b, "one", "1", 1, 0);
        expect(other, "one", NULL);
        FAILS(-EPROTO, glacier_book_batch_end(u->b, -EPROTO, E));
        expect(u->b, "one", NULL);
        OK(glacier_book_batch_begin(u->b, E));
        add(u->b, "two", "2", 1, 0);
        OK(glacier_book_batch_end(u->b, 0, E));
        expect(other, "two", "2");
        glacier_book_close(other);
}

static void book_of_a_newer_program_and_what_is_none_are_refused(void **state)
{
        struct setup *u = *state;
        struct glacier_book *other = NULL;
        sqlite3 *db;
        glacier_book_close(u->b);
        u->b = NULL;
        assert_int_equal(sqlite3_open(u->path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
        (void)sqlite3_close(db);
        FAILS(-EPROTONOSUPPORT, glacier_book_open(u->path, &other, E));
        OK(io_write_file(AT_FDCWD, u->path, 0600, "no database at all, but long enough", 35, E));
        FAILS(-EPROTO, glacier_book_open(u->path, &other, E));
        assert_non_null(strstr(err.text, "autoglacier recover"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(what_is_written_is_there_for_the_next_program),
                TEST(the_newest_archive_of_a_name_counts),
                TEST(names_come_in_order_each_once),
                TEST(inventory_forgets_only_what_it_should_have_had),
                TEST(what_was_removed_does_not_come_back),
                TEST(book_that_began_late_is_not_complete_until_an_inventory),
                TEST(finishing_is_remembered_until_it_is_known),
                TEST(jobs_come_newest_first),
                TEST(batch_is_all_or_nothing),
                TEST(book_of_a_newer_program_and_what_is_none_are_refused),
        };
        return cmocka_run_group_tests_name("glacier_book", tests, NULL, NULL);
}
