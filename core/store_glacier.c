#include "store_glacier.h"

#include "bytes.h"
#include "clock.h"
#include "config.h"
#include "io.h"
#include "store_glacier_internal.h"

#include <jansson.h>
#include <openssl/evp.h>

#define PART_SIZE (8u * MiB)
#define MAX_PARTS 10000u

/* ---- asking ---- */

int glacier_call(
        struct glacier *g, const struct glacier_call *c, struct aws_answer *ret, struct err *e)
{
        char path[1024];
        int n = snprintf(path, sizeof path, "/-/vaults/%s%s", g->vault, c->below);
        if (n < 0 || (size_t)n >= sizeof path)
                return err_set(e, -ENAMETOOLONG, "cannot %s: a name is too long", c->what);
        struct sigv4_pair headers[ARRAY_SIZE(c->headers) + 1] = {
                {"x-amz-glacier-version", "2012-06-01"}};
        memcpy(headers + 1, c->headers, c->n_headers * sizeof *headers);
        const struct aws_call call = {
                .what = c->what,
                .right = c->right,
                .method = c->method,
                .path = path,
                .query = c->query,
                .n_query = c->n_query,
                .headers = headers,
                .n_headers = c->n_headers + 1,
                .body = c->body,
                .body_len = c->body_len,
                .sha256 = c->sha256,
                .into = c->into,
                .into_len = c->into_len,
                .control = &g->base.control,
                .once = c->once,
                .counts = c->counts,
        };
        return aws_do(g->aws, &call, ret, e);
}

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

int glacier_next_page(const json_t *o, char marker[GLACIER_ID_MAX], const char *what, struct err *e)
{
        const char *next = text_of(o, "Marker");
        if (*next && streq(next, marker))
                return err_set(
                        e, -EPROTO, "%s: the service sends the same page again and again", what);
        (void)snprintf(marker, GLACIER_ID_MAX, "%s", next); /* theirs, far shorter */
        return 0;
}

/* The vault's name, account, region and age make its id: it has no place to write one into. */
static int id_of(const json_t *o, char ret[33])
{
        const char *arn = text_of(o, "VaultARN"), *made = text_of(o, "CreationDate");
        char text[512];
        uint8_t hash[32];
        int n = snprintf(text, sizeof text, "%s %s", arn, made);
        if (!*arn || !*made || n < 0 || (size_t)n >= sizeof text ||
                !EVP_Digest(text, (size_t)n, hash, NULL, EVP_sha256(), NULL))
                return -EPROTO;
        bytes_hex(hash, 16, ret);
        return 0;
}

/* Asks for the vault's description: its id, and how many archives its last inventory had. */
static int describe(struct glacier *g, char ret_id[33], uint64_t *ret_archives, struct err *e)
{
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = "look at the vault",
                .right = "glacier:DescribeVault",
                .method = "GET",
                .below = ""};
        int q = glacier_call(g, &c, &a, e);
        if (q == -ENOENT)
                return err_set(e, -ENODEV,
                        "there is no vault %s in the region %s; make it with: autoglacier init",
                        g->vault, aws_region(g->aws));
        if (q < 0)
                return q;
        json_auto_t *o = json_loadb(buf_str(&a.http.body), a.http.body.len, 0, NULL);
        if (id_of(o, ret_id) < 0)
                return err_set(e, -EPROTO, "%s does not answer as a vault does", aws_host(g->aws));
        if (ret_archives)
                *ret_archives =
                        (uint64_t)json_integer_value(json_object_get(o, "NumberOfArchives"));
        return 0;
}

int glacier_ready(struct glacier *g, struct err *e)
{
        if (store_stopped(&g->base))
                return err_set(e, -ECANCELED, "stopped");
        pthread_mutex_lock(&g->lock);
        int q = g->book ? 0 : glacier_book_open(g->book_path, &g->book, e);
        bool known = *g->id;
        pthread_mutex_unlock(&g->lock);
        char id[33];
        uint64_t n;
        if (q < 0 || known || (q = describe(g, id, &n, e)) < 0)
                return q;
        if ((q = glacier_book_meet(g->book, id, n == 0, e)) < 0)
                return q;
        pthread_mutex_lock(&g->lock);
        memcpy(g->id, id, sizeof id); /* of two that asked at once, both have the same */
        pthread_mutex_unlock(&g->lock);
        return 0;
}

/* ---- the vault ---- */

static int glacier_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        struct glacier *g = glacier_of(s);
        char id[33];
        int q = describe(g, id, NULL, e);
        if (q < 0)
                return q;
        if (expected && !streq(expected, id))
                return err_set(e, -ENODEV,
                        "the vault %s in %s is another one (%s) than the one we know (%s): of "
                        "another account, or made anew; correct the keys or VAULT",
                        g->vault, aws_region(g->aws), id, expected);
        if (ret_id)
                memcpy(ret_id, id, sizeof id);
        return glacier_ready(g, e);
}

static int glacier_init(struct store *s, struct err *e)
{
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = "make the vault",
                .right = "glacier:CreateVault",
                .method = "PUT",
                .below = ""};
        int q = glacier_call(glacier_of(s), &c, &a, e);
        return q < 0 ? q : glacier_ready(glacier_of(s), e);
}

/* ---- what is there ---- */

/* -EREMOTE: only the inventory can tell. */
static int check_complete(struct glacier *g, struct err *e)
{
        bool complete = false;
        int q = glacier_book_complete(g->book, g->id, &complete, e);
        return q < 0 || complete
                       ? q
                       : err_set(e, -EREMOTE,
                                 "what the vault %s holds is not known here; its inventory must be "
                                 "fetched first, which takes hours: autoglacier recover does it, "
                                 "and verify asks for it",
                                 g->vault);
}

/* The book has it not: does that mean that it is not there? 0: yes. */
static int check_missing(struct glacier *g, const char *name, struct err *e)
{
        int q = glacier_book_was_begun(g->book, g->id, name, e);
        return q != 0 ? MIN(q, 0) : check_complete(g, e);
}

static int find(struct glacier *g, const char *name, struct glacier_object *ret, struct err *e)
{
        int q = glacier_ready(g, e);
        if (q < 0)
                return q;
        q = glacier_book_find(g->book, g->id, name, ret, e);
        if (q != -ENOENT)
                return q;
        int64_t date;
        char day[CLOCK_TEXT_MAX];
        if ((q = check_missing(g, name, e)) < 0 ||
                (q = glacier_book_inventory(g->book, g->id, &date, e)) < 0)
                return q;
        clock_iso(date, day);
        return date ? err_set(e, -ENOENT, "%s is not in the vault %s as of its inventory of %s",
                              name, g->vault, day)
                    : err_set(e, -ENOENT,
                              "%s is not among what is known of the vault %s; its inventory has "
                              "not been fetched yet",
                              name, g->vault);
}

/* The inventory as an object of the name "". */
static int inventory_state(struct glacier *g, struct store_state *ret, struct err *e)
{
        struct glacier_job job = {0};
        struct store_state st = {.access = STORE_COLD};
        int q = glacier_ready(g, e);
        if (q == 0)
                q = glacier_job_now(g, NULL, &job, e);
        if (q == 0 && job.done)
                q = glacier_take_inventory(g, &job, e);
        if (q == 0)
                q = glacier_book_inventory(g->book, g->id, &st.modified, e);
        if (q < 0)
                return q;
        if (st.modified)
                st.access = STORE_READY;
        if (*job.id && !job.done)
                st.access = STORE_THAWING;
        *ret = st;
        return 0;
}

/* What no inventory had yet is known from when the vault confirmed it. */
static struct store_state state_of(const struct glacier_object *o)
{
        struct store_state st = {.access = STORE_COLD,
                .seen = o->created,
                .listed = o->listed != 0,
                .size = o->size,
                .modified = o->created,
                .hashed = STORE_HASH_TREE};
        memcpy(st.hash, o->tree_hash, sizeof st.hash);
        (void)snprintf(st.storage_class, sizeof st.storage_class, "GLACIER"); /* fits */
        return st;
}

static int glacier_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object o;
        struct glacier_job job = {0};
        if (!*name)
                return inventory_state(g, ret, e);
        int q = find(g, name, &o, e);
        if (q == 0)
                q = glacier_job_now(g, &o, &job, e);
        if (q < 0)
                return q;
        struct store_state st = state_of(&o);
        if (o.listed && (q = glacier_book_inventory(g->book, g->id, &st.seen, e)) < 0)
                return q;
        *ret = st;
        if (*job.id)
                ret->access = job.done ? STORE_READY : STORE_THAWING;
        if (job.done)
                ret->ready_until = job.done + OUTPUT_LIFE;
        return 0;
}

static int glacier_thaw(
        struct store *s, const char *name, const struct store_thaw *t, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object o;
        int q = *name ? find(g, name, &o, e) : glacier_ready(g, e);
        return q < 0 ? q : glacier_ask(g, *name ? &o : NULL, t, e);
}

static int glacier_list(
        struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object o = {0};
        int q = glacier_ready(g, e);
        if (q == 0)
                q = check_complete(g, e);
        while (q == 0) {
                q = glacier_book_next(g->book, g->id, prefix, o.name, &o, e);
                if (q < 0)
                        return q == -ENOENT ? 0 : q; /* the end */
                struct store_state st = state_of(&o);
                st.hashed = STORE_HASH_NONE;
                q = each(ctx, o.name, &st, e);
        }
        return q;
}

static int remove_archive(struct glacier *g, const struct glacier_object *o, struct err *e)
{
        _cleanup_aws_answer_ struct aws_answer a = {0};
        char below[GLACIER_ID_MAX + 16], what[GLACIER_NAME_MAX + 32];
        (void)snprintf(below, sizeof below, "/archives/%s", o->archive);        /* fits */
        (void)snprintf(what, sizeof what, "remove %s from the vault", o->name); /* fits */
        const struct glacier_call c = {
                .what = what, .right = "glacier:DeleteArchive", .method = "DELETE", .below = below};
        int q = glacier_call(g, &c, &a, e);
        return q < 0 && q != -ENOENT ? q : glacier_book_forget(g->book, g->id, o->archive, e);
}

void glacier_remove_others(struct glacier *g, const struct glacier_object *o)
{
        struct glacier_object other;
        while (glacier_book_find_other(g->book, g->id, o, &other, NULL) == 0)
                if (remove_archive(g, &other, NULL) < 0)
                        break; /* rights that normal work does not need, or the line is cut */
}

/* All of that name: an upload that was repeated may have left an older one. */
static int glacier_remove(struct store *s, const char *name, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object o;
        unsigned n = 0;
        int q = glacier_ready(g, e);
        for (; q == 0 && (q = glacier_book_find(g->book, g->id, name, &o, e)) == 0; n++)
                q = remove_archive(g, &o, e);
        return q == -ENOENT ? (n > 0 ? 0 : check_missing(g, name, e)) : q;
}

static uint64_t glacier_space(struct store *s _unused_)
{
        return UINT64_MAX;
}

int64_t store_glacier_skew(struct store *s)
{
        while (s->inner)
                s = s->inner;
        return aws_skew(glacier_of(s)->aws);
}

/* ---- making one ---- */

static void glacier_close(struct store *s)
{
        struct glacier *g = glacier_of(s);
        glacier_node_free(g->node);
        glacier_book_close(g->book);
        aws_free(g->aws);
        (void)pthread_mutex_destroy(&g->lock);
        free(g->vault);
        free(g->book_path);
        free(g->base.url);
        free(g);
}

static const struct store_ops glacier_ops = {
        .check = glacier_check,
        .init = glacier_init,
        .begin = glacier_begin,
        .resume = glacier_resume,
        .token = glacier_token,
        .put_part = glacier_put_part,
        .finish = glacier_finish,
        .abort = glacier_abort,
        .leave = glacier_leave,
        .sweep = glacier_sweep,
        .state = glacier_state,
        .thaw = glacier_thaw,
        .get = glacier_get,
        .list = glacier_list,
        .remove = glacier_remove,
        .space = glacier_space,
        .close = glacier_close,
};

/* Amazon's rule: 1 to 255 of letters, digits, '_', '-', '.'. */
static bool is_vault_name(const char *s)
{
        size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.");
        return n >= 1 && n <= 255 && s[n] == 0;
}

int store_glacier_new(
        const struct config *config, const char *url, struct store **ret, struct err *e)
{
        const char *vault = startswith(url, "glacier://");
        if (!config)
                return err_set(
                        e, -EINVAL, "a vault needs a configuration: it says where names are kept");
        if (!vault || !is_vault_name(vault))
                return err_set(e, -EINVAL,
                        "%s: a vault is written glacier://NAME, of letters, digits, '_', '-', '.'",
                        url);
        struct glacier *g = calloc(1, sizeof *g);
        if (!g)
                return err_oom(e);
        (void)pthread_mutex_init(&g->lock, NULL); /* a default one cannot fail */
        g->vault = strdup(vault);
        g->book_path = io_join(config->data, "vaults.db");
        g->base = (struct store){
                .ops = &glacier_ops,
                .traits = {.cold = true,
                        .asks = true,
                        .inventory = true,
                        .max_object = MAX_PARTS * GiB, /* the largest part is 1 GiB */
                        .part_size = PART_SIZE,
                        .max_parts = MAX_PARTS,
                        .kind = "glacier"},
                .url = strdup(url),
        };
        int q = g->vault && g->book_path && g->base.url ? aws_new(config, "glacier", &g->aws, e)
                                                        : err_oom(e);
        if (q < 0) {
                glacier_close(&g->base);
                return q;
        }
        *ret = &g->base;
        return 0;
}
