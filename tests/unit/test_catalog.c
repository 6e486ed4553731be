#include "catalog_helpers.h"

#include "clock.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define A "20261122T212703Z-00000001"
#define B "20261122T212703Z-00000002"

static const struct put small[] = {
        {.path = "photos", .type = 'd', .at = 0},
        {.path = "photos/a.jpg", .type = 'f', .at = 512, .size = 1000, .sum = 1},
        {.path = "photos/b.jpg", .type = 'f', .at = 2048, .size = 10, .sum = 2},
        {.path = "deep/er/file", .type = 'f', .at = 3072, .size = 0, .sum = 3},
        {.path = "link", .type = 'l', .at = 3584, .link = "photos/a.jpg"},
        {.path = "twin", .type = 'h', .at = 4096, .size = 1000, .link = "photos/a.jpg"},
};

static int64_t count(const char *db, const char *sql)
{
        sqlite3 *raw;
        sqlite3_stmt *s;
        assert_int_equal(sqlite3_open(db, &raw), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(raw, sql, -1, &s, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(s), SQLITE_ROW);
        int64_t n = sqlite3_column_int64(s, 0);
        (void)sqlite3_finalize(s);
        (void)sqlite3_close(raw);
        return n;
}

static void raw_exec(const char *db, const char *sql)
{
        sqlite3 *raw;
        assert_int_equal(sqlite3_open(db, &raw), SQLITE_OK);
        assert_int_equal(sqlite3_exec(raw, sql, NULL, NULL, NULL), SQLITE_OK);
        (void)sqlite3_close(raw);
}

/* ---- opening ---- */

static void catalogue_is_private_and_logged_ahead(void **state)
{
        struct scratch *s = *state;
        struct stat st;
        assert_int_equal(stat(s->db, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        put_archive(s->c, A, "x");
        char wal[128];
        (void)snprintf(wal, sizeof wal, "%s-wal", s->db);
        assert_int_equal(stat(wal, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
}

static void catalogue_opens_again_with_what_it_held(void **state)
{
        struct scratch *s = *state;
        put_archive(s->c, A, "kept");
        catalog_close(s->c);
        OK(catalog_open(s->db, &s->c, E));
        struct catalog_archive a;
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_string_equal(a.description, "kept");
        catalog_archive_done(&a);
}

static void catalogue_from_a_newer_program_is_refused(void **state)
{
        struct scratch *s = *state;
        catalog_close(s->c);
        s->c = NULL;
        raw_exec(s->db, "PRAGMA user_version = 99");
        FAILS(catalog_open(s->db, &s->c, E), -EPROTONOSUPPORT);
        assert_non_null(strstr(scratch_err.text, s->db));
        assert_non_null(strstr(scratch_err.text, "newer"));
}

static void what_is_no_database_is_refused(void **state)
{
        struct scratch *s = *state;
        catalog_close(s->c);
        s->c = NULL;
        static const char text[] =
                "This is a letter to my aunt, and it is long enough to be taken for a header, "
                "which has one hundred bytes.";
        OK(io_write_file(AT_FDCWD, s->db, 0600, text, sizeof text, E));
        FAILS(catalog_open(s->db, &s->c, E), -EPROTO);
        assert_non_null(strstr(scratch_err.text, s->db));
        assert_non_null(strstr(scratch_err.text, "move it aside"));
}

static void database_of_another_program_is_refused(void **state)
{
        struct scratch *s = *state;
        char other[128];
        (void)snprintf(other, sizeof other, "%s/other.db", s->dir);
        raw_exec(other, "CREATE TABLE t (x)");
        struct catalog *c = NULL;
        FAILS(catalog_open(other, &c, E), -EPROTO);
        assert_non_null(strstr(scratch_err.text, "not a catalogue"));
        assert_int_equal(count(other, "SELECT count(*) FROM sqlite_schema"), 1);
}

/* Overwrites every page behind the first, as a failing disk would. */
static void spoil(const char *db)
{
        int fd = open(db, O_RDWR | O_CLOEXEC);
        struct stat st;
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        char junk[4096];
        memset(junk, 0xa5, sizeof junk);
        for (off_t at = 4096; at < st.st_size; at += 4096)
                assert_int_equal(io_pwrite_full(fd, junk, sizeof junk, (uint64_t)at), 0);
        (void)close(fd);
}

static void damage_found_later_is_told_in_words(void **state)
{
        struct scratch *s = *state;
        put_archive(s->c, A, "x");
        catalog_close(s->c);
        s->c = NULL;
        spoil(s->db);
        int q = catalog_open(s->db, &s->c, E);
        struct catalog_archive a;
        if (q == 0)
                q = catalog_archive_get(s->c, A, &a, E);
        assert_int_equal(q, -EPROTO);
        assert_non_null(strstr(scratch_err.text, s->db));
        assert_non_null(strstr(scratch_err.text, "damaged"));
        assert_non_null(strstr(scratch_err.text, "move it aside"));
}

static void folder_that_is_missing_is_told(void **state)
{
        struct scratch *s = *state;
        struct catalog *c = NULL;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/nowhere/catalog.db", s->dir);
        FAILS(catalog_open(path, &c, E), -ENOENT);
}

/* In a namespace of its own: a disk of 300 KiB. Exit 0 as it should be, 77 not possible here. */
static int fill_a_small_disk(const char *dir)
{
        if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0 ||
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                mount("tmpfs", dir, "tmpfs", 0, "size=300k") < 0)
                return 77;
        struct err e = {0};
        struct catalog *c = NULL;
        char path[128], key[32];
        (void)snprintf(path, sizeof path, "%s/full.db", dir);
        int q = catalog_open(path, &c, &e);
        static char value[4000];
        memset(value, 'x', sizeof value - 1);
        for (int i = 0; q == 0 && i < 1000; i++) {
                (void)snprintf(key, sizeof key, "%d", i);
                q = catalog_set(c, key, value, &e);
        }
        if (q != -ENOSPC || !strstr(e.text, path) || !strstr(e.text, "make room"))
                return 1;
        char *kept = NULL; /* what was there is there */
        q = catalog_get(c, "0", &kept, &e);
        return q == 0 && kept && strlen(kept) == sizeof value - 1 ? 0 : 2;
}

static void in_another_process(int (*fn)(const char *dir), const char *dir)
{
        pid_t pid = fork();
        if (pid == 0)
                _exit(fn(dir));
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void full_disk_is_told_in_words_and_loses_nothing(void **state)
{
        struct scratch *s = *state;
        in_another_process(fill_a_small_disk, s->dir);
}

/* A disk that becomes read-only, in a namespace of its own; the name would be taken apart if it
 * were a URL. */
static int read_a_disk_that_cannot_be_written(const char *dir)
{
        if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0 ||
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0)
                return 77;
        struct err e = {0};
        struct catalog *c = NULL;
        char path[128], *kept = NULL;
        (void)snprintf(path, sizeof path, "%s/50%%?a#b.db", dir);
        if (catalog_open(path, &c, &e) < 0 || catalog_set(c, "k", "kept", &e) < 0)
                return 1;
        catalog_close(c); /* what it wrote is in the file now */
        if (mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
                return 2;
        if (catalog_open(path, &c, &e) < 0 || catalog_get(c, "k", &kept, &e) < 0 || !kept ||
                !streq(kept, "kept"))
                return 3;
        return catalog_set(c, "k", "new", &e) == -EROFS && strstr(e.text, path) ? 0 : 4;
}

static void catalogue_on_a_read_only_disk_is_read(void **state)
{
        struct scratch *s = *state;
        in_another_process(read_a_disk_that_cannot_be_written, s->dir);
}

/* The newest rows would be missing, and nothing would say so. */
static int read_a_disk_with_a_log(const char *dir)
{
        if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) < 0 ||
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
                mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0)
                return 77;
        struct err e = {0};
        struct catalog *writer = NULL, *c = NULL;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/catalog.db", dir);
        pid_t pid = fork(); /* killed: the log stays */
        if (pid == 0)
                _exit(catalog_open(path, &writer, &e) < 0 ||
                        catalog_set(writer, "k", "in the log", &e) < 0);
        int status;
        if (waitpid(pid, &status, 0) != pid || status != 0 ||
                mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
                return 1;
        return catalog_open(path, &c, &e) == -EROFS && strstr(e.text, "catalog.db-wal") ? 0 : 2;
}

static void log_that_cannot_be_read_is_not_passed_over(void **state)
{
        struct scratch *s = *state;
        in_another_process(read_a_disk_with_a_log, s->dir);
}

static void catalogue_in_memory_leaves_no_file(void **state _unused_)
{
        struct catalog *c;
        OK(catalog_open(NULL, &c, E));
        OK(catalog_set(c, "k", "v", E));
        catalog_close(c);
        assert_int_not_equal(access(":memory:", F_OK), 0);
}

static void settings_are_kept_and_unset(void **state)
{
        struct scratch *s = *state;
        char *v = strdup("untouched");
        free(v);
        OK(catalog_get(s->c, "k", &v, E));
        assert_null(v);
        OK(catalog_set(s->c, "k", "one", E));
        OK(catalog_set(s->c, "k", "two", E));
        OK(catalog_get(s->c, "k", &v, E));
        assert_string_equal(v, "two");
        free(v);
        OK(catalog_set(s->c, "k", NULL, E));
        OK(catalog_get(s->c, "k", &v, E));
        assert_null(v);
}

static void origin_is_made_once(void **state)
{
        struct scratch *s = *state;
        char *one, *two;
        struct catalog *other;
        OK(catalog_origin(s->c, &one, E));
        OK(catalog_open(s->db, &other, E));
        OK(catalog_origin(other, &two, E));
        assert_int_equal(strlen(one), 8);
        assert_int_equal(strspn(one, "0123456789abcdef"), 8);
        assert_string_equal(one, two);
        free(one);
        free(two);
        catalog_close(other);
}

/* ---- archives ---- */

static void archive_reads_back_as_it_was_added(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a = {
                .id = strdup(A),
                .description = strdup("Größe\nund \"mehr\""),
                .state = ARCHIVE_PREPARED,
                .created = 1795382823123456789,
                .origin = strdup("o"),
                .config_file = strdup("/c"),
                .store_url = strdup("dir:/s"),
                .store_id = strdup("i"),
                .storage_class = strdup("cl"),
                .compression = strdup("zstd"),
                .level = -1,
                .volume_size = 8589934592,
                .recipients = strdup("aa bb"),
                .keys_pem = strdup("PEM"),
                .mountpoint = strdup("/m"),
                .spec = strdup("{}"),
                .has_tree = true,
                .todo_bytes = 77,
        };
        OK(catalog_archive_add(s->c, &a, E));
        struct catalog_archive b;
        OK(catalog_archive_get(s->c, A, &b, E));
        assert_int_equal(b.row, a.row);
        assert_string_equal(b.name, "2026-11-22T21-27-03Z_groesse-und-mehr");
        assert_string_equal(b.name, a.name);
        assert_string_equal(b.description, a.description);
        assert_string_equal(b.recipients, "aa bb");
        assert_string_equal(b.devices, ""); /* NULL counts as "" */
        assert_string_equal(b.error, "");
        assert_int_equal(b.created, a.created);
        assert_int_equal(b.level, -1);
        assert_true(b.volume_size == 8589934592);
        assert_int_equal(b.todo_bytes, 77);
        assert_true(b.has_tree && !b.packed && !b.synced);
        catalog_archive_done(&b);
        OK(catalog_archive_get_name(s->c, a.name, &b, E));
        assert_string_equal(b.id, A);
        catalog_archive_done(&b);
        catalog_archive_done(&a);
        put_archive(s->c, B, "x");
        struct catalog_archive again = {.id = (char *)A};
        FAILS(catalog_archive_add(s->c, &again, E), -EEXIST);
        free(again.name);
}

static void names_are_short_plain_and_unique(void **state)
{
        static const struct {
                const char *description, *slug;
        } cases[] = {
                {"photos and documents, summer 2026", "photos-and-documents-summer-2026"},
                {"Grandma's  photos!!", "grandmas-photos"},
                {"", "archive"},
                {"写真", "archive"},
                {"Ærøskøbing straße Łódź", "aeroskobing-strasse-lodz"},
                {"../../etc/passwd\n", "etc-passwd"},
                {"\xff\xfe broken", "broken"},
                {"photos and documents, summer 2026", "photos-and-documents-summer-2026_2"},
                {"photos and documents, summer 2026", "photos-and-documents-summer-2026_3"},
                {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
        };
        struct scratch *s = *state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char id[16], want[128];
                (void)snprintf(id, sizeof id, "id-%zu", i);
                put_archive(s->c, id, cases[i].description);
                (void)snprintf(want, sizeof want, "2026-11-22T21-27-03Z_%s%s", cases[i].slug,
                        i == 3 ? "_2" : "");
                struct catalog_archive a;
                OK(catalog_archive_get(s->c, id, &a, E));
                assert_string_equal(a.name, want);
                catalog_archive_done(&a);
        }
}

static void expect_resolved(struct catalog *c, const char *what, const char *id)
{
        struct catalog_archive a;
        OK(catalog_archive_resolve(c, what, &a, E));
        assert_string_equal(a.id, id);
        catalog_archive_done(&a);
}

static void archive_is_found_by_name_id_beginning_or_latest(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a = {0};
        FAILS(catalog_archive_resolve(s->c, "latest", &a, E), -ENOENT);
        put_archive(s->c, A, "apples");
        put_archive(s->c, B, "pears");
        expect_resolved(s->c, A, A);
        expect_resolved(s->c, "2026-11-22T21-27-03Z_apples", A);
        expect_resolved(s->c, "2026-11-22T21-27-03Z_p", B);
        expect_resolved(s->c, "latest", B);
        FAILS(catalog_archive_resolve(s->c, "2026-11-22", &a, E), -ENOTUNIQ);
        assert_non_null(strstr(scratch_err.text, "_apples"));
        FAILS(catalog_archive_resolve(s->c, "2026-12", &a, E), -ENOENT);
        FAILS(catalog_archive_resolve(s->c, "", &a, E), -ENOENT);
        FAILS(catalog_archive_resolve(s->c, "%", &a, E), -ENOENT);
        OK(catalog_archive_set_state(s->c, B, ARCHIVE_DELETED, "", 0, E));
        expect_resolved(s->c, "latest", A);
        expect_resolved(s->c, "2026-11-22", A);
        expect_resolved(s->c, B, B);
}

static void state_is_stamped_and_stored_only_once(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a, b;
        put_archive(s->c, A, "x");
        int64_t before = clock_now();
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_WAITING, "no disk", 42, E));
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_int_equal(a.state, ARCHIVE_WAITING);
        assert_string_equal(a.error, "no disk");
        assert_int_equal(a.retry_at, 42);
        assert_true(a.changed >= before && a.stored == 0);
        catalog_archive_done(&a);
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_STORED, NULL, 0, E));
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_true(a.stored >= before);
        assert_string_equal(a.error, "");
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_INCOMPLETE, NULL, 0, E));
        OK(catalog_archive_get(s->c, A, &b, E));
        assert_int_equal(a.stored, b.stored);
        catalog_archive_done(&a);
        catalog_archive_done(&b);
        FAILS(catalog_archive_set_state(s->c, "none", ARCHIVE_STORED, "", 0, E), -ENOENT);
}

static void of_taken_back_and_stored_only_the_first_happens(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a = {0};
        bool wanted = false;
        put_archive(s->c, A, "taken back first");
        put_archive(s->c, B, "stored first");
        OK(catalog_archive_want_abort(s->c, A, E));
        assert_int_equal(catalog_archive_set_stored(s->c, A, ARCHIVE_STORED, 5, E), -ECANCELED);
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_int_not_equal(a.state, ARCHIVE_STORED);
        assert_int_equal(a.stored, 0);
        catalog_archive_done(&a);
        OK(catalog_archive_set_stored(s->c, B, ARCHIVE_STORED, 5, E));
        FAILS(catalog_archive_want_abort(s->c, B, E), -EBUSY);
        OK(catalog_archive_abort_wanted(s->c, B, &wanted, E));
        assert_false(wanted);
}

static void update_leaves_state_and_identity_alone(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a;
        put_archive(s->c, A, "x");
        OK(catalog_archive_get(s->c, A, &a, E));
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_GATHERING, "", 0, E));
        OK(catalog_event(s->c, A, 'w', "a warning", E));
        free(a.spec);
        a.spec = strdup("{\"tree\":true}");
        a.n_files = 7;
        a.n_returned = 2;
        a.packed = true;
        a.read_bytes = 5;
        OK(catalog_archive_update(s->c, &a, E));
        catalog_archive_done(&a);
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_int_equal(a.state, ARCHIVE_GATHERING);
        assert_string_equal(a.spec, "{\"tree\":true}");
        assert_int_equal(a.n_files, 7);
        assert_int_equal(a.n_returned, 2);
        assert_int_equal(a.n_warnings, 1);
        assert_true(a.packed);
        bool abort = true;
        a.read_bytes = 6;
        a.rate = 9;
        OK(catalog_archive_progress(s->c, &a, &abort, E));
        assert_false(abort);
        OK(catalog_archive_want_abort(s->c, A, E));
        OK(catalog_archive_progress(s->c, &a, &abort, E));
        assert_true(abort);
        OK(catalog_archive_set_description(s->c, A, "longer text", E));
        OK(catalog_archive_set_runner(s->c, A, 4711, E));
        catalog_archive_done(&a);
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_int_equal(a.read_bytes, 6);
        assert_int_equal(a.rate, 9);
        assert_int_equal(a.runner, 4711);
        assert_string_equal(a.description, "longer text");
        assert_non_null(strstr(a.name, "_x"));
        catalog_archive_done(&a);
}

static void version_grows_with_changes_of_any_connection(void **state)
{
        struct scratch *s = *state;
        struct catalog *other;
        int64_t v0, v1, v2;
        OK(catalog_open(s->db, &other, E));
        OK(catalog_version(s->c, &v0, E));
        put_archive(other, A, "x");
        OK(catalog_version(s->c, &v1, E));
        assert_true(v1 > v0);
        OK(catalog_set(other, "k", "v", E));
        OK(catalog_version(s->c, &v2, E));
        assert_int_equal(v1, v2);
        OK(catalog_archive_remove(s->c, A, E));
        OK(catalog_version(s->c, &v2, E));
        assert_true(v2 > v1);
        catalog_close(other);
}

/* ---- members ---- */

static void members_come_in_the_order_of_the_tar_or_as_a_tree(void **state)
{
        struct scratch *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        put_archive(s->c, A, "x");
        put_archive(s->c, B, "other");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        put_members(s->c, B, small, 1);
        OK(catalog_members_each(s->c, A, CATALOG_AS_TAR, join_paths, &b, E));
        assert_string_equal(
                buf_str(&b), "photos|photos/a.jpg|photos/b.jpg|deep/er/file|link|twin|");
        buf_reset(&b);
        OK(catalog_members_each(s->c, A, CATALOG_AS_TREE, join_paths, &b, E));
        assert_string_equal(buf_str(&b),
                "deep|deep/er|deep/er/file|link|photos|photos/a.jpg|photos/b.jpg|twin|");
        buf_reset(&b);
        OK(catalog_member_children(s->c, A, 0, join_paths, &b, E));
        assert_string_equal(buf_str(&b), "deep|link|photos|twin|");
}

static int check_a_jpg(void *ctx, const struct catalog_member *m)
{
        uint8_t sum[64];
        assert_string_equal(m->path, "photos/a.jpg");
        assert_string_equal(m->name, "a.jpg");
        assert_int_equal(m->type, 'f');
        assert_int_equal(m->mode, 0644);
        assert_int_equal(m->uid, 1000);
        assert_int_equal(m->gid, 100);
        assert_int_equal(m->mtime, -1500000000);
        assert_int_equal(m->size, 1000);
        assert_int_equal(m->tar_offset, 512);
        assert_int_equal(m->tar_len, 1536);
        assert_memory_equal(m->sha512, sum_of(1, sum), 64);
        assert_null(m->link);
        ++*(int *)ctx;
        return 0;
}

static void member_is_found_by_path_row_name_and_offset(void **state)
{
        struct scratch *s = *state;
        struct catalog_member m, folder;
        int n = 0;
        put_archive(s->c, A, "x");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        OK(catalog_member_by_path(s->c, A, "photos/a.jpg", check_a_jpg, &n, E));
        OK(catalog_member_by_path(s->c, A, "photos/a.jpg", take_member, &m, E));
        OK(catalog_member_by_row(s->c, m.row, check_a_jpg, &n, E));
        OK(catalog_member_at(s->c, A, 512, check_a_jpg, &n, E));
        OK(catalog_member_at(s->c, A, 2047, check_a_jpg, &n, E));
        assert_int_equal(n, 4);
        OK(catalog_member_by_path(s->c, A, "photos", take_member, &folder, E));
        assert_int_equal(folder.row, m.parent);
        OK(catalog_member_lookup(s->c, A, folder.row, "b.jpg", take_member, &m, E));
        assert_int_equal(m.size, 10);
        FAILS(catalog_member_lookup(s->c, A, folder.row, "c.jpg", take_member, &m, E), -ENOENT);
        FAILS(catalog_member_by_path(s->c, A, "photos/a.jpg/x", take_member, &m, E), -ENOENT);
        FAILS(catalog_member_by_path(s->c, A, "", take_member, &m, E), -ENOENT);
        FAILS(catalog_member_by_row(s->c, 999999, take_member, &m, E), -ENOENT);
        char *path;
        OK(catalog_member_path(s->c, m.row, &path, E));
        assert_string_equal(path, "photos/b.jpg");
        free(path);
}

static void names_may_be_any_bytes(void **state)
{
        struct scratch *s = *state;
        char longest[256];
        memset(longest, 'n', 255);
        longest[255] = 0;
        const char *const names[] = {"new\nline", "\xff\xfe invalid", "g\xc3\xbc", "\x01", " ",
                "'; DROP TABLE member", longest};
        put_archive(s->c, A, "x");
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                char path[600];
                struct catalog_member m;
                (void)snprintf(path, sizeof path, "%s/%s", names[i], names[i]);
                struct put p = {.path = path, .type = 'l', .at = 512 * i, .link = names[i]};
                put_members(s->c, A, &p, 1);
                OK(catalog_member_by_path(s->c, A, path, take_member, &m, E));
                char *back;
                OK(catalog_member_path(s->c, m.row, &back, E));
                assert_string_equal(back, path);
                free(back);
        }
}

#define DEEP 300u

/* "d/d/d", so deep, and in it `name`, if there is one. */
static char *deep_path(unsigned depth, const char *name)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        for (unsigned i = 0; i < depth; i++)
                buf_adds(&b, i ? "/d" : "d");
        if (name)
                buf_addf(&b, "%s%s", depth ? "/" : "", name);
        return buf_steal(&b);
}

struct expected {
        const struct put *puts;
        size_t at;
};

static int is_expected(void *ctx, const struct catalog_member *m)
{
        struct expected *x = ctx;
        assert_string_equal(m->path, x->puts[x->at++].path);
        return 0;
}

/* Down a chain of folders, up again with a file in each, and to and fro. */
static void paths_are_whole_from_whatever_folder_the_last_was_in(void **state)
{
        struct scratch *s = *state;
        struct put puts[3 * DEEP];
        for (unsigned i = 0; i < DEEP; i++) {
                puts[i] = (struct put){.path = deep_path(i + 1, NULL), .type = 'd'};
                puts[DEEP + i] = (struct put){.path = deep_path(DEEP - i, "up"), .type = 'f'};
                puts[2 * DEEP + i] = (struct put){
                        .path = deep_path((i * 7) % DEEP, i % 3 ? "fro" : "else/where/to"),
                        .type = 'f'};
        }
        for (unsigned i = 0; i < ARRAY_SIZE(puts); i++)
                puts[i].at = 512 * (i + 1);
        put_archive(s->c, A, "x");
        put_members(s->c, A, puts, ARRAY_SIZE(puts));
        struct expected x = {.puts = puts};
        OK(catalog_members_each(s->c, A, CATALOG_AS_TAR, is_expected, &x, E));
        assert_int_equal(x.at, ARRAY_SIZE(puts));
        for (unsigned i = 0; i < ARRAY_SIZE(puts); i++)
                free((char *)puts[i].path);
}

static void later_member_of_a_path_counts_also_when_put_first(void **state)
{
        struct scratch *s = *state;
        struct catalog_member m;
        const struct put disorder[] = {
                {.path = "folder/file", .type = 'f', .at = 4096, .size = 2000, .sum = 9},
                {.path = "folder/file", .type = 'f', .at = 1024, .size = 1000, .sum = 8},
                {.path = "folder", .type = 'd', .at = 512},
        };
        put_archive(s->c, A, "x");
        put_members(s->c, A, disorder, ARRAY_SIZE(disorder));
        OK(catalog_member_by_path(s->c, A, "folder/file", take_member, &m, E));
        assert_int_equal(m.tar_offset, 4096);
        assert_int_equal(m.size, 2000);
        OK(catalog_member_by_path(s->c, A, "folder", take_member, &m, E));
        assert_int_equal(m.type, 'd');
        assert_int_equal(m.tar_offset, 512);
}

static void path_that_comes_again_replaces_and_keeps_its_row(void **state)
{
        struct scratch *s = *state;
        struct catalog_member before, after;
        struct catalog_totals t;
        const struct put later[] = {
                {.path = "photos/a.jpg", .type = 'f', .at = 8192, .size = 2000, .sum = 9},
                {.path = "deep/er", .type = 'd', .at = 8704},
        };
        put_archive(s->c, A, "x");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        OK(catalog_member_by_path(s->c, A, "photos/a.jpg", take_member, &before, E));
        put_members(s->c, A, later, ARRAY_SIZE(later));
        OK(catalog_member_by_path(s->c, A, "photos/a.jpg", take_member, &after, E));
        assert_int_equal(before.row, after.row);
        assert_int_equal(after.size, 2000);
        assert_int_equal(after.tar_offset, 8192);
        OK(catalog_member_by_path(
                s->c, A, "deep/er/file", take_member, &after, E)); /* still below it */
        OK(catalog_member_totals(s->c, A, &t, E));
        assert_int_equal(t.n_files, 3);
        assert_int_equal(t.n_dirs, 2);
        assert_int_equal(t.n_links, 1);
        assert_int_equal(t.n_hardlinks, 1);
        assert_int_equal(t.bytes, 2010);
        assert_int_equal(t.sums_bytes,
                catalog_sums_line_size("photos/a.jpg") + catalog_sums_line_size("photos/b.jpg") +
                        catalog_sums_line_size("deep/er/file") + catalog_sums_line_size("twin"));
}

static void paths_that_leave_the_archive_are_refused(void **state)
{
        static const char *const bad[] = {
                "", "/abs", "a/", "a//b", "..", "a/../b", ".", "a/./b", "../x"};
        struct scratch *s = *state;
        struct catalog_adder *a;
        put_archive(s->c, A, "x");
        OK(catalog_adder_new(s->c, A, &a, E));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct catalog_member m = {.path = bad[i], .type = 'f'};
                FAILS(catalog_adder_add(a, &m, E), -EINVAL);
        }
        const struct put file = {.path = "file", .type = 'f'};
        add_one(a, &file);
        struct catalog_member below = {.path = "file/below", .type = 'f'};
        FAILS(catalog_adder_add(a, &below, E), -EPROTO);
        struct catalog_member kind = {.path = "kind", .type = 'x'};
        FAILS(catalog_adder_add(a, &kind, E), -EINVAL);
        catalog_adder_free(a);
}

static void rows_not_flushed_are_rolled_back(void **state)
{
        struct scratch *s = *state;
        struct catalog_adder *a;
        put_archive(s->c, A, "x");
        OK(catalog_adder_new(s->c, A, &a, E));
        add_one(a, &small[0]);
        catalog_adder_free(a);
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_members_each(s->c, A, CATALOG_AS_TAR, join_paths, &b, E));
        assert_string_equal(buf_str(&b), "");
}

static void durable_row_takes_bulk_rows_along(void **state)
{
        struct scratch *s = *state;
        struct catalog_adder *a;
        put_archive(s->c, A, "x");
        OK(catalog_adder_new(s->c, A, &a, E));
        add_one(a, &small[0]);
        assert_int_equal(count(s->db, "SELECT count(*) FROM member"), 0);
        OK(catalog_event(s->c, A, 'i', "in the same transaction", E));
        assert_int_equal(count(s->db, "SELECT count(*) FROM event"), 0);
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_UPLOADING, "", 0, E));
        assert_int_equal(count(s->db, "SELECT count(*) FROM member"), 1);
        assert_int_equal(count(s->db, "SELECT count(*) FROM event"), 1);
        add_one(a, &small[1]);
        OK(catalog_adder_flush(a, E));
        assert_int_equal(count(s->db, "SELECT count(*) FROM member"), 2);
        catalog_adder_free(a);
}

static void bulk_transactions_stay_short(void **state)
{
        struct scratch *s = *state;
        struct catalog_adder *a;
        struct catalog *other;
        put_archive(s->c, A, "x");
        OK(catalog_open(s->db, &other, E));
        OK(catalog_adder_new(s->c, A, &a, E));
        int64_t there = 0, most = 0; /* rows committed, and pending */
        for (unsigned i = 0; i < 4100; i++) {
                char path[32];
                (void)snprintf(path, sizeof path, "d/%u", i);
                struct put p = {.path = path, .type = 'f', .at = 512ull * i};
                add_one(a, &p);
                if (i % 50 == 0)
                        there = count(s->db, "SELECT count(*) FROM member");
                most = MAX(most, (int64_t)i + 2 - there); /* the folder is one, too */
        }
        assert_true(most <= 4000 + 50);
        OK(catalog_adder_flush(a, E));
        OK(catalog_set(other, "k", "v", E)); /* the lock is free */
        catalog_adder_free(a);
        catalog_close(other);
}

static void cut_forgets_what_begins_at_or_after_it(void **state)
{
        struct scratch *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        char *known = NULL;
        put_archive(s->c, A, "x");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        OK(catalog_hardlink(s->c, A, 1, 1, "early", 512, &known, E));
        OK(catalog_hardlink(s->c, A, 1, 2, "late", 4096, &known, E));
        OK(catalog_members_cut(s->c, A, 3072, E));
        OK(catalog_members_each(s->c, A, CATALOG_AS_TREE, join_paths, &b, E));
        assert_string_equal(buf_str(&b), "photos|photos/a.jpg|photos/b.jpg|"); /* no empty "deep" */
        OK(catalog_hardlink(s->c, A, 1, 2, "anew", 4096, &known, E));
        assert_null(known);
        OK(catalog_hardlink(s->c, A, 1, 1, "anew", 4096, &known, E));
        assert_string_equal(known, "early");
        free(known);
        OK(catalog_members_cut(s->c, A, 0, E));
        assert_int_equal(count(s->db, "SELECT count(*) FROM member"), 0);
}

struct nested {
        struct catalog *c;
        struct buf out;
};

static int list_below(void *ctx, const struct catalog_member *m)
{
        struct nested *n = ctx;
        char *path;
        OK(catalog_member_path(n->c, m->row, &path, E));
        buf_addf(&n->out, "%s|", path);
        free(path);
        OK(catalog_event(n->c, A, 'i', "written while reading", E));
        return catalog_member_children(n->c, A, m->row, list_below, n, E);
}

static void callbacks_may_call_the_same_function(void **state)
{
        struct scratch *s = *state;
        struct nested n = {.c = s->c};
        put_archive(s->c, A, "x");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        OK(catalog_member_children(s->c, A, 0, list_below, &n, E));
        assert_string_equal(buf_str(&n.out),
                "deep|deep/er|deep/er/file|link|photos|photos/a.jpg|photos/b.jpg|twin|");
        buf_done(&n.out);
}

static int stop_at_once(void *ctx, const struct catalog_member *m _unused_)
{
        ++*(int *)ctx;
        return 17;
}

static void callback_ends_the_listing(void **state)
{
        struct scratch *s = *state;
        int n = 0;
        put_archive(s->c, A, "x");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        assert_int_equal(catalog_members_each(s->c, A, CATALOG_AS_TREE, stop_at_once, &n, E), 17);
        assert_int_equal(catalog_members_each(s->c, A, CATALOG_AS_TAR, stop_at_once, &n, E), 17);
        assert_int_equal(catalog_member_children(s->c, A, 0, stop_at_once, &n, E), 17);
        assert_int_equal(n, 3);
}

static int join_found(void *ctx, const struct catalog_archive *a, const struct catalog_member *m)
{
        buf_addf(ctx, "%s:%s|", a->description, m->path);
        return 0;
}

static void find_looks_at_paths_and_names_of_all_archives(void **state)
{
        struct scratch *s = *state;
        static const struct {
                const char *pattern, *want;
        } cases[] = {
                {"a.jpg", "one:photos/a.jpg|two:photos/a.jpg|"},
                {"*.jpg", "one:photos/a.jpg|one:photos/b.jpg|two:photos/a.jpg|"},
                {"deep/*file", "one:deep/er/file|"},
                {"photos/?.jpg", "one:photos/a.jpg|one:photos/b.jpg|two:photos/a.jpg|"},
                {"[xt]win", "one:twin|"},
                {"nothing", ""},
        };
        put_archive(s->c, A, "one");
        put_archive(s->c, B, "two");
        put_archive(s->c, "gone", "three");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        put_members(s->c, B, small, 2);
        put_members(s->c, "gone", small, 2);
        OK(catalog_archive_set_state(s->c, "gone", ARCHIVE_DELETED, "", 0, E));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                OK(catalog_find(s->c, cases[i].pattern, join_found, &b, E));
                assert_string_equal(buf_str(&b), cases[i].want);
        }
}

static void expect_content(struct catalog *c, unsigned seed, const char *want)
{
        uint8_t sum[64];
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_by_sha512(c, sum_of(seed, sum), join_found, &b, E));
        assert_string_equal(buf_str(&b), want);
}

static void content_is_found_only_where_it_is_stored(void **state)
{
        struct scratch *s = *state;
        put_archive(s->c, A, "one");
        put_archive(s->c, B, "two");
        put_members(s->c, A, small, ARRAY_SIZE(small));
        put_members(s->c, B, small, 2);
        expect_content(s->c, 1, "");
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_STORED, "", 0, E));
        expect_content(s->c, 1, "one:photos/a.jpg|"); /* also before it is settled */
        OK(catalog_archive_settle(s->c, A, E));
        OK(catalog_archive_settle(s->c, A, E));
        expect_content(s->c, 1, "one:photos/a.jpg|");
        OK(catalog_archive_set_state(s->c, B, ARCHIVE_INCOMPLETE, "", 0, E));
        expect_content(s->c, 1, "one:photos/a.jpg|two:photos/a.jpg|");
        expect_content(s->c, 4, "");
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_DELETED, "", 0, E));
        expect_content(s->c, 1, "two:photos/a.jpg|");
}

/* ---- volumes, lists, events ---- */

static int join_blocks(void *ctx, const struct catalog_block *b)
{
        buf_addf(ctx, "%u.%u@%d+%u|", b->volume, b->number, (int)b->tar_offset, b->tar_len);
        return 0;
}

static void put_block(struct catalog *c, unsigned volume, unsigned number, uint64_t at)
{
        struct catalog_block b = {
                .volume = volume, .number = number, .tar_offset = at, .tar_len = 100};
        OK(catalog_block_add(c, A, &b, E));
}

static void volume_that_was_not_finished_is_replaced(void **state)
{
        struct scratch *s = *state;
        struct catalog_volume *v;
        size_t n;
        put_archive(s->c, A, "x");
        OK(catalog_volume_begin(s->c, A, 1, "archives/o/A-0001", 0, E));
        put_block(s->c, 1, 0, 0);
        put_block(s->c, 1, 1, 100);
        struct catalog_volume done = {
                .number = 1, .object = "archives/o/A-0001", .tar_end = 200, .size = 150};
        memset(done.tree_hash, 7, sizeof done.tree_hash);
        OK(catalog_volume_done(s->c, A, &done, E));
        OK(catalog_volume_begin(s->c, A, 2, "archives/o/A-0002", 200, E));
        put_block(s->c, 2, 2, 200);
        put_block(s->c, 2, 3, 300);
        struct catalog_part p = {.volume = 2, .number = 1, .size = 64};
        OK(catalog_part_add(s->c, A, &p, E));
        OK(catalog_volume_begin(s->c, A, 2, "archives/o/A-0002", 200, E));
        FAILS(catalog_volume_begin(s->c, A, 1, "archives/o/A-0001", 0, E), -EEXIST);
        assert_int_equal(count(s->db, "SELECT count(*) FROM part"), 0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_blocks(s->c, A, 0, UINT64_MAX, join_blocks, &b, E));
        assert_string_equal(buf_str(&b), "1.0@0+100|1.1@100+100|");
        OK(catalog_volumes(s->c, A, &v, &n, E));
        assert_int_equal(n, 2);
        assert_true(v[0].done && !v[1].done);
        assert_memory_equal(v[0].tree_hash, done.tree_hash, 32);
        assert_int_equal(v[1].tar_start, 200);
        assert_string_equal(v[1].object, "archives/o/A-0002");
        free(v);
}

static void blocks_that_overlap_a_range_are_found(void **state)
{
        struct scratch *s = *state;
        static const struct {
                uint64_t at, len;
                const char *want;
        } cases[] = {
                {0, 1, "1.0@0+100|"},
                {99, 1, "1.0@0+100|"},
                {99, 2, "1.0@0+100|1.1@100+100|"},
                {100, 100, "1.1@100+100|"},
                {150, UINT64_MAX, "1.1@100+100|1.2@200+100|"},
                {299, 1, "1.2@200+100|"},
                {300, UINT64_MAX, ""},
                {100, 0, ""},
        };
        put_archive(s->c, A, "x");
        OK(catalog_volume_begin(s->c, A, 1, "o", 0, E));
        for (unsigned i = 0; i < 3; i++)
                put_block(s->c, 1, i, 100ull * i);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                OK(catalog_blocks(s->c, A, cases[i].at, cases[i].len, join_blocks, &b, E));
                assert_string_equal(buf_str(&b), cases[i].want);
        }
}

static int join_parts(void *ctx, const struct catalog_part *p)
{
        buf_addf(ctx, "%u.%u@%d+%d,%d|", p->volume, p->number, (int)p->offset, (int)p->size,
                p->tree_hash[31]);
        return 0;
}

static void parts_come_in_order(void **state)
{
        struct scratch *s = *state;
        put_archive(s->c, A, "x");
        for (unsigned i = 3; i > 0; i--) {
                struct catalog_part p = {.volume = 1, .number = i, .offset = 10 * i, .size = 10};
                p.tree_hash[31] = (uint8_t)i;
                OK(catalog_part_add(s->c, A, &p, E));
        }
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_parts(s->c, A, 1, join_parts, &b, E));
        assert_string_equal(buf_str(&b), "1.1@10+10,1|1.2@20+10,2|1.3@30+10,3|");
}

static int join_list(void *ctx, const char *path, const char *why)
{
        buf_addf(ctx, "%s (%s)|", path, why);
        return 0;
}

static void lists_keep_their_order_and_no_duplicates(void **state)
{
        struct scratch *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        put_archive(s->c, A, "x");
        OK(catalog_list_add(s->c, A, "again", "z\xff", "changed", E));
        OK(catalog_list_add(s->c, A, "return", "r", "unreadable", E));
        OK(catalog_list_add(s->c, A, "again", "a\n", "changed", E));
        OK(catalog_list_add(s->c, A, "again", "z\xff", "twice", E));
        OK(catalog_list_each(s->c, A, "again", join_list, &b, E));
        assert_string_equal(buf_str(&b), "z\xff (changed)|a\n (changed)|");
}

static int join_events(void *ctx, int64_t time, char level, const char *text)
{
        assert_true(time > 0);
        buf_addf(ctx, "%c %s|", level, text);
        return 0;
}

static void events_are_kept_in_order_and_warnings_counted(void **state)
{
        struct scratch *s = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct catalog_archive a;
        put_archive(s->c, A, "x");
        OK(catalog_event(s->c, A, 'i', "begun", E));
        OK(catalog_event(s->c, A, 'w', "odd", E));
        OK(catalog_event_at(s->c, A, 5, 'w', "odd again", E));
        OK(catalog_event(s->c, A, 'e', "bad", E));
        OK(catalog_events(s->c, A, join_events, &b, E));
        assert_string_equal(buf_str(&b), "i begun|w odd|w odd again|e bad|");
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_int_equal(a.n_warnings, 2);
        catalog_archive_done(&a);
        FAILS(catalog_event(s->c, "none", 'i', "x", E), -ENOENT);
}

static const char *known_link(struct catalog *c, uint64_t ino, char **made)
{
        free(*made);
        *made = NULL;
        OK(catalog_hardlink(c, A, 7, ino, "another", 1, made, E));
        return *made ? *made : "";
}

static void hard_links_are_kept_with_the_next_durable_row(void **state)
{
        struct scratch *s = *state;
        char *link = NULL, path[32];
        put_archive(s->c, A, "x");
        for (uint64_t i = 0; i < 5000; i++) {
                (void)snprintf(path, sizeof path, "first/%u", (unsigned)i);
                OK(catalog_hardlink(s->c, A, 7, i * 4096, path, i, &link, E));
                assert_null(link);
        }
        assert_string_equal(known_link(s->c, 4999 * 4096, &link), "first/4999");
        assert_string_equal(known_link(s->c, 0, &link), "first/0");
        assert_true(count(s->db, "SELECT count(*) FROM hardlink") < 5000);
        OK(catalog_set(s->c, "k", "v", E));
        assert_int_equal(count(s->db, "SELECT count(*) FROM hardlink"), 5000);
        assert_string_equal(known_link(s->c, 4999 * 4096, &link), "first/4999");
        struct catalog *other;
        OK(catalog_open(s->db, &other, E));
        assert_string_equal(known_link(other, 4999 * 4096, &link), "first/4999");
        assert_string_equal(known_link(other, 1, &link), ""); /* noted there alone ... */
        OK(catalog_archive_remove(s->c, A, E));
        OK(catalog_set(other, "k", "w", E)); /* ... and of no use when the archive has gone */
        assert_int_equal(count(s->db, "SELECT count(*) FROM hardlink"), 0);
        catalog_close(other);
        free(link);
}

static void put_everything(struct catalog *c, const char *id)
{
        char *known = NULL;
        put_archive(c, id, "x");
        put_members(c, id, small, ARRAY_SIZE(small));
        OK(catalog_volume_begin(c, id, 1, "o", 0, E));
        struct catalog_part p = {.volume = 1, .number = 1};
        OK(catalog_part_add(c, id, &p, E));
        struct catalog_block b = {.volume = 1};
        OK(catalog_block_add(c, id, &b, E));
        OK(catalog_list_add(c, id, "again", "x", "", E));
        OK(catalog_hardlink(c, id, 1, 1, "x", 0, &known, E));
        OK(catalog_event(c, id, 'w', "x", E));
}

#define ALL_ROWS                                                                                   \
        "(SELECT count(*) FROM member) + (SELECT count(*) FROM sum) + (SELECT count(*) FROM "      \
        "volume) + "                                                                               \
        "(SELECT count(*) FROM block) + (SELECT count(*) FROM part) + (SELECT count(*) FROM "      \
        "list) + "                                                                                 \
        "(SELECT count(*) FROM hardlink)"

static void removed_archive_leaves_nothing_and_no_other_is_touched(void **state)
{
        struct scratch *s = *state;
        bool empty;
        put_everything(s->c, A);
        OK(catalog_archive_settle(s->c, A, E));
        int64_t one = count(s->db, "SELECT " ALL_ROWS);
        put_everything(s->c, B);
        OK(catalog_archive_settle(s->c, B, E));
        OK(catalog_archive_remove(s->c, B, E));
        assert_int_equal(count(s->db, "SELECT " ALL_ROWS), one);
        OK(catalog_is_empty(s->c, &empty, E));
        assert_false(empty);
        OK(catalog_archive_remove(s->c, A, E));
        assert_int_equal(count(s->db, "SELECT " ALL_ROWS " + (SELECT count(*) FROM event)"), 0);
        OK(catalog_is_empty(s->c, &empty, E));
        assert_true(empty);
        FAILS(catalog_archive_remove(s->c, A, E), -ENOENT);
}

static void restarted_archive_is_as_when_it_was_queued(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a;
        put_everything(s->c, A);
        OK(catalog_archive_get(s->c, A, &a, E));
        a.packed = true;
        a.n_files = 5;
        OK(catalog_archive_update(s->c, &a, E));
        catalog_archive_done(&a);
        OK(catalog_archive_restart(s->c, A, E));
        assert_int_equal(count(s->db, "SELECT " ALL_ROWS), 0);
        assert_int_equal(count(s->db, "SELECT count(*) FROM event"), 1);
        OK(catalog_archive_get(s->c, A, &a, E));
        assert_false(a.packed);
        assert_int_equal(a.n_files, 0);
        assert_int_equal(a.n_warnings, 1);
        catalog_archive_done(&a);
}

/* ---- what reaches the disk ---- */

/* SQLite's calls end up here. */
static _Thread_local unsigned synced;

int fdatasync(int fd)
{
        synced++;
        return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
        synced++;
        return (int)syscall(SYS_fsync, fd);
}

#define SYNCS(call)                                                                                \
        do {                                                                                       \
                synced = 0;                                                                        \
                OK(call);                                                                          \
                if (synced == 0)                                                                   \
                        fail_msg("%s did not reach the disk", #call);                              \
        } while (0)
#define LATER(call)                                                                                \
        do {                                                                                       \
                synced = 0;                                                                        \
                OK(call);                                                                          \
                if (synced > 0)                                                                    \
                        fail_msg("%s waited for the disk", #call);                                 \
        } while (0)

static void intentions_reach_the_disk_and_the_rest_follows(void **state)
{
        struct scratch *s = *state;
        struct catalog_archive a = {.id = strdup(A), .description = strdup("x")};
        struct catalog_volume v = {.number = 1, .object = "o"};
        struct catalog_block b = {.volume = 1};
        struct catalog_part p = {.volume = 1, .number = 1};
        bool abort;
        char *known = NULL;
        SYNCS(catalog_archive_add(s->c, &a, E));
        SYNCS(catalog_archive_set_state(s->c, A, ARCHIVE_QUEUED, "", 0, E));
        LATER(catalog_event(s->c, A, 'w', "x", E));
        LATER(catalog_archive_progress(s->c, &a, &abort, E));
        LATER(catalog_archive_set_runner(s->c, A, 1, E));
        SYNCS(catalog_archive_set_description(s->c, A, "y", E));
        SYNCS(catalog_archive_want_abort(s->c, A, E));
        SYNCS(catalog_volume_begin(s->c, A, 1, "o", 0, E));
        LATER(catalog_block_add(s->c, A, &b, E));
        LATER(catalog_part_add(s->c, A, &p, E));
        LATER(catalog_list_add(s->c, A, "again", "x", "", E));
        LATER(catalog_hardlink(s->c, A, 1, 1, "x", 0, &known, E));
        synced = 0;
        put_members(s->c, A, small, ARRAY_SIZE(small));
        assert_int_equal(synced, 0);
        SYNCS(catalog_volume_done(s->c, A, &v, E));
        SYNCS(catalog_archive_update(s->c, &a, E));
        SYNCS(catalog_members_cut(s->c, A, 4096, E));
        SYNCS(catalog_archive_set_state(s->c, A, ARCHIVE_STORED, "", 0, E));
        SYNCS(catalog_archive_settle(s->c, A, E));
        SYNCS(catalog_set(s->c, "k", "v", E));
        SYNCS(catalog_archive_restart(s->c, A, E));
        SYNCS(catalog_archive_remove(s->c, A, E));
        catalog_archive_done(&a);
}

/* ---- several at once, and sudden ends ---- */

struct worker {
        const char *db, *id;
        int result;
};

static void *work(void *arg)
{
        struct worker *w = arg;
        struct err e = {0};
        struct catalog *c = NULL;
        int q = catalog_open(w->db, &c, &e);
        for (unsigned i = 0; q == 0 && i < 50; i++) {
                q = catalog_event(c, w->id, 'w', "x", &e);
                if (q == 0)
                        q = catalog_archive_set_state(c, w->id, ARCHIVE_GATHERING, "", i, &e);
        }
        catalog_close(c);
        w->result = q;
        return NULL;
}

static void writers_wait_for_each_other(void **state)
{
        struct scratch *s = *state;
        struct worker w[4];
        pthread_t t[4];
        put_archive(s->c, A, "x");
        put_archive(s->c, B, "y");
        for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
                w[i] = (struct worker){.db = s->db, .id = i % 2 ? A : B, .result = 1};
                assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
                assert_int_equal(pthread_join(t[i], NULL), 0);
                assert_int_equal(w[i].result, 0);
        }
        assert_int_equal(count(s->db, "SELECT sum(n_warnings) FROM archive"), 200);
}

static void catalogues_made_at_once_are_one(void **state)
{
        struct scratch *s = *state;
        char path[128];
        (void)snprintf(path, sizeof path, "%s/new.db", s->dir);
        pid_t pids[6];
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                if ((pids[i] = fork()) == 0) {
                        struct catalog *c;
                        int64_t v;
                        int q = catalog_open(path, &c, NULL);
                        _exit(q == 0 && catalog_version(c, &v, NULL) == 0 ? 0 : 1);
                }
        }
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                int status;
                assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
                assert_int_equal(status, 0);
        }
}

static void killed_writer_leaves_what_it_had_flushed(void **state)
{
        struct scratch *s = *state;
        put_archive(s->c, A, "x");
        catalog_close(s->c);
        s->c = NULL;
        pid_t pid = fork();
        if (pid == 0) {
                struct catalog *c;
                struct catalog_adder *a;
                if (catalog_open(s->db, &c, NULL) < 0 || catalog_adder_new(c, A, &a, NULL) < 0)
                        _exit(1);
                add_one(a, &small[0]);
                add_one(a, &small[1]);
                if (catalog_adder_flush(a, NULL) < 0)
                        _exit(1);
                add_one(a, &small[2]);
                (void)raise(SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        OK(catalog_open(s->db, &s->c, E));
        _cleanup_buf_ struct buf b = BUF_INIT;
        OK(catalog_members_each(s->c, A, CATALOG_AS_TAR, join_paths, &b, E));
        assert_string_equal(buf_str(&b), "photos|photos/a.jpg|");
}

static void member_costs_less_than_250_bytes(void **state)
{
        struct scratch *s = *state;
        struct catalog_adder *a;
        enum { N = 20000 };
        put_archive(s->c, A, "x");
        OK(catalog_adder_new(s->c, A, &a, E));
        for (unsigned i = 0; i < N; i++) {
                char path[80];
                (void)snprintf(path, sizeof path, "Pictures/album-%04u/IMG_2026%08u.jpg", i / 500,
                        i * 2654435761u);
                struct put p = {.path = path,
                        .type = 'f',
                        .at = 3000000ull * i,
                        .size = 2999000,
                        .sum = i + 1};
                add_one(a, &p);
        }
        OK(catalog_adder_flush(a, E));
        catalog_adder_free(a);
        OK(catalog_archive_set_state(s->c, A, ARCHIVE_STORED, "", 0, E));
        OK(catalog_archive_settle(s->c, A, E));
        int64_t pages = count(s->db, "SELECT page_count FROM pragma_page_count()");
        assert_in_range(pages * 4096 / N, 100, 249);
}

#define T(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(catalogue_is_private_and_logged_ahead),
                T(catalogue_opens_again_with_what_it_held),
                T(catalogue_from_a_newer_program_is_refused),
                T(what_is_no_database_is_refused),
                T(database_of_another_program_is_refused),
                T(damage_found_later_is_told_in_words),
                T(folder_that_is_missing_is_told),
                T(full_disk_is_told_in_words_and_loses_nothing),
                T(catalogue_on_a_read_only_disk_is_read),
                T(log_that_cannot_be_read_is_not_passed_over),
                T(catalogue_in_memory_leaves_no_file),
                T(settings_are_kept_and_unset),
                T(origin_is_made_once),
                T(archive_reads_back_as_it_was_added),
                T(names_are_short_plain_and_unique),
                T(archive_is_found_by_name_id_beginning_or_latest),
                T(state_is_stamped_and_stored_only_once),
                T(of_taken_back_and_stored_only_the_first_happens),
                T(update_leaves_state_and_identity_alone),
                T(version_grows_with_changes_of_any_connection),
                T(members_come_in_the_order_of_the_tar_or_as_a_tree),
                T(member_is_found_by_path_row_name_and_offset),
                T(names_may_be_any_bytes),
                T(paths_are_whole_from_whatever_folder_the_last_was_in),
                T(path_that_comes_again_replaces_and_keeps_its_row),
                T(later_member_of_a_path_counts_also_when_put_first),
                T(paths_that_leave_the_archive_are_refused),
                T(rows_not_flushed_are_rolled_back),
                T(durable_row_takes_bulk_rows_along),
                T(bulk_transactions_stay_short),
                T(cut_forgets_what_begins_at_or_after_it),
                T(callbacks_may_call_the_same_function),
                T(callback_ends_the_listing),
                T(find_looks_at_paths_and_names_of_all_archives),
                T(content_is_found_only_where_it_is_stored),
                T(volume_that_was_not_finished_is_replaced),
                T(blocks_that_overlap_a_range_are_found),
                T(parts_come_in_order),
                T(lists_keep_their_order_and_no_duplicates),
                T(events_are_kept_in_order_and_warnings_counted),
                T(hard_links_are_kept_with_the_next_durable_row),
                T(removed_archive_leaves_nothing_and_no_other_is_touched),
                T(restarted_archive_is_as_when_it_was_queued),
                T(intentions_reach_the_disk_and_the_rest_follows),
                T(writers_wait_for_each_other),
                T(catalogues_made_at_once_are_one),
                T(killed_writer_leaves_what_it_had_flushed),
                T(member_costs_less_than_250_bytes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
