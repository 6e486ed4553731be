/* Readers of one file share one fetch, large files leave room for small ones, and nobody waits for
 * ever. */
#include "content.h"

#include "home.h"

#include <pthread.h>
#include <time.h>

/* The gate that every fetch passes. */
static struct {
        pthread_mutex_t lock;
        pthread_cond_t cond;
        bool open;
        unsigned calls, inside;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

int __real_content_fetch(struct content *k, const struct catalog_member *m, const char *path,
        int fd, content_go_on_fn go_on, void *ctx, struct err *e);
int __wrap_content_fetch(struct content *k, const struct catalog_member *m, const char *path,
        int fd, content_go_on_fn go_on, void *ctx, struct err *e);

static void pause_locked(void)
{
        struct timespec ts;
        (void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail */
        ts.tv_nsec += 20 * 1000 * 1000;
        ts.tv_sec += ts.tv_nsec / 1000000000;
        ts.tv_nsec %= 1000000000;
        (void)pthread_cond_timedwait(&gate.cond, &gate.lock, &ts); /* only a pause */
}

int __wrap_content_fetch(struct content *k, const struct catalog_member *m, const char *path,
        int fd, content_go_on_fn go_on, void *ctx, struct err *e)
{
        pthread_mutex_lock(&gate.lock);
        gate.calls++;
        gate.inside++;
        bool small = m->size < MiB && !startswith(path, "held");
        while (!gate.open && !small && (!go_on || go_on(ctx, 0)))
                pause_locked();
        gate.inside--;
        pthread_mutex_unlock(&gate.lock);
        return __real_content_fetch(k, m, path, fd, go_on, ctx, e);
}

static void open_gate(bool open)
{
        pthread_mutex_lock(&gate.lock);
        gate.open = open;
        pthread_cond_broadcast(&gate.cond);
        pthread_mutex_unlock(&gate.lock);
}

static void until_inside(unsigned n)
{
        pthread_mutex_lock(&gate.lock);
        while (gate.inside < n)
                pause_locked();
        pthread_mutex_unlock(&gate.lock);
}

/* ---- who waits ---- */

struct reader {
        int fd, code;
        bool answered;
        char why[256];
};

static void answer(void *ctx, int fd, int code, const char *why)
{
        struct reader *r = ctx;
        pthread_mutex_lock(&gate.lock);
        assert_false(r->answered);
        r->fd = fd;
        r->code = code;
        (void)snprintf(r->why, sizeof r->why, "%s", why); /* cut if it is long */
        r->answered = true;
        pthread_cond_broadcast(&gate.cond);
        pthread_mutex_unlock(&gate.lock);
}

static void wait_for(struct reader *r)
{
        pthread_mutex_lock(&gate.lock);
        while (!r->answered)
                pause_locked();
        pthread_mutex_unlock(&gate.lock);
}

static int row_of(void *ctx, const struct catalog_member *m)
{
        *(int64_t *)ctx = m->row;
        return 0;
}

static int open_file(struct home *h, const char *path, struct reader *r)
{
        int64_t row = 0;
        *r = (struct reader){.fd = -EBADF};
        home_must(h, catalog_member_by_path(h->catalog, h->a.id, path, row_of, &row, &h->e));
        int q = engine_content_open(h->engine, h->catalog, h->a.id, row, answer, r, &r->fd, &h->e);
        home_must(h, q);
        return q;
}

static void holds(struct reader *r, const char *want)
{
        char got[64];
        if (r->code < 0)
                fail_msg("%d: %s", r->code, r->why);
        ssize_t n = io_pread_full(r->fd, got, sizeof got, 0);
        assert_int_equal(n, strlen(want));
        assert_memory_equal(got, want, strlen(want));
        base_closep(&r->fd);
}

static int setup(void **state)
{
        gate.open = false;
        gate.calls = gate.inside = 0;
        struct home *h = home_new("{\"COMPRESSION\": \"none\"}");
        home_archive(h,
                "echo content >held; echo other >held2; ln held link; echo quick >quick; "
                "for i in 1 2 3 4; do echo $i >large$i; truncate -s 40M large$i; done; touch none");
        *state = h;
        return 0;
}

static int teardown(void **state)
{
        open_gate(true);
        home_free(*state);
        return 0;
}

static void readers_of_one_file_share_one_fetch(void **state)
{
        struct home *h = *state;
        struct reader r[8];
        for (size_t i = 0; i < ARRAY_SIZE(r); i++)
                assert_int_equal(open_file(h, i % 2 ? "link" : "held", &r[i]), 1);
        until_inside(1);
        open_gate(true);
        for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
                wait_for(&r[i]);
                holds(&r[i], "content\n");
        }
        assert_int_equal(gate.calls, 1);
        struct reader later;
        assert_int_equal(open_file(h, "held", &later), 0); /* it is in the cache now */
        holds(&later, "content\n");
        assert_int_equal(gate.calls, 1);
}

static void who_gives_up_hears_nothing_and_the_others_do(void **state)
{
        struct home *h = *state;
        struct reader stays, goes;
        assert_int_equal(open_file(h, "held", &stays), 1);
        assert_int_equal(open_file(h, "held", &goes), 1);
        assert_true(engine_content_cancel(h->engine, &goes));
        assert_false(engine_content_cancel(h->engine, &goes));
        open_gate(true);
        wait_for(&stays);
        holds(&stays, "content\n");
        assert_false(goes.answered);
        assert_false(engine_content_cancel(h->engine, &stays));
}

static void large_files_leave_room_for_small_ones(void **state)
{
        struct home *h = *state;
        struct reader large[4], quick;
        static const char *const names[] = {"large1", "large2", "large3", "large4"};
        for (size_t i = 0; i < ARRAY_SIZE(large); i++)
                assert_int_equal(open_file(h, names[i], &large[i]), 1);
        until_inside(2);
        assert_int_equal(open_file(h, "quick", &quick), 1);
        wait_for(&quick); /* while the gate is shut */
        holds(&quick, "quick\n");
        open_gate(true);
        for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
                wait_for(&large[i]);
                assert_int_equal(large[i].code, 0);
                base_closep(&large[i].fd);
        }
}

static void the_end_answers_everybody(void **state)
{
        struct home *h = *state;
        struct reader r[6];
        static const char *const names[] = {
                "held", "held2", "large1", "large2", "large3", "large4"};
        for (size_t i = 0; i < ARRAY_SIZE(r); i++)
                assert_int_equal(open_file(h, names[i], &r[i]), 1);
        engine_content_end(h->engine);
        for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
                assert_true(r[i].answered);
                assert_int_equal(r[i].code, -ECANCELED);
        }
}

static void an_empty_file_needs_no_fetch(void **state)
{
        struct home *h = *state;
        struct reader r;
        assert_int_equal(open_file(h, "none", &r), 0);
        holds(&r, "");
        assert_int_equal(gate.calls, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = {
                T(readers_of_one_file_share_one_fetch),
                T(who_gives_up_hears_nothing_and_the_others_do),
                T(large_files_leave_room_for_small_ones),
                T(the_end_answers_everybody),
                T(an_empty_file_needs_no_fetch),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
