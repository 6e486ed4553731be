/* The cache gives out what was put in or nothing, keeps its limit, and never evicts what is open.
 */
#include "cache.h"

#include "tree.h"

#include "io.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <time.h>

#define LIMIT     (1u * MiB)
#define FILE_SIZE (100u * 1000u) /* nine of them fit, with what the disk adds */

struct scratch {
        char dir[64];
        struct cache *cache;
};

/* The machine was started a moment ago: what is there was put in by an earlier run of it. */
static bool just_started;
int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
        int q = __real_clock_gettime(id, ts);
        if (id == CLOCK_BOOTTIME && just_started)
                *ts = (struct timespec){0};
        return q;
}

static int setup(void **state)
{
        static struct scratch s;
        struct err e = {0};
        tree_setup(s.dir);
        if (cache_open(s.dir, LIMIT, &s.cache, &e) < 0)
                fail_msg("%s", e.text);
        just_started = false;
        *state = &s;
        return 0;
}

static int teardown(void **state)
{
        struct scratch *s = *state;
        cache_close(s->cache);
        tree_remove(s->dir);
        return 0;
}

/* Content number n, and its key. */
static void content_of(unsigned n, size_t size, uint8_t *data, uint8_t key[CACHE_KEY_LEN])
{
        for (size_t i = 0; i < size; i++)
                data[i] = (uint8_t)(i * 31 + n * 17 + i / 251);
        assert_true(EVP_Digest(data, size, key, NULL, EVP_sha512(), NULL));
}

static int put(struct cache *k, unsigned n, size_t size, uint8_t key[CACHE_KEY_LEN])
{
        _cleanup_free_ uint8_t *data = malloc(size);
        int fd = -EBADF, ret = -EBADF;
        struct err e = {0};
        content_of(n, size, data, key);
        assert_int_equal(cache_begin(k, size, &fd, &e), 0);
        assert_int_equal(io_write_full(fd, data, size), 0);
        if (cache_put(k, key, &fd, &ret, &e) < 0)
                fail_msg("%s", e.text);
        assert_true(fd < 0);
        return ret;
}

static void holds(int fd, unsigned n, size_t size)
{
        uint8_t key[CACHE_KEY_LEN];
        _cleanup_free_ uint8_t *want = malloc(size), *got = malloc(size + 1);
        content_of(n, size, want, key);
        assert_int_equal(io_pread_full(fd, got, size + 1, 0), size);
        assert_memory_equal(got, want, size);
}

static bool is_there(struct cache *k, const uint8_t key[CACHE_KEY_LEN])
{
        int fd = -EBADF;
        int q = cache_get(k, key, &fd, NULL);
        base_closep(&fd);
        assert_true(q == 0 || q == -ENOENT);
        return q == 0;
}

static void what_was_put_in_comes_out_and_nothing_else(void **state)
{
        struct scratch *s = *state;
        uint8_t key[CACHE_KEY_LEN], other[CACHE_KEY_LEN] = {1};
        int fd = put(s->cache, 1, FILE_SIZE, key);
        holds(fd, 1, FILE_SIZE);
        base_closep(&fd);
        assert_true(is_there(s->cache, key));
        assert_false(is_there(s->cache, other));
        fd = put(s->cache, 1, FILE_SIZE, key); /* twice: harmless */
        base_closep(&fd);
        cache_drop(s->cache, key);
        assert_false(is_there(s->cache, key));
        assert_int_equal(cache_bytes(s->cache), 0);
}

static void an_unfinished_file_leaves_nothing(void **state)
{
        struct scratch *s = *state;
        int fd;
        assert_int_equal(cache_begin(s->cache, FILE_SIZE, &fd, NULL), 0);
        assert_int_equal(io_write_full(fd, "half", 4), 0);
        base_closep(&fd);
        tree_sh("test -z \"$(ls -A $T)\"");
}

static void it_keeps_its_limit_and_the_oldest_goes_first(void **state)
{
        struct scratch *s = *state;
        uint8_t keys[30][CACHE_KEY_LEN];
        for (unsigned i = 0; i < 30; i++) {
                int fd = put(s->cache, i, FILE_SIZE, keys[i]);
                base_closep(&fd);
                assert_true(cache_bytes(s->cache) <= LIMIT);
                if (i > 0) /* the first is in use all the time: it stays */
                        assert_true(is_there(s->cache, keys[0]));
        }
        assert_true(is_there(s->cache, keys[29]));
        assert_true(is_there(s->cache, keys[25]));
        assert_false(is_there(s->cache, keys[1]));
        assert_false(is_there(s->cache, keys[10]));
}

static void what_is_open_is_not_evicted_in_any_program(void **state)
{
        struct scratch *s = *state;
        struct cache *other;
        uint8_t key[CACHE_KEY_LEN], more[CACHE_KEY_LEN];
        assert_int_equal(cache_open(s->dir, LIMIT, &other, NULL), 0);
        int open = put(s->cache, 100, FILE_SIZE, key);
        for (unsigned i = 0; i < 25; i++) {
                int fd = put(other, i, FILE_SIZE, more);
                base_closep(&fd);
        }
        assert_true(is_there(other, key));
        cache_drop(other, key);
        assert_true(is_there(other, key));
        holds(open, 100, FILE_SIZE);
        base_closep(&open);
        for (unsigned i = 25; i < 50; i++) {
                int fd = put(other, i, FILE_SIZE, more);
                base_closep(&fd);
        }
        assert_false(is_there(other, key));
        cache_close(other);
}

static void a_file_larger_than_the_limit_passes_through(void **state)
{
        struct scratch *s = *state;
        uint8_t large[CACHE_KEY_LEN], small[CACHE_KEY_LEN];
        int fd = put(s->cache, 1, 3 * LIMIT, large);
        holds(fd, 1, 3 * LIMIT);
        base_closep(&fd);
        assert_true(is_there(s->cache, large));
        fd = put(s->cache, 2, FILE_SIZE, small);
        base_closep(&fd);
        assert_false(is_there(s->cache, large));
        assert_true(is_there(s->cache, small));
}

static void what_the_disk_has_no_room_for_is_refused(void **state)
{
        struct scratch *s = *state;
        struct err e = {0};
        int fd = -EBADF;
        assert_int_equal(cache_begin(s->cache, 1ull << 60, &fd, &e), -ENOSPC);
        assert_true(strlen(e.text) > 10);
}

static void a_file_torn_by_a_power_cut_is_found_out(void **state)
{
        struct scratch *s = *state;
        uint8_t torn[CACHE_KEY_LEN], whole[CACHE_KEY_LEN];
        int fd = put(s->cache, 1, FILE_SIZE, torn);
        base_closep(&fd);
        tree_sh("for f in $T/*; do truncate -s 50000 $f; done");
        fd = put(s->cache, 2, FILE_SIZE, whole);
        base_closep(&fd);
        just_started = true;
        assert_false(is_there(s->cache, torn));
        tree_sh("test $(ls $T | wc -l) = 1");
        assert_true(is_there(s->cache, whole));
}

static void files_that_are_not_ours_are_left_alone(void **state)
{
        struct scratch *s = *state;
        uint8_t key[CACHE_KEY_LEN];
        tree_sh("mkdir $T/folder; head -c 2000000 /dev/zero >$T/README");
        for (unsigned i = 0; i < 20; i++) {
                int fd = put(s->cache, i, FILE_SIZE, key);
                base_closep(&fd);
        }
        tree_sh("test -d $T/folder && test -e $T/README");
}

static void *put_many(void *arg)
{
        uint8_t key[CACHE_KEY_LEN];
        for (unsigned i = 0; i < 40; i++) {
                int fd = put(arg, i % 7, FILE_SIZE, key);
                holds(fd, i % 7, FILE_SIZE);
                base_closep(&fd);
        }
        return NULL;
}

static void threads_that_put_the_same_get_it_whole(void **state)
{
        struct scratch *s = *state;
        pthread_t t[4];
        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                assert_int_equal(pthread_create(&t[i], NULL, put_many, s->cache), 0);
        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                pthread_join(t[i], NULL);
        assert_true(cache_bytes(s->cache) <= LIMIT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
                T(what_was_put_in_comes_out_and_nothing_else),
                T(an_unfinished_file_leaves_nothing),
                T(it_keeps_its_limit_and_the_oldest_goes_first),
                T(what_is_open_is_not_evicted_in_any_program),
                T(a_file_larger_than_the_limit_passes_through),
                T(what_the_disk_has_no_room_for_is_refused),
                T(a_file_torn_by_a_power_cut_is_found_out),
                T(files_that_are_not_ours_are_left_alone),
                T(threads_that_put_the_same_get_it_whole),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
