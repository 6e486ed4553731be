/* The contract of store.h, over every store: what holds for a folder holds for a bucket and a
 * vault.
 *
 * test_store [URL | --bucket] [CLASS]    without: a new folder. CLASS: one that must be thawed.
 * --bucket: AUTOGLACIER_TEST_BUCKET. Endpoint, region and keys come from the AWS_* variables. */
#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "err.h"
#include "io.h"
#include "store.h"
#include "store_dir_internal.h"
#include "stores.h"
#include "tree_hash.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char *base_url, *storage_class = "STANDARD";
static struct err err;
#define E (&err)

static void ok_at(int q, const char *file, int line)
{
        if (q < 0) {
                print_error("%d: %s\n", q, err.text);
                _fail(file, line);
        }
}
#define OK(call) ok_at((call), __FILE__, __LINE__)
#define FAILS(code, call)                                                                          \
        do {                                                                                       \
                int _q = (call);                                                                   \
                if (_q != (code))                                                                  \
                        fail_msg("%d, not %d: %s", _q, (code), err.text);                          \
                assert_true(err.text[0] != 0);                                                     \
        } while (0)

/* ---- a store of its own for every test ---- */

struct setup {
        char dir[64], url[400];
        struct config *config; /* vaults need a folder for their names */
        struct store *s;
};

static void make_config(struct setup *u)
{
        char text[200];
        (void)snprintf(u->dir, sizeof u->dir, "/tmp/ag-store-XXXXXX");
        assert_non_null(mkdtemp(u->dir));
        assert_int_equal(setenv("AUTOGLACIER_HOME", u->dir, 1), 0);
        int n = snprintf(text, sizeof text, "{\"VAULT\": \"%.100s\"}", u->url);
        OK(config_parse(text, (size_t)n, "test", &u->config, E));
        OK(io_mkdir_p(u->config->data, 0700, E));
}

static int set_up(void **state)
{
        static unsigned n;
        struct setup *u = calloc(1, sizeof *u);
        if (base_url) {
                bool vault = startswith(base_url, "glacier:") != NULL; /* these have no folders */
                (void)snprintf(u->url, sizeof u->url, "%s%c%d-%u-%lld", base_url, vault ? '-' : '/',
                        (int)getpid(), ++n, (long long)clock_now());
                if (vault)
                        make_config(u);
        } else {
                (void)snprintf(u->dir, sizeof u->dir, "/tmp/ag-store-XXXXXX");
                if (!mkdtemp(u->dir))
                        return -1;
                (void)snprintf(u->url, sizeof u->url, "dir:%s/store", u->dir);
        }
        OK(stores_open(u->config, u->url, storage_class, &u->s, E));
        OK(store_init(u->s, E));
        *state = u;
        return 0;
}

static int remove_one(
        void *ctx, const char *name, const struct store_state *st _unused_, struct err *e)
{
        return store_remove(ctx, name, e);
}

static int tear_down(void **state)
{
        struct setup *u = *state;
        OK(store_sweep(u->s, "", NULL, NULL, E));
        OK(store_list(u->s, "", remove_one, u->s, E));
        store_close(u->s);
        config_free(u->config);
        if (*u->dir) {
                char command[128];
                (void)snprintf(command, sizeof command, "rm -rf %s", u->dir);
                assert_int_equal(system(command), 0);
        }
        free(u);
        return 0;
}

static struct store *store_of(void **state)
{
        return ((struct setup *)*state)->s;
}

/* ---- content ---- */

#define PART (8u * MiB)

struct content {
        uint8_t *data;
        size_t len;
        unsigned n_parts;
        uint8_t tree_hash[32];
};

static void content_make(struct content *c, size_t len, unsigned seed)
{
        *c = (struct content){.data = malloc(len), .len = len};
        uint64_t x = seed + 1;
        for (size_t i = 0; i < len; i++) {
                x = x * 6364136223846793005u + 1442695040888963407u;
                c->data[i] = (uint8_t)(x >> 56);
        }
        c->n_parts = (unsigned)((len + PART - 1) / PART);
        struct tree_hash *t = tree_hash_new();
        assert_int_equal(tree_hash_update(t, c->data, len), 0);
        assert_int_equal(tree_hash_final(t, c->tree_hash), 0);
        tree_hash_free(t);
}

static int put(struct store_upload *u, const struct content *c, unsigned number, struct err *e)
{
        uint8_t sha256[32], tree[32];
        struct store_part p = {.number = number, .offset = (uint64_t)(number - 1) * PART};
        p.data = c->data + p.offset;
        p.len = MIN(PART, c->len - p.offset);
        EVP_Digest(p.data, p.len, sha256, NULL, EVP_sha256(), NULL);
        struct tree_hash *t = tree_hash_new();
        (void)tree_hash_update(t, p.data, p.len);
        (void)tree_hash_final(t, tree);
        tree_hash_free(t);
        p.sha256 = sha256;
        p.tree_hash = tree;
        return store_put_part(u, &p, e);
}

static struct store_new new_of(const char *name)
{
        return (struct store_new){.name = name, .max_size = 100 * MiB, .part_size = PART};
}

static void put_object(struct store *s, const struct store_new *n, const struct content *c)
{
        struct store_upload *u;
        OK(store_begin(s, n, &u, E));
        for (unsigned i = 1; i <= c->n_parts; i++)
                OK(put(u, c, i, E));
        OK(store_finish(&u, c->len, c->tree_hash, E));
        assert_null(u);
}

/* Thaws it where that is needed; the emulator takes no time for it. */
static void make_ready(struct store *s, const char *name)
{
        struct store_state st;
        OK(store_state(s, name, &st, E));
        if (st.access == STORE_COLD) {
                OK(store_thaw(s, name, &(struct store_thaw){.tier = "bulk", .days = 1}, E));
                OK(store_state(s, name, &st, E));
        }
        assert_int_equal(st.access, STORE_READY);
}

static void same(struct store *s, const char *name, const struct content *c)
{
        make_ready(s, name);
        uint8_t *back = malloc(c->len);
        OK(store_get(s, name, back, c->len, 0, E));
        assert_memory_equal(back, c->data, c->len);
        free(back);
}

/* ---- identity ---- */

static void init_keeps_the_id_of_a_store(void **state)
{
        struct store *s = store_of(state);
        char a[33], b[33];
        OK(store_check(s, NULL, a, E));
        OK(store_init(s, E));
        OK(store_check(s, a, b, E));
        assert_string_equal(a, b);
}

static void a_store_with_another_id_is_refused(void **state)
{
        FAILS(-ENODEV, store_check(store_of(state), "00000000000000000000000000000000", NULL, E));
}

static void a_place_without_an_id_is_refused(void **state)
{
        struct setup *u = *state;
        char url[450];
        struct store *other;
        (void)snprintf(url, sizeof url, "%s-none", u->url);
        OK(stores_open(u->config, url, "STANDARD", &other, E));
        FAILS(-ENODEV, store_check(other, NULL, NULL, E));
        store_close(other);
}

/* ---- objects ---- */

static void an_object_of_several_parts_comes_back_as_it_was(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 2 * PART + 12345, 1);
        struct store_new n = new_of("archives/0badcafe/x-0001.tar.xz.esdk");
        put_object(s, &n, &c);
        struct store_state st;
        OK(store_state(s, n.name, &st, E));
        assert_int_equal(st.size, c.len);
        same(s, n.name, &c);
        uint8_t some[100];
        OK(store_get(s, n.name, some, sizeof some, PART - 50, E));
        assert_memory_equal(some, c.data + PART - 50, sizeof some);
        FAILS(-EPROTO, store_get(s, n.name, some, sizeof some, c.len - 99, E));
        FAILS(-EPROTO, store_get(s, n.name, some, sizeof some, c.len + 1, E));
        free(c.data);
}

struct names {
        unsigned n;
        char last[300];
        uint64_t bytes;
};

static int count(void *ctx, const char *name, const struct store_state *st, struct err *e _unused_)
{
        struct names *k = ctx;
        k->n++;
        k->bytes += st->size;
        (void)snprintf(k->last, sizeof k->last, "%s", name);
        return 0;
}

static struct names listed(struct store *s, const char *prefix)
{
        struct names k = {0};
        OK(store_list(s, prefix, count, &k, E));
        return k;
}

static void nothing_is_seen_before_it_is_finished(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, PART + 5, 2);
        struct store_new n = new_of("archives/0badcafe/y");
        struct store_upload *u;
        OK(store_begin(s, &n, &u, E));
        OK(put(u, &c, 1, E));
        OK(put(u, &c, 2, E));
        assert_int_equal(listed(s, "archives/").n, 0);
        struct store_state st;
        FAILS(-ENOENT, store_state(s, n.name, &st, E));
        OK(store_finish(&u, c.len, c.tree_hash, E));
        struct names k = listed(s, "archives/");
        assert_int_equal(k.n, 1);
        assert_int_equal(k.bytes, c.len);
        assert_string_equal(k.last, n.name);
        free(c.data);
}

static void an_aborted_upload_leaves_nothing(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, PART + 5, 3);
        struct store_new n = new_of("archives/0badcafe/z");
        struct store_upload *u;
        OK(store_begin(s, &n, &u, E));
        OK(put(u, &c, 1, E));
        store_abort(u);
        assert_int_equal(listed(s, "archives/").n, 0);
        OK(store_begin(s, &n, &u, E));
        store_abort(u);
        free(c.data);
}

static void a_name_that_is_taken_is_refused_unless_it_is_replaced(void **state)
{
        struct store *s = store_of(state);
        struct content c, d;
        content_make(&c, 1000, 4);
        content_make(&d, 2000, 5);
        struct store_new n = new_of("archives/0badcafe/taken");
        put_object(s, &n, &c);
        struct store_upload *u;
        FAILS(-EEXIST, store_begin(s, &n, &u, E));
        same(s, n.name, &c);
        n.replace = true;
        put_object(s, &n, &d);
        same(s, n.name, &d);
        free(c.data);
        free(d.data);
}

static void what_is_missing_is_missing(void **state)
{
        struct store *s = store_of(state);
        struct store_state st;
        char byte;
        FAILS(-ENOENT, store_state(s, "archives/none", &st, E));
        FAILS(-ENOENT, store_get(s, "archives/none", &byte, 1, 0, E));
        OK(store_remove(s, "archives/none", E));
}

static void a_removed_object_is_gone(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        struct store_state st;
        content_make(&c, 10, 6);
        struct store_new n = new_of("archives/0badcafe/gone");
        put_object(s, &n, &c);
        OK(store_remove(s, n.name, E));
        FAILS(-ENOENT, store_state(s, n.name, &st, E));
        free(c.data);
}

static void a_listing_holds_what_begins_with_the_prefix(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 10, 7);
        const char *const names[] = {"archives/a/1", "archives/a/2", "archives/b/1",
                "manifests/a/1",
                "archives/a"
                "b/x (1) + ~!*'&=%41.esdk"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct store_new n = new_of(names[i]);
                n.index = i == 3;
                put_object(s, &n, &c);
                same(s, names[i], &c);
        }
        assert_int_equal(listed(s, "archives/").n, 4);
        assert_int_equal(listed(s, "archives/a/").n, 2);
        assert_int_equal(listed(s, "manifests/").n, 1);
        assert_int_equal(listed(s, "none").n, 0);
        assert_string_equal(listed(s, "archives/ab").last, names[4]);
        free(c.data);
}

static int stop_at_two(
        void *ctx, const char *name _unused_, const struct store_state *st _unused_, struct err *e)
{
        return ++*(unsigned *)ctx == 2 ? err_set(e, -EXFULL, "enough") : 0;
}

static void a_listing_ends_where_the_reader_wants(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 10, 8);
        for (unsigned i = 0; i < 3; i++) {
                char name[32];
                (void)snprintf(name, sizeof name, "archives/a/%u", i);
                struct store_new n = new_of(name);
                put_object(s, &n, &c);
        }
        unsigned seen = 0;
        FAILS(-EXFULL, store_list(s, "archives/", stop_at_two, &seen, E));
        assert_int_equal(seen, 2);
        free(c.data);
}

static void index_objects_of_one_and_of_several_parts(void **state)
{
        struct store *s = store_of(state);
        struct content c, d;
        content_make(&c, 77, 9);
        content_make(&d, PART + 77, 10);
        struct store_new n = {
                .name = "manifests/0badcafe/m", .max_size = UINT64_MAX, .index = true};
        struct store_state st;
        put_object(s, &n, &c);
        same(s, n.name, &c);
        n.replace = true;
        put_object(s, &n, &d);
        same(s, n.name, &d);
        OK(store_state(s, n.name, &st, E));
        assert_int_equal(st.size, d.len);
        free(c.data);
        free(d.data);
}

static void what_is_ready_can_be_asked_for(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 77, 11);
        struct store_new n = new_of("archives/0badcafe/warm");
        put_object(s, &n, &c);
        OK(store_thaw(s, n.name, &(struct store_thaw){.tier = "bulk", .days = 1}, E));
        same(s, n.name, &c);
        free(c.data);
}

/* ---- several at once ---- */

struct worker {
        struct store_upload *u;
        const struct content *c;
        unsigned first;
        int result;
        struct err e;
};

static void *send_every_third(void *arg)
{
        struct worker *w = arg;
        for (unsigned i = w->first; w->result == 0 && i <= w->c->n_parts; i += 3)
                w->result = put(w->u, w->c, i, &w->e);
        return NULL;
}

static void parts_may_be_sent_by_several_threads(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 5 * PART + 1, 12);
        struct store_new n = new_of("archives/0badcafe/many");
        struct worker w[3];
        pthread_t t[3];
        struct store_upload *u;
        OK(store_begin(s, &n, &u, E));
        for (unsigned i = 0; i < 3; i++) {
                w[i] = (struct worker){.u = u, .c = &c, .first = 3 - i};
                pthread_create(&t[i], NULL, send_every_third, &w[i]);
        }
        for (unsigned i = 0; i < 3; i++) {
                pthread_join(t[i], NULL);
                err = w[i].e;
                OK(w[i].result);
        }
        OK(store_finish(&u, c.len, c.tree_hash, E));
        same(s, n.name, &c);
        free(c.data);
}

/* ---- uploads that outlive the program ---- */

struct seen {
        unsigned n, numbers;
        uint64_t bytes;
        const struct content *c;
};

static int see(void *ctx, const struct store_had *h, struct err *e _unused_)
{
        struct seen *k = ctx;
        uint8_t sha256[32];
        size_t at = (size_t)(h->number - 1) * PART;
        k->n++;
        k->numbers |= 1u << h->number;
        k->bytes += h->size;
        EVP_Digest(k->c->data + at, h->size, sha256, NULL, EVP_sha256(), NULL);
        if (h->hashed == STORE_HASH_SHA256)
                assert_memory_equal(h->hash, sha256, sizeof sha256);
        return 0;
}

static void an_upload_goes_on_with_the_parts_that_are_there(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 2 * PART + 99, 13);
        struct store_new n = new_of("archives/0badcafe/resumed");
        struct store_upload *u;
        OK(store_begin(s, &n, &u, E));
        char token[700];
        (void)snprintf(token, sizeof token, "%s", store_token(u));
        assert_true(*token);
        OK(put(u, &c, 1, E));
        OK(put(u, &c, 3, E));
        store_leave(u);
        struct seen k = {.c = &c};
        OK(store_resume(s, &n, token, see, &k, &u, E));
        assert_int_equal(k.n, 2);
        assert_int_equal(k.numbers, 1u << 1 | 1u << 3);
        assert_int_equal(k.bytes, PART + 99);
        OK(put(u, &c, 2, E));
        OK(put(u, &c, 1, E)); /* once more: it is replaced */
        OK(store_finish(&u, c.len, c.tree_hash, E));
        same(s, n.name, &c);
        /* It is gone; or, as Swift has it, still there, and can be finished again. */
        int q = store_resume(s, &n, token, see, &k, &u, E);
        if (q == 0) {
                OK(store_finish(&u, c.len, c.tree_hash, E));
                same(s, n.name, &c);
        } else {
                assert_int_equal(q, -ENOENT);
        }
        free(c.data);
}

static void a_hole_between_parts_is_no_object(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 2 * PART + 99, 14);
        struct store_new n = new_of("archives/0badcafe/hole");
        struct store_upload *u;
        struct store_state st;
        OK(store_begin(s, &n, &u, E));
        OK(put(u, &c, 1, E));
        OK(put(u, &c, 3, E));
        assert_true(store_finish(&u, c.len, c.tree_hash, E) < 0);
        assert_null(u);
        FAILS(-ENOENT, store_state(s, n.name, &st, E));
        free(c.data);
}

static void bytes_that_were_not_put_are_no_object(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, PART + 99, 15);
        struct store_new n = new_of("archives/0badcafe/short");
        struct store_upload *u;
        struct store_state st;
        OK(store_begin(s, &n, &u, E));
        OK(put(u, &c, 1, E));
        OK(put(u, &c, 2, E));
        assert_true(store_finish(&u, c.len + 1, c.tree_hash, E) < 0);
        assert_null(u);
        FAILS(-ENOENT, store_state(s, n.name, &st, E));
        free(c.data);
}

static bool keep_one(void *ctx, const char *name, const char *token)
{
        (void)name;
        return streq(token, ctx);
}

static void only_unwanted_uploads_of_ones_own_are_swept(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 1000, 15);
        const char *const names[] = {"archives/mine/keep", "archives/mine/drop",
                "archives/mine/keep", "archives/theirs/x"};
        char token[4][700];
        for (unsigned i = 0; i < 4; i++) {
                struct store_new n = new_of(names[i]);
                struct store_upload *u;
                OK(store_begin(s, &n, &u, E));
                (void)snprintf(token[i], sizeof token[i], "%s", store_token(u));
                OK(put(u, &c, 1, E));
                store_leave(u);
        }
        OK(store_sweep(s, "archives/mine/", keep_one, token[0], E));
        for (unsigned i = 0; i < 4; i++) {
                struct store_new n = new_of(names[i]);
                struct store_upload *u;
                struct seen k = {.c = &c};
                if (i == 0 || i == 3) {
                        OK(store_resume(s, &n, token[i], see, &k, &u, E));
                        assert_int_equal(k.n, 1);
                        store_leave(u);
                } else {
                        FAILS(-ENOENT, store_resume(s, &n, token[i], see, &k, &u, E));
                }
        }
        free(c.data);
}

static void a_flag_ends_calls_at_once(void **state)
{
        struct store *s = store_of(state);
        atomic_bool stop = true;
        store_set_control(s, &(struct store_control){.stop = &stop});
        struct store_state st;
        FAILS(-ECANCELED, store_state(s, "archives/none", &st, E));
        store_set_control(s, &(struct store_control){0});
        FAILS(-ENOENT, store_state(s, "archives/none", &st, E));
}

struct pace {
        size_t sent;
        unsigned tried_again;
};

static void count_sent(void *ctx, size_t bytes)
{
        ((struct pace *)ctx)->sent += bytes;
}

static void count_tries(void *ctx, const struct err *why, unsigned tries, int64_t wait_ns)
{
        assert_true(why->text[0] && tries >= 1 && wait_ns >= 0);
        ((struct pace *)ctx)->tried_again++;
}

static void every_byte_of_a_part_is_announced(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        struct pace pace = {0};
        content_make(&c, PART, 16);
        struct store_new n = new_of("archives/0badcafe/paced");
        struct store_upload *u;
        OK(store_begin(s, &n, &u, E));
        store_set_control(s, &(struct store_control){
                                     .sending = count_sent, .waiting = count_tries, .ctx = &pace});
        OK(put(u, &c, 1, E));
        store_set_control(s, &(struct store_control){0});
        if (pace.tried_again == 0)
                assert_int_equal(pace.sent, PART);
        else
                assert_true(pace.sent >= PART);
        store_abort(u);
        free(c.data);
}

static void part_sizes_are_enough_for_the_largest_object(void **state)
{
        struct store *s = store_of(state);
        assert_int_equal(store_part_size(s, 1), s->traits.part_size);
        const uint64_t sizes[] = {GiB, 100 * GiB, s->traits.max_object};
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                uint64_t p = store_part_size(s, sizes[i]);
                assert_true((sizes[i] + p - 1) / p <= s->traits.max_parts);
                assert_int_equal(p & (p - 1), 0);
        }
        /* A service that is not Amazon's: a volume of the usual size has a thousand parts at most.
         */
        if (streq(s->traits.kind, "s3"))
                assert_true(1000ull * store_part_size(s, 8 * GiB) >= 8 * GiB);
}

/* ---- folders ---- */

/* -ESTALE would tell a commit that a source has changed, and it would begin anew. */
static void a_network_disk_whose_server_came_back_is_away(void **state _unused_)
{
        err = (struct err){0};
        assert_int_equal(dir_failed(E, -ESTALE, "cannot write to %s", "x"), -ENODEV);
        assert_int_equal(err.code, -ENODEV);
        assert_non_null(strstr(err.text, "cannot write to x: "));
        assert_non_null(strstr(err.text, "mounted?"));
        assert_int_equal(dir_failed(E, -ENOSPC, "cannot write to %s", "x"), -ENOSPC);
        assert_int_equal(err.code, -ENOSPC);
}

/* ---- classes that must be thawed ---- */

static int note_state(
        void *ctx, const char *name _unused_, const struct store_state *st, struct err *e _unused_)
{
        *(struct store_state *)ctx = *st;
        return 0;
}

/* State and list say the same. */
static struct store_state both(struct store *s, const char *name)
{
        struct store_state st, listed = {.size = UINT64_MAX}, after;
        do {
                OK(store_state(s, name, &st, E));
                OK(store_list(s, name, note_state, &listed, E));
                OK(store_state(s, name, &after, E));
        } while (st.access != after.access); /* it became ready just then */
        assert_int_equal(st.access, listed.access);
        assert_int_equal(st.size, listed.size);
        assert_int_equal(st.ready_until / CLOCK_NSEC, listed.ready_until / CLOCK_NSEC);
        assert_string_equal(st.storage_class, listed.storage_class);
        return st;
}

static void what_is_cold_is_read_after_it_was_asked_for(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        char byte;
        content_make(&c, 2 * MiB, 17);
        struct store_new n = new_of("archives/0badcafe/cold");
        put_object(s, &n, &c);
        assert_int_equal(both(s, n.name).access, STORE_COLD);
        FAILS(-EREMOTE, store_get(s, n.name, &byte, 1, 0, E));
        const struct store_thaw t = {.tier = "standard", .days = 2};
        FAILS(-EINVAL, store_thaw(s, n.name, &(struct store_thaw){.tier = "now"}, E));
        OK(store_thaw(s, n.name, &t, E));
        OK(store_thaw(s, n.name, &t, E)); /* asked for already */
        while (both(s, n.name).access == STORE_THAWING)
                (void)usleep(100000); /* the service takes its time */
        struct store_state st = both(s, n.name);
        assert_int_equal(st.access, STORE_READY);
        assert_true(st.ready_until > clock_now());
        same(s, n.name, &c);
        free(c.data);
}

static void an_index_object_is_never_cold(void **state)
{
        struct store *s = store_of(state);
        struct content c;
        content_make(&c, 100, 18);
        struct store_new n = {
                .name = "manifests/0badcafe/m", .max_size = UINT64_MAX, .index = true};
        put_object(s, &n, &c);
        assert_int_equal(both(s, n.name).access, STORE_READY);
        same(s, n.name, &c);
        free(c.data);
}

int main(int argc, char **argv)
{
        base_url = argc > 1 ? argv[1] : NULL;
        if (base_url && streq(base_url, "--bucket")) {
                static char url[200];
                const char *bucket = getenv("AUTOGLACIER_TEST_BUCKET");
                (void)snprintf(url, sizeof url, "s3://%s/contract", bucket ? bucket : "none");
                base_url = url;
        }
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                T(init_keeps_the_id_of_a_store),
                T(a_store_with_another_id_is_refused),
                T(a_place_without_an_id_is_refused),
                T(an_object_of_several_parts_comes_back_as_it_was),
                T(nothing_is_seen_before_it_is_finished),
                T(an_aborted_upload_leaves_nothing),
                T(bytes_that_were_not_put_are_no_object),
                T(a_name_that_is_taken_is_refused_unless_it_is_replaced),
                T(what_is_missing_is_missing),
                T(a_removed_object_is_gone),
                T(a_listing_holds_what_begins_with_the_prefix),
                T(a_listing_ends_where_the_reader_wants),
                T(index_objects_of_one_and_of_several_parts),
                T(what_is_ready_can_be_asked_for),
        };
        /* What a folder does not promise: store_traits.direct. */
        const struct CMUnitTest remote[] = {
                T(parts_may_be_sent_by_several_threads),
                T(an_upload_goes_on_with_the_parts_that_are_there),
                T(a_hole_between_parts_is_no_object),
                T(only_unwanted_uploads_of_ones_own_are_swept),
                T(a_flag_ends_calls_at_once),
                T(every_byte_of_a_part_is_announced),
                T(part_sizes_are_enough_for_the_largest_object),
        };
        const struct CMUnitTest folders[] = {
                cmocka_unit_test(a_network_disk_whose_server_came_back_is_away),
        };
        const struct CMUnitTest cold[] = {
                T(what_is_cold_is_read_after_it_was_asked_for),
                T(an_index_object_is_never_cold),
        };
        if (argc > 2) {
                storage_class = argv[2];
                return cmocka_run_group_tests_name("cold classes", cold, NULL, NULL);
        }
        int failed = cmocka_run_group_tests_name("every store", tests, NULL, NULL);
        if (base_url)
                failed += cmocka_run_group_tests_name("over a network", remote, NULL, NULL);
        else
                failed += cmocka_run_group_tests_name("folders", folders, NULL, NULL);
        return failed;
}
