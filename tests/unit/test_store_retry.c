/* Trying again: what is, how often, how long it waits, and what ends it. */
#include <setjmp.h>
#include <stdarg.h>

#include "backoff.h"
#include "clock.h"
#include "store_retry.h"

#include <cmocka.h>
#include <pthread.h>

static struct err err;
#define E (&err)

/* ---- a store that fails as it is told ---- */

struct script {
        bool jumbled;  /* lists come in no order */
        int codes[32]; /* what calls return, in order; 0 ends it: from then on they work */
        int64_t wait_ns;
        atomic_uint calls;
        unsigned closed, left;
};

struct fake {
        struct store base;
        struct script *script;
};

static int answer(struct store *s, struct err *e)
{
        struct script *k = ((struct fake *)s)->script;
        unsigned n = atomic_fetch_add(&k->calls, 1);
        int code = k->codes[MIN(n, ARRAY_SIZE(k->codes) - 1)];
        if (code < 0) {
                err_set(e, code, "call %u failed", n + 1);
                if (e)
                        e->wait_ns = k->wait_ns;
        }
        return code;
}

static int fake_check(struct store *s, const char *x _unused_, char *y _unused_, struct err *e)
{
        return answer(s, e);
}

static int fake_state(
        struct store *s, const char *name _unused_, struct store_state *ret _unused_, struct err *e)
{
        return answer(s, e);
}

static int fake_begin(struct store *s, const struct store_new *n _unused_,
        struct store_upload **ret, struct err *e)
{
        int q = answer(s, e);
        if (q == 0) {
                *ret = calloc(1, sizeof **ret);
                (*ret)->store = s;
        }
        return q;
}

static int fake_finish(
        struct store_upload *u, uint64_t size _unused_, const uint8_t *tree _unused_, struct err *e)
{
        int q = answer(u->store, e);
        if (q != -EAGAIN && q != -EBUSY)
                free(u);
        return q;
}

static void fake_leave(struct store_upload *u)
{
        ((struct fake *)u->store)->script->left++;
        free(u);
}

static const char *const names[] = {"a", "b", "c", "d"};

/* Breaks after two names, as often as it is told. */
static int fake_list(
        struct store *s, const char *prefix _unused_, store_list_fn each, void *ctx, struct err *e)
{
        const struct store_state st = {.size = 1};
        bool jumbled = ((struct fake *)s)->script->jumbled;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                int q = i == 2 ? answer(s, e) : 0;
                if (q == 0)
                        q = each(ctx, names[jumbled ? i ^ 1 : i], &st, e);
                if (q != 0)
                        return q;
        }
        return 0;
}

static void fake_close(struct store *s)
{
        ((struct fake *)s)->script->closed++;
        free(s->url);
        free(s);
}

static const struct store_ops fake_ops = {.check = fake_check,
        .state = fake_state,
        .begin = fake_begin,
        .finish = fake_finish,
        .leave = fake_leave,
        .list = fake_list,
        .close = fake_close};

static struct store *make(struct script *k)
{
        struct fake *f = calloc(1, sizeof *f);
        f->base = (struct store){.ops = &fake_ops, .url = strdup("fake:")};
        f->script = k;
        struct store *inner = &f->base, *s;
        assert_int_equal(store_retry_new(&inner, 4, &s, E), 0);
        assert_null(inner);
        return s;
}

/* ---- what is tried again ---- */

static void what_may_work_later_is_tried_again(void **state _unused_)
{
        struct script k = {.codes = {-EAGAIN, -EBUSY, -EAGAIN}};
        struct store *s = make(&k);
        struct store_state st;
        assert_int_equal(store_state(s, "x", &st, E), 0);
        assert_int_equal(k.calls, 4);
        store_close(s);
        assert_int_equal(k.closed, 1);
}

static void what_will_not_work_is_not(void **state _unused_)
{
        const int codes[] = {-EACCES, -EPERM, -ENOENT, -EEXIST, -EREMOTE, -EINVAL, -ENODEV,
                -EKEYREJECTED, -ECANCELED, -EDQUOT};
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
                struct script k = {.codes = {codes[i]}};
                struct store *s = make(&k);
                struct store_state st;
                assert_int_equal(store_state(s, "x", &st, E), codes[i]);
                assert_int_equal(k.calls, 1);
                assert_string_equal(err.text, "call 1 failed");
                store_close(s);
        }
}

static void it_is_given_up_after_so_many_tries(void **state _unused_)
{
        struct script k = {.codes = {-EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN}};
        struct store *s = make(&k);
        struct store_state st;
        assert_int_equal(store_state(s, "x", &st, E), -EAGAIN);
        assert_int_equal(k.calls, 4);
        assert_string_equal(err.text, "call 4 failed");
        store_set_control(s, &(struct store_control){.tries = 2});
        k.calls = 0;
        assert_int_equal(store_state(s, "x", &st, E), -EAGAIN);
        assert_int_equal(k.calls, 2);
        store_close(s);
}

static void the_last_request_of_an_upload_is_repeated(void **state _unused_)
{
        struct script k = {.codes = {0, -EAGAIN, -EBUSY, 0}};
        struct store *s = make(&k);
        struct store_upload *u;
        assert_int_equal(store_begin(s, &(struct store_new){.name = "x"}, &u, E), 0);
        assert_int_equal(store_finish(&u, 1, (const uint8_t[32]){0}, E), 0);
        assert_null(u);
        assert_int_equal(k.calls, 4);
        store_close(s);
}

static void an_upload_that_cannot_be_finished_now_stays(void **state _unused_)
{
        struct script k = {.codes = {0, -EAGAIN, -EAGAIN, -EAGAIN, -EAGAIN, 0}};
        struct store *s = make(&k);
        struct store_upload *u;
        assert_int_equal(store_begin(s, &(struct store_new){.name = "x"}, &u, E), 0);
        assert_int_equal(store_finish(&u, 1, (const uint8_t[32]){0}, E), -EAGAIN);
        assert_non_null(u);
        assert_int_equal(store_finish(&u, 1, (const uint8_t[32]){0}, E), 0);
        assert_null(u);
        store_close(s);
}

struct seen {
        char names[16];
        unsigned n;
};

static int see(
        void *ctx, const char *name, const struct store_state *st _unused_, struct err *e _unused_)
{
        struct seen *v = ctx;
        v->names[v->n++] = *name;
        return 0;
}

static void a_listing_that_broke_tells_each_name_once(void **state _unused_)
{
        struct script k = {.codes = {-EAGAIN, -EAGAIN}};
        struct store *s = make(&k);
        struct seen v = {0};
        assert_int_equal(store_list(s, "", see, &v, E), 0);
        assert_string_equal(v.names, "abcd");
        store_close(s);
}

static void a_listing_in_no_order_is_told_whole_or_not_tried_again(void **state _unused_)
{
        struct script k = {.jumbled = true};
        struct store *s = make(&k);
        struct seen v = {0};
        assert_int_equal(store_list(s, "", see, &v, E), 0);
        assert_string_equal(v.names, "badc");
        struct script broken = {.jumbled = true, .codes = {-EAGAIN}};
        struct store *b = make(&broken);
        struct seen w = {0};
        assert_int_equal(store_list(b, "", see, &w, E), -EAGAIN);
        assert_string_equal(w.names, "ba");
        store_close(b);
        store_close(s);
}

static int refuse(
        void *ctx, const char *name _unused_, const struct store_state *st _unused_, struct err *e)
{
        ++*(unsigned *)ctx;
        return err_set(e, -EAGAIN, "the reader's own");
}

static void what_the_reader_of_a_listing_says_is_not_tried_again(void **state _unused_)
{
        struct script k = {0};
        struct store *s = make(&k);
        unsigned n = 0;
        assert_int_equal(store_list(s, "", refuse, &n, E), -EAGAIN);
        assert_int_equal(n, 1);
        store_close(s);
}

/* ---- waiting ---- */

static void delays_grow_up_to_a_ceiling(void **state _unused_)
{
        const uint64_t most = UINT64_MAX / 2;
        int64_t ms = CLOCK_NSEC / 1000;
        for (unsigned n = 1; n < 40; n++) {
                int64_t soft = MIN(50 * ms << MIN(n - 1, 20u), 20 * CLOCK_NSEC);
                int64_t hard = MIN(CLOCK_NSEC << MIN(n - 1, 20u), 20 * CLOCK_NSEC);
                assert_in_range(backoff_delay(n, false, 0, most), 0, soft);
                assert_in_range(backoff_delay(n, true, 0, most), 0, hard);
                assert_int_equal(backoff_delay(n, false, 0, (uint64_t)soft), soft);
                assert_int_equal(backoff_delay(n, true, 0, (uint64_t)hard), hard);
                assert_int_equal(backoff_delay(n, false, 0, 0), 0);
        }
}

static void what_the_service_asks_for_is_kept(void **state _unused_)
{
        assert_int_equal(backoff_delay(1, true, 7 * CLOCK_NSEC, 0), 7 * CLOCK_NSEC);
        assert_int_equal(backoff_delay(1, true, 86400 * CLOCK_NSEC, 0), 300 * CLOCK_NSEC);
}

static void note_wait(void *ctx, const struct err *why, unsigned tries, int64_t wait_ns)
{
        int64_t *longest = ctx;
        assert_string_equal(why->text, "call 1 failed");
        assert_int_equal(tries, 1);
        *longest = MAX(*longest, wait_ns);
}

static void who_waits_is_told_why_and_how_long(void **state _unused_)
{
        struct script k = {.codes = {-EBUSY}, .wait_ns = CLOCK_NSEC / 100};
        struct store *s = make(&k);
        struct store_state st;
        int64_t longest = 0;
        store_set_control(s, &(struct store_control){.waiting = note_wait, .ctx = &longest});
        assert_int_equal(store_state(s, "x", &st, E), 0);
        assert_true(longest >= CLOCK_NSEC / 100);
        store_close(s);
}

static void count_over(void *ctx)
{
        ++*(unsigned *)ctx;
}

static void who_waits_is_told_once_that_it_is_over(void **state _unused_)
{
        struct script k = {.codes = {-EBUSY, -EAGAIN}};
        struct store *s = make(&k);
        struct store_state st;
        unsigned n = 0;
        store_set_control(s, &(struct store_control){.over = count_over, .ctx = &n});
        assert_int_equal(store_state(s, "x", &st, E), 0);
        assert_int_equal(n, 1);
        assert_int_equal(store_state(s, "x", &st, E), 0); /* at once: nothing is over */
        assert_int_equal(n, 1);
        store_close(s);
}

struct stopping {
        struct store *s;
        struct store_upload *u;
        int result;
        struct err e;
};

static void *ask(void *arg)
{
        struct stopping *t = arg;
        t->result = t->u ? store_finish(&t->u, 1, (const uint8_t[32]){0}, &t->e)
                         : store_check(t->s, NULL, NULL, &t->e);
        return NULL;
}

/* The service asks for five minutes; the flag goes up before they are over. */
static void stop_while_it_waits(struct stopping *t, atomic_bool *stop, struct script *k)
{
        pthread_t thread;
        unsigned before = atomic_load(&k->calls);
        assert_int_equal(pthread_create(&thread, NULL, ask, t), 0);
        while (atomic_load(&k->calls) == before)
                (void)backoff_wait(CLOCK_NSEC / 1000, NULL);
        int64_t start = clock_monotonic();
        atomic_store(stop, true);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(clock_monotonic() - start < 100 * CLOCK_NSEC);
        assert_int_equal(t->result, -ECANCELED);
}

static void a_flag_ends_the_waiting(void **state _unused_)
{
        atomic_bool stop = false;
        struct script k = {.codes = {-EBUSY, 0, -EBUSY}, .wait_ns = 300 * CLOCK_NSEC};
        struct store *s = make(&k);
        store_set_control(s, &(struct store_control){.stop = &stop});
        struct stopping t = {.s = s};
        stop_while_it_waits(&t, &stop, &k);
        /* and an upload whose end was waited for is let go of, not lost */
        atomic_store(&stop, false);
        assert_int_equal(store_begin(s, &(struct store_new){.name = "x"}, &t.u, E), 0);
        stop_while_it_waits(&t, &stop, &k);
        assert_null(t.u);
        assert_int_equal(k.left, 1);
        store_close(s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_may_work_later_is_tried_again),
                cmocka_unit_test(what_will_not_work_is_not),
                cmocka_unit_test(it_is_given_up_after_so_many_tries),
                cmocka_unit_test(the_last_request_of_an_upload_is_repeated),
                cmocka_unit_test(an_upload_that_cannot_be_finished_now_stays),
                cmocka_unit_test(a_listing_that_broke_tells_each_name_once),
                cmocka_unit_test(a_listing_in_no_order_is_told_whole_or_not_tried_again),
                cmocka_unit_test(what_the_reader_of_a_listing_says_is_not_tried_again),
                cmocka_unit_test(delays_grow_up_to_a_ceiling),
                cmocka_unit_test(what_the_service_asks_for_is_kept),
                cmocka_unit_test(who_waits_is_told_why_and_how_long),
                cmocka_unit_test(who_waits_is_told_once_that_it_is_over),
                cmocka_unit_test(a_flag_ends_the_waiting),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
