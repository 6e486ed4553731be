/* A disk that fails while a commit reads it, or while files go back: the archive holds what it
 * says, and the rest is where it was. */
#include "home.h"

#include "catalog.h"
#include "decrypt.h"
#include "delete.h"

#include <pthread.h>

/* ---- a source that fails ---- */

static struct {
        char name[64];         /* of the file whose reading is not as it should be; "" for none */
        uint64_t good;         /* so much of it can be read, ... */
        int code;              /* ... then this is the answer; 0: the rest can be read too */
        const char *id;        /* and when a volume of this archive is stored, ... */
        struct engine *engine; /* ... this is told to stop */
} bad;

static bool is_bad(int fd)
{
        char proc[64], path[512];
        if (!*bad.name)
                return false;
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd); /* fits */
        ssize_t n = readlink(proc, path, sizeof path - 1);
        path[n < 0 ? 0 : n] = 0;
        return endswith(path, bad.name);
}

/* The walk stands still until the store has the first volume. */
static void wait_for_volume(void)
{
        struct catalog *c = NULL;
        struct err e = {0};
        assert_int_equal(engine_catalog(bad.engine, &c, &e), 0);
        for (bool done = false; !done;) {
                struct catalog_volume *v = NULL;
                size_t n = 0;
                assert_int_equal(catalog_volumes(c, bad.id, &v, &n, &e), 0);
                done = n > 0 && v[0].done;
                free(v);
                (void)usleep(1000);
        }
        catalog_close(c);
}

ssize_t __real_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len);
ssize_t __wrap_read(int fd, void *data, size_t len)
{
        if (!is_bad(fd))
                return __real_read(fd, data, len);
        off_t at = lseek(fd, 0, SEEK_CUR);
        if ((uint64_t)at < bad.good)
                return __real_read(fd, data, MIN(len, (size_t)(bad.good - (uint64_t)at)));
        if (bad.id) {
                wait_for_volume();
                engine_stop(bad.engine); /* as soon as the next member begins */
                bad.id = NULL;
        }
        if (bad.code == 0)
                return __real_read(fd, data, len);
        errno = -bad.code;
        return -1;
}

static void fail_reading(const char *name, uint64_t good)
{
        (void)snprintf(bad.name, sizeof bad.name, "/%s", name);
        bad.good = good;
        bad.code = -EIO;
}

/* The run is taken down in the middle of a file, after its first volume. */
static void stop_in(struct home *h, const char *id, const char *name, uint64_t good)
{
        (void)snprintf(bad.name, sizeof bad.name, "/%s", name);
        bad.good = good;
        bad.id = id;
        bad.engine = h->engine;
}

/* ---- a folder that goes away, as on a network's disk, and a full one ---- */

static struct {
        int rename;       /* renames fail with this, ... */
        int times;        /* ... so many */
        char victim[128]; /* this folder is removed before the next rename */
        bool full;        /* an archive cannot be begun again */
} gone;

int __real_renameat2(int from, const char *a, int to, const char *b, unsigned flags);
int __wrap_renameat2(int from, const char *a, int to, const char *b, unsigned flags);
int __wrap_renameat2(int from, const char *a, int to, const char *b, unsigned flags)
{
        if (*gone.victim) {
                assert_int_equal(rmdir(gone.victim), 0);
                *gone.victim = 0;
        }
        if (gone.times == 0)
                return __real_renameat2(from, a, to, b, flags);
        gone.times--;
        errno = -gone.rename;
        return -1;
}

int __real_catalog_archive_restart(struct catalog *c, const char *id, struct err *e);
int __wrap_catalog_archive_restart(struct catalog *c, const char *id, struct err *e);
int __wrap_catalog_archive_restart(struct catalog *c, const char *id, struct err *e)
{
        return gone.full ? err_set(e, -ENOSPC, "the disk is full")
                         : __real_catalog_archive_restart(c, id, e);
}

/* The store does not remove objects of this kind. */
static struct {
        const char *begins;
        int code;
} kept;

struct store;
int __real_store_remove(struct store *s, const char *name, struct err *e);
int __wrap_store_remove(struct store *s, const char *name, struct err *e);
int __wrap_store_remove(struct store *s, const char *name, struct err *e)
{
        return kept.begins && startswith(name, kept.begins) ? err_set(e, kept.code, "not now")
                                                            : __real_store_remove(s, name, e);
}

/* ---- commits ---- */

static int setup(void **state)
{
        memset(&bad, 0, sizeof bad);
        memset(&gone, 0, sizeof gone);
        memset(&kept, 0, sizeof kept);
        *state = home_new("{\"COMPRESSION\": \"none\", \"VOLUME_SIZE\": \"20MiB\"}");
        return 0;
}

static int teardown(void **state)
{
        memset(&bad, 0, sizeof bad);
        home_free(*state);
        return 0;
}

/* Commits what is staged, without running it: h->a. */
static void commit(struct home *h)
{
        char *id = NULL;
        home_must(h, engine_commit(h->engine, "a test", 6, NULL, &id, &h->e));
        home_must(h, engine_commit_seal(h->engine, id, &h->e));
        catalog_archive_done(&h->a);
        h->a = (struct catalog_archive){0};
        home_must(h, catalog_archive_get(h->catalog, id, &h->a, &h->e));
        free(id);
}

static void reload(struct home *h)
{
        _cleanup_free_ char *id = strdup(h->a.id);
        catalog_archive_done(&h->a);
        h->a = (struct catalog_archive){0};
        home_must(h, catalog_archive_get(h->catalog, id, &h->a, &h->e));
}

/* As after a kill: another engine, and nothing in memory. */
static void start_again(struct home *h)
{
        engine_close(h->engine);
        memset(&bad, 0, sizeof bad);
        home_must(h, engine_open(h->config, ENGINE_MOUNT, "/mnt/none", &h->engine, &h->e));
}

/* What other programs find in the volumes: $T/out. */
static void open_by_tar(struct home *h)
{
        struct catalog_volume *v = NULL;
        size_t n = 0;
        home_must(h, catalog_volumes(h->catalog, h->a.id, &v, &n, &h->e));
        char *files[8] = {0};
        assert_true(n > 0 && n < ARRAY_SIZE(files));
        _cleanup_free_ char *store = io_join(h->path, "data/store");
        for (size_t i = 0; i < n; i++)
                files[i] = io_join(store, v[i].object);
        free(v);
        _cleanup_free_ char *tar = io_join(h->path, "out.tar");
        home_must(h, decrypt_run(h->key, (const char *const *)files, tar, NULL, NULL, NULL, &h->e));
        for (size_t i = 0; i < n; i++)
                free(files[i]);
        tree_sh("mkdir $T/out && tar -C $T/out -xf $T/out.tar && rm $T/out.tar");
}

static int copy_nothing(void *ctx _unused_, const struct catalog_member *m _unused_)
{
        return 0;
}

static bool has_member(struct home *h, const char *path)
{
        int q = catalog_member_by_path(h->catalog, h->a.id, path, copy_nothing, NULL, &h->e);
        if (q != -ENOENT)
                home_must(h, q);
        return q == 0;
}

#define STAGED "cd $T/data/staging/current; "

static void a_link_to_an_unreadable_file_holds_its_content_itself(void **state)
{
        struct home *h = *state;
        tree_sh(STAGED "echo content >a; ln a b; ln a c; echo content >$T/wanted");
        commit(h);
        fail_reading("a", 0);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        reload(h);
        assert_int_equal(h->a.state, ARCHIVE_INCOMPLETE);
        assert_false(has_member(h, "a"));
        open_by_tar(h);
        tree_sh("cmp $T/wanted $T/out/b && cmp $T/wanted $T/out/c");
        tree_sh("cmp $T/wanted $T/data/staging/current/a && ! test -e $T/data/staging/current/b");
}

static void what_broke_off_after_a_volume_is_not_in_the_archive(void **state)
{
        struct home *h = *state;
        tree_sh(STAGED "head -c 50000000 /dev/urandom >big; echo content >later");
        commit(h);
        fail_reading("big", 45000000);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        reload(h);
        assert_int_equal(h->a.state, ARCHIVE_INCOMPLETE);
        assert_false(has_member(h, "big"));
        assert_int_equal(h->a.n_files, 1);
        open_by_tar(h);
        tree_sh("test $(cat $T/out/later) = content");
        tree_sh("test $(stat -c %s $T/data/staging/current/big) = 50000000");
}

static void a_run_that_goes_on_reads_what_broke_off_again(void **state)
{
        struct home *h = *state;
        tree_sh(STAGED
                "head -c 50000000 /dev/urandom >big; echo content >later; cp -a . $T/wanted");
        commit(h);
        stop_in(h, h->a.id, "big", 45000000);
        bad.code = -EIO;
        assert_int_equal(engine_run(h->engine, h->a.id, &h->e), -ECANCELED);
        start_again(h);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        open_by_tar(h);
        tree_sh("rm -r $T/out/.autoglacier; diff -r $T/wanted $T/out");
}

static void what_is_stored_stays_when_the_way_back_is_gone_for_a_moment(void **state)
{
        struct home *h = *state;
        tree_sh(STAGED "echo content >a; mkfifo fifo; mkdir $T/wanted; cp a $T/wanted");
        commit(h);
        gone.rename = -ESTALE;
        gone.times = 1;
        (void)engine_run(h->engine, h->a.id, &h->e);
        assert_int_equal(gone.times, 0);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        open_by_tar(h);
        tree_sh("rm -r $T/out/.autoglacier; diff -r $T/wanted $T/out; test -p "
                "$T/data/staging/current/fifo");
}

static void what_goes_back_into_a_folder_that_is_removed_is_not_lost(void **state)
{
        struct home *h = *state;
        tree_sh(STAGED "mkdir d; echo content >a; mkfifo d/fifo");
        commit(h);
        (void)snprintf(gone.victim, sizeof gone.victim, "%s/data/staging/current/d", h->path);
        (void)engine_run(h->engine, h->a.id, &h->e);
        assert_int_equal(*gone.victim, 0);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        tree_sh("test -p $T/data/staging/current/d/fifo");
}

static void an_archive_that_cannot_be_begun_again_keeps_its_volumes(void **state)
{
        struct home *h = *state;
        char *id = NULL;
        _cleanup_free_ char *big = io_join(h->path, "src");
        const char *const files[] = {big, NULL};
        tree_sh("mkdir $T/src; head -c 50000000 /dev/urandom >$T/src/big; cp -a $T/src $T/wanted");
        home_must(h, engine_backup(h->engine, "a test", files, &id, &h->e));
        h->a.id = id;
        stop_in(h, id, "big", 45000000);
        assert_int_equal(engine_run(h->engine, id, &h->e), -ECANCELED);
        start_again(h);
        tree_sh("mv $T/src/big $T/away");
        gone.full = true;
        assert_true(engine_run(h->engine, id, &h->e) < 0);
        gone.full = false;
        tree_sh("mv $T/away $T/src/big");
        home_must(h, engine_run(h->engine, id, &h->e));
        reload(h);
        open_by_tar(h);
        tree_sh("diff -r $T/wanted $T/out$T/src");
}

static void an_archive_whose_last_file_is_gone_in_the_middle_is_begun_again(void **state)
{
        struct home *h = *state;
        char *id = NULL;
        _cleanup_free_ char *src = io_join(h->path, "src");
        const char *const files[] = {src, NULL};
        tree_sh("mkdir $T/src; head -c 30000000 /dev/urandom >$T/src/a; cp -a $T/src $T/wanted;"
                "head -c 50000000 /dev/urandom >$T/src/big");
        home_must(h, engine_backup(h->engine, "a test", files, &id, &h->e));
        h->a.id = id;
        stop_in(h, id, "big", 45000000);
        assert_int_equal(engine_run(h->engine, id, &h->e), -ECANCELED);
        start_again(h);
        tree_sh("rm $T/src/big");
        home_must(h, engine_run(h->engine, id, &h->e));
        reload(h);
        open_by_tar(h);
        tree_sh("diff -r $T/wanted $T/out$T/src; test -s $T/out/.autoglacier/manifest.jsonl");
}

static enum archive_state delete_archive(struct home *h, int expected)
{
        reload(h);
        assert_int_equal(delete_run(h->catalog, h->store, &h->a, &h->e), expected);
        reload(h);
        return h->a.state;
}

static void what_is_half_deleted_does_not_count_as_stored(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo content >a");
        kept.begins = "archives/";
        kept.code = -EAGAIN;
        assert_int_equal(delete_archive(h, -EAGAIN), ARCHIVE_FAILED);
        assert_int_equal(engine_retry(h->engine, h->a.id, &h->e), -EINVAL);
        kept.begins = NULL;
        assert_int_equal(delete_archive(h, 0), ARCHIVE_DELETED);
        tree_sh("test -z \"$(find $T/data/store -name '*.esdk')\"");
}

static void what_a_store_refuses_to_delete_stays_stored(void **state)
{
        struct home *h = *state;
        home_archive(h, "echo content >a");
        kept.begins = "manifests/";
        kept.code = -EACCES;
        assert_int_equal(delete_archive(h, -EACCES), ARCHIVE_STORED);
        kept.begins = NULL;
        assert_int_equal(delete_archive(h, 0), ARCHIVE_DELETED);
}

static int count_failures(void *ctx, int64_t time _unused_, char level, const char *text _unused_)
{
        *(unsigned *)ctx += level == 'e';
        return 0;
}

static void the_log_tells_once_why_cleaning_up_waits(void **state)
{
        struct home *h = *state;
        unsigned n = 0;
        tree_sh(STAGED "echo content >a; mkfifo fifo");
        commit(h);
        gone.rename = -EROFS;
        gone.times = 3;
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(engine_run(h->engine, h->a.id, &h->e), -EAGAIN);
        home_must(h, catalog_events(h->catalog, h->a.id, count_failures, &n, &h->e));
        assert_int_equal(n, 1);
        home_must(h, engine_run(h->engine, h->a.id, &h->e));
        reload(h);
        assert_true(h->a.released);
        assert_string_equal(h->a.error, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(a_link_to_an_unreadable_file_holds_its_content_itself),
                TEST(what_broke_off_after_a_volume_is_not_in_the_archive),
                TEST(a_run_that_goes_on_reads_what_broke_off_again),
                TEST(what_is_stored_stays_when_the_way_back_is_gone_for_a_moment),
                TEST(what_goes_back_into_a_folder_that_is_removed_is_not_lost),
                TEST(an_archive_that_cannot_be_begun_again_keeps_its_volumes),
                TEST(an_archive_whose_last_file_is_gone_in_the_middle_is_begun_again),
                TEST(the_log_tells_once_why_cleaning_up_waits),
                TEST(what_is_half_deleted_does_not_count_as_stored),
                TEST(what_a_store_refuses_to_delete_stays_stored),
        };
        return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
