/* The keyring: which key opens what, whose passphrase is taken, and for how long. */
#include <setjmp.h>
#include <stdarg.h>

#include "agent.h"
#include "config.h"
#include "keyring.h"
#include "secret.h"
#include "tree.h"

#include <pthread.h>

#define PASS "correct horse"

static char dir[64];
static const uint8_t data_key[32] = {1, 2, 3};

static const char *in_dir(const char *name)
{
        static _Thread_local char path[8][128]; /* several in one call */
        static _Thread_local unsigned next;
        next = (next + 1) % ARRAY_SIZE(path);
        (void)snprintf(path[next], sizeof path[0], "%s/%s", dir, name);
        return path[next];
}

/* A keyring of the private keys named, and of a file with the passphrase, or not. */
static struct keyring *ring(const char *const *names, const char *passphrase_file)
{
        struct config c = {.data = dir, .file = (char *)"/home/u/CONFIG.json"};
        char *paths[8] = {NULL};
        struct keyring *k;
        for (size_t i = 0; names[i]; i++)
                paths[i] = (char *)in_dir(names[i]);
        c.private_keys = paths;
        c.passphrase_file = (char *)passphrase_file;
        assert_int_equal(keyring_new(&c, &k, NULL), 0);
        return k;
}
#define RING(...) ring((const char *const[]){__VA_ARGS__, NULL}, NULL)

/* Unwraps what was wrapped for this public key. */
static int open_for(struct keyring *k, const char *public_name, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *p = NULL;
        uint8_t wrapped[KEYS_WRAPPED_MAX], out[32] = {0};
        size_t len;
        assert_int_equal(keys_public_load(in_dir(public_name), &p, NULL), 0);
        assert_int_equal(keys_wrap(p, data_key, wrapped, &len, NULL), 0);
        int q = keyring_unwrap(k, keys_public_fingerprint(p), wrapped, len, out, e);
        assert_true((q == 0) == (memcmp(out, data_key, sizeof out) == 0));
        return q;
}

static int unlock(struct keyring *k, const char *passphrase, int64_t seconds)
{
        struct secret *s;
        assert_int_equal(secret_copy(passphrase, strlen(passphrase), &s), 0);
        int q = keyring_unlock(k, s, seconds, NULL);
        secret_free(s);
        return q;
}

/* ---- which key ---- */

static void the_right_one_of_several_keys_is_found(_unused_ void **state)
{
        struct keyring *k = RING("nowhere.pem", "a.pem", "b.pem");
        assert_int_equal(open_for(k, "b.pub", NULL), 0);
        assert_int_equal(open_for(k, "a.pub", NULL), 0);
        assert_int_equal(open_for(k, "b.pub", NULL), 0);
        keyring_free(k);
}

static void without_the_right_key_it_says_so(_unused_ void **state)
{
        struct err e = {0};
        struct keyring *k = RING("a.pem");
        assert_int_equal(open_for(k, "b.pub", &e), -ENOKEY);
        assert_string_equal(e.text, "sealed for other keys");
        keyring_free(k);
        k = RING("nowhere.pem");
        assert_int_equal(open_for(k, "b.pub", &e), -ENOKEY);
        assert_non_null(strstr(e.text, in_dir("nowhere.pem")));
        assert_non_null(strstr(e.text, "/home/u/CONFIG.json"));
        keyring_free(k);
}

static void a_key_that_is_brought_later_is_found(_unused_ void **state)
{
        struct keyring *k = RING("late.pem");
        assert_int_equal(open_for(k, "a.pub", NULL), -ENOKEY);
        tree_sh("cp $T/a.pem $T/late.pem");
        assert_int_equal(open_for(k, "a.pub", NULL), 0);
        tree_sh("rm $T/late.pem");
        assert_int_equal(open_for(k, "a.pub", NULL), -ENOKEY);
        keyring_free(k);
}

static void one_key_alone_can_be_named(_unused_ void **state)
{
        struct keyring *k = RING("a.pem", "b.pem");
        assert_int_equal(keyring_only(k, in_dir("b.pem"), NULL), 0);
        assert_int_equal(open_for(k, "a.pub", NULL), -ENOKEY);
        assert_int_equal(open_for(k, "b.pub", NULL), 0);
        keyring_free(k);
}

static void what_is_no_key_is_an_error_and_not_a_missing_key(_unused_ void **state)
{
        struct err e = {0};
        tree_sh("echo nonsense > $T/bad.pem");
        struct keyring *k = RING("bad.pem");
        assert_int_equal(open_for(k, "a.pub", &e), -EINVAL);
        assert_non_null(strstr(e.text, "bad.pem"));
        keyring_free(k);
        k = RING("bad.pem", "a.pem");
        assert_int_equal(open_for(k, "a.pub", &e), 0);
        keyring_free(k);
}

static void an_altered_wrapped_key_is_refused(_unused_ void **state)
{
        _cleanup_(keys_public_freep) struct keys_public *p = NULL;
        uint8_t wrapped[KEYS_WRAPPED_MAX], out[32];
        size_t len;
        struct keyring *k = RING("a.pem");
        assert_int_equal(keys_public_load(in_dir("a.pub"), &p, NULL), 0);
        assert_int_equal(keys_wrap(p, data_key, wrapped, &len, NULL), 0);
        wrapped[len / 2] ^= 1;
        assert_int_equal(
                keyring_unwrap(k, keys_public_fingerprint(p), wrapped, len, out, NULL), -EBADMSG);
        keyring_free(k);
}

/* ---- whose passphrase ---- */

static void a_locked_key_says_how_to_unlock_it(_unused_ void **state)
{
        struct err e = {0};
        struct keyring *k = RING("locked.pem");
        assert_int_equal(open_for(k, "locked.pub", &e), -ENOKEY);
        assert_non_null(strstr(e.text, "autoglacier unlock"));
        keyring_free(k);
}

static void a_locked_key_does_not_hide_an_open_one(_unused_ void **state)
{
        struct keyring *k = RING("locked.pem", "a.pem");
        assert_int_equal(open_for(k, "a.pub", NULL), 0);
        keyring_free(k);
}

static void unlocking_opens_until_it_is_locked(_unused_ void **state)
{
        struct keyring *k = RING("locked.pem");
        assert_int_equal(unlock(k, PASS, 0), 0);
        assert_int_equal(keyring_expire(k), -1);
        assert_int_equal(open_for(k, "locked.pub", NULL), 0);
        keyring_lock(k);
        assert_int_equal(open_for(k, "locked.pub", NULL), -ENOKEY);
        keyring_free(k);
}

static void a_wrong_passphrase_changes_nothing(_unused_ void **state)
{
        struct keyring *k = RING("locked.pem");
        assert_int_equal(unlock(k, "wrong", 0), -EACCES);
        assert_int_equal(open_for(k, "locked.pub", NULL), -ENOKEY);
        assert_int_equal(unlock(k, PASS, 0), 0);
        assert_int_equal(unlock(k, "wrong", 0), -EACCES);
        assert_int_equal(open_for(k, "locked.pub", NULL), 0);
        keyring_free(k);
}

static void what_needs_no_unlocking_or_is_missing_is_told_apart(_unused_ void **state)
{
        struct keyring *k = RING("a.pem");
        assert_int_equal(unlock(k, PASS, 0), -EALREADY);
        keyring_free(k);
        k = RING("nowhere.pem");
        assert_int_equal(unlock(k, PASS, 0), -ENOKEY);
        keyring_free(k);
}

static void after_its_time_it_is_locked_again(_unused_ void **state)
{
        struct keyring *k = RING("locked.pem");
        assert_int_equal(unlock(k, PASS, 1), 0);
        int left = keyring_expire(k);
        assert_true(left == -1 || (left > 0 && left <= 1001));
        while (keyring_expire(k) != -1)
                (void)usleep(10000);
        assert_int_equal(open_for(k, "locked.pub", NULL), -ENOKEY);
        keyring_free(k);
}

static void the_configured_file_unlocks(_unused_ void **state)
{
        struct err e = {0};
        const char *const names[] = {"locked.pem", NULL};
        tree_sh("printf '" PASS "\\nmore\\n' > $T/pass; chmod 600 $T/pass");
        struct keyring *k = ring(names, in_dir("pass"));
        assert_int_equal(open_for(k, "locked.pub", NULL), 0);
        tree_sh("chmod 640 $T/pass");
        assert_int_equal(open_for(k, "locked.pub", &e), -EACCES);
        assert_non_null(strstr(e.text, "chmod 600"));
        tree_sh("chmod 600 $T/pass; echo wrong > $T/pass");
        assert_int_equal(open_for(k, "locked.pub", &e), -EACCES);
        assert_non_null(strstr(e.text, in_dir("pass")));
        tree_sh(": > $T/pass");
        assert_int_equal(open_for(k, "locked.pub", &e), -EINVAL);
        tree_sh("rm $T/pass");
        assert_int_equal(open_for(k, "locked.pub", &e), -ENOENT);
        keyring_free(k);
}

struct asker {
        const char *answer;
        unsigned asked;
};

static int ask(
        void *ctx, const char *path, unsigned attempt _unused_, struct secret **ret, struct err *e)
{
        struct asker *a = ctx;
        a->asked++;
        assert_string_equal(path, in_dir("locked.pem"));
        if (!a->answer)
                return err_set(e, -ENOKEY, "nobody answers");
        return secret_copy(a->answer, strlen(a->answer), ret);
}

static void a_question_is_asked_once_for_many_data_keys(_unused_ void **state)
{
        struct asker a = {PASS, 0};
        struct keyring *k = RING("locked.pem");
        keyring_ask_with(k, ask, &a);
        assert_int_equal(open_for(k, "locked.pub", NULL), 0);
        assert_int_equal(open_for(k, "locked.pub", NULL), 0);
        assert_int_equal(a.asked, 1);
        keyring_free(k);
}

static void who_gives_no_answer_gets_no_key(_unused_ void **state)
{
        struct err e = {0};
        struct asker a = {NULL, 0};
        struct keyring *k = RING("locked.pem");
        keyring_ask_with(k, ask, &a);
        assert_int_equal(open_for(k, "locked.pub", &e), -ENOKEY);
        a.answer = "wrong";
        assert_int_equal(open_for(k, "locked.pub", &e), -EACCES);
        keyring_free(k);
}

/* ---- through a running program ---- */

static int served_unlock(void *ctx, const struct secret *s, int64_t seconds, struct err *e)
{
        return keyring_unlock(ctx, s, seconds, e);
}

static void served_lock(void *ctx)
{
        keyring_lock(ctx);
}

static int served_expire(void *ctx)
{
        return keyring_expire(ctx);
}

static struct agent *serve(struct keyring *k)
{
        struct agent *a;
        const struct agent_ops ops = {.unlock = served_unlock,
                .lock = served_lock,
                .unwrap = keyring_unwrap,
                .expire = served_expire,
                .ctx = k};
        assert_int_equal(agent_start(dir, &ops, &a, NULL), 0);
        return a;
}

static void an_unlocked_program_opens_for_others(_unused_ void **state)
{
        struct asker nobody = {NULL, 0};
        struct keyring *theirs = RING("locked.pem");
        struct keyring *mine = RING("locked.pem");
        struct agent *a = serve(theirs);
        struct secret *s;
        keyring_use_agent(mine, true);
        keyring_ask_with(mine, ask, &nobody);
        assert_int_equal(open_for(mine, "locked.pub", NULL), -ENOKEY);
        assert_int_equal(
                nobody.asked, 1); /* a locked program is no help: then there is a question */
        assert_int_equal(secret_copy(PASS, strlen(PASS), &s), 0);
        assert_int_equal(agent_unlock(dir, s, 0, NULL), 0);
        secret_free(s);
        assert_int_equal(open_for(mine, "locked.pub", NULL), 0);
        assert_int_equal(nobody.asked, 1);
        assert_int_equal(agent_lock(dir, NULL), 0);
        assert_int_equal(open_for(mine, "locked.pub", NULL), -ENOKEY);
        agent_stop(a);
        assert_int_equal(open_for(mine, "locked.pub", NULL), -ENOKEY);
        keyring_free(mine);
        keyring_free(theirs);
}

static void *use_often(void *arg)
{
        for (int i = 0; i < 10; i++) {
                int q = open_for(arg, "locked.pub", NULL);
                if (q != 0 && q != -ENOKEY)
                        return arg;
        }
        return NULL;
}

static void threads_may_unlock_use_and_lock_at_the_same_time(_unused_ void **state)
{
        struct keyring *k = RING("locked.pem");
        pthread_t threads[4];
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, use_often, k), 0);
        for (int i = 0; i < 20; i++) {
                assert_int_equal(unlock(k, PASS, i % 2), 0);
                (void)keyring_expire(k);
                keyring_lock(k);
        }
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                void *bad;
                assert_int_equal(pthread_join(threads[i], &bad), 0);
                assert_null(bad);
        }
        keyring_free(k);
}

static void make(const char *name)
{
        char priv[32], pub[32];
        (void)snprintf(priv, sizeof priv, "%s.pem", name);
        (void)snprintf(pub, sizeof pub, "%s.pub", name);
        assert_int_equal(keys_generate(2048, in_dir(priv), in_dir(pub), NULL, NULL), 0);
}

static int setup(_unused_ void **state)
{
        tree_setup(dir);
        make("a");
        make("b");
        make("locked");
        /* a passphrase that costs no half second to try, as ours do on purpose */
        tree_sh("openssl pkcs8 -topk8 -in $T/locked.pem -out $T/l -passout 'pass:" PASS
                "' && mv $T/l $T/locked.pem");
        return 0;
}

static int teardown(_unused_ void **state)
{
        tree_remove(dir);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_right_one_of_several_keys_is_found),
                cmocka_unit_test(without_the_right_key_it_says_so),
                cmocka_unit_test(a_key_that_is_brought_later_is_found),
                cmocka_unit_test(one_key_alone_can_be_named),
                cmocka_unit_test(what_is_no_key_is_an_error_and_not_a_missing_key),
                cmocka_unit_test(an_altered_wrapped_key_is_refused),
                cmocka_unit_test(a_locked_key_says_how_to_unlock_it),
                cmocka_unit_test(a_locked_key_does_not_hide_an_open_one),
                cmocka_unit_test(unlocking_opens_until_it_is_locked),
                cmocka_unit_test(a_wrong_passphrase_changes_nothing),
                cmocka_unit_test(what_needs_no_unlocking_or_is_missing_is_told_apart),
                cmocka_unit_test(after_its_time_it_is_locked_again),
                cmocka_unit_test(the_configured_file_unlocks),
                cmocka_unit_test(a_question_is_asked_once_for_many_data_keys),
                cmocka_unit_test(who_gives_no_answer_gets_no_key),
                cmocka_unit_test(an_unlocked_program_opens_for_others),
                cmocka_unit_test(threads_may_unlock_use_and_lock_at_the_same_time),
        };
        return cmocka_run_group_tests(tests, setup, teardown);
}
