#include "bytes.h"
#include "clock.h"
#include "crash.h"
#include "glacier_text.h"
#include "store_glacier_internal.h"

#include <inttypes.h>
#include <jansson.h>

struct upload {
        struct store_upload base;
        char id[GLACIER_ID_MAX];
        char name[GLACIER_NAME_MAX];
};

static struct glacier *vault_of(struct store_upload *u)
{
        return glacier_of(u->store);
}

static struct upload *upload_of(struct store_upload *u)
{
        return (struct upload *)u;
}

static void below_upload(const char *id, char ret[GLACIER_ID_MAX + 24])
{
        (void)snprintf(ret, GLACIER_ID_MAX + 24, "/multipart-uploads/%s", id); /* fits */
}

static int new_upload(struct store *s, const struct store_new *n, const char *id,
        struct upload **ret, struct err *e)
{
        if (strlen(n->name) >= GLACIER_NAME_MAX || strlen(id) >= GLACIER_ID_MAX)
                return err_set(e, -ENAMETOOLONG, "%s is too long a name", n->name);
        struct upload *u = calloc(1, sizeof *u);
        if (!u)
                return err_oom(e);
        u->base.store = s;
        u->base.part_size = n->part_size ? n->part_size : store_part_size(s, n->max_size);
        memcpy(u->name, n->name, strlen(n->name) + 1);
        memcpy(u->id, id, strlen(id) + 1);
        *ret = u;
        return 0;
}

static int complete(struct glacier *g, const char *id, struct glacier_object *o, struct err *e);

/* ---- beginning ---- */

static int initiate(struct glacier *g, struct upload *u, const char *text, struct err *e)
{
        char description[GLACIER_DESCRIPTION_MAX + 1], size[24], what[GLACIER_NAME_MAX + 32];
        int q = glacier_description(u->name, text, description);
        if (q < 0)
                return err_set(e, q, "%s cannot be the name of an archive", u->name);
        (void)snprintf(size, sizeof size, "%u", u->base.part_size);     /* fits */
        (void)snprintf(what, sizeof what, "begin to send %s", u->name); /* fits */
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = what,
                .right = "glacier:InitiateMultipartUpload",
                .method = "POST",
                .below = "/multipart-uploads",
                .headers = {{"x-amz-archive-description", description}, {"x-amz-part-size", size}},
                .n_headers = 2};
        if ((q = glacier_call(g, &c, &a, e)) < 0)
                return q;
        if (!http_header(&a.http, "x-amz-multipart-upload-id", u->id, sizeof u->id) || !*u->id)
                return err_set(e, -EPROTO, "%s gives no id for an upload", aws_host(g->aws));
        return 0;
}

/* What an earlier run finished, without having seen the answer, is known before it is replaced:
 * otherwise it would stay for ever. */
static int settle_unfinished(struct glacier *g, const char *name, struct err *e)
{
        char upload[GLACIER_ID_MAX];
        struct glacier_object o;
        int q;
        while ((q = glacier_book_find_unfinished(g->book, g->id, name, upload, &o, e)) == 0) {
                q = complete(g, upload, &o, e);
                if (q == -EAGAIN || q == -EBUSY || q == -ECANCELED || q == -EACCES || q == -EPERM)
                        return q; /* none of these says whether it was finished */
                if (q < 0 && (q = glacier_book_forget_finishing(g->book, g->id, upload, e)) < 0)
                        return q; /* the vault does not know it: it was never finished */
        }
        return q == -ENOENT ? 0 : q;
}

int glacier_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct glacier_object there;
        int q = glacier_ready(g, e);
        if (q < 0)
                return q;
        if (n->replace && (q = settle_unfinished(g, n->name, e)) < 0)
                return q;
        q = n->replace ? -ENOENT : glacier_book_find(g->book, g->id, n->name, &there, e);
        if (q != -ENOENT)
                return q < 0 ? q : err_set(e, -EEXIST, "%s is in the vault already", n->name);
        _cleanup_free_ struct upload *u = NULL;
        if ((q = new_upload(s, n, "", &u, e)) < 0 ||
                (q = glacier_book_begun(g->book, g->id, u->name, e)) < 0 ||
                (q = initiate(g, u, n->description, e)) < 0)
                return q;
        *ret = &steal(u)->base;
        return 0;
}

const char *glacier_token(struct store_upload *u)
{
        return upload_of(u)->id;
}

/* ---- going on ---- */

static int tell_part(
        const json_t *p, const struct upload *u, store_had_fn each, void *ctx, struct err *e)
{
        const char *range = json_string_value(json_object_get(p, "RangeInBytes"));
        const char *hash = json_string_value(json_object_get(p, "SHA256TreeHash"));
        uint64_t first, last;
        struct store_had h = {.hashed = STORE_HASH_TREE};
        if (!range || !hash || sscanf(range, "%" SCNu64 "-%" SCNu64, &first, &last) != 2 ||
                last < first || bytes_unhex(hash, h.hash, sizeof h.hash) < 0)
                return err_set(e, -EPROTO, "the vault's list of parts is not as it should be");
        h.number = (unsigned)(first / u->base.part_size + 1);
        h.size = last - first + 1;
        return each(ctx, &h, e);
}

/* One page. ret_marker "" at the end. */
static int tell_page(struct glacier *g, const struct upload *u, char marker[GLACIER_ID_MAX],
        store_had_fn each, void *ctx, struct err *e)
{
        char below[GLACIER_ID_MAX + 24], what[GLACIER_NAME_MAX + 64];
        below_upload(u->id, below);
        (void)snprintf(what, sizeof what, "list what was sent of %s", u->name); /* fits */
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = what,
                .right = "glacier:ListParts",
                .method = "GET",
                .below = below,
                .query = {{"marker", marker}},
                .n_query = *marker ? 1 : 0};
        int q = glacier_call(g, &c, &a, e);
        if (q < 0)
                return q;
        json_auto_t *o = json_loadb(buf_str(&a.http.body), a.http.body.len, 0, NULL);
        const json_t *parts = json_object_get(o, "Parts");
        if (!json_is_array(parts))
                return err_set(e, -EPROTO, "the vault's list of parts is not as it should be");
        if (json_integer_value(json_object_get(o, "PartSizeInBytes")) != u->base.part_size)
                return err_set(e, -ENOENT, "the upload of %s has parts of another size", u->name);
        for (size_t i = 0; q == 0 && i < json_array_size(parts); i++)
                q = tell_part(json_array_get(parts, i), u, each, ctx, e);
        return q != 0 ? q : glacier_next_page(o, marker, what, e);
}

/* The vault does not know the upload: perhaps it was finished, and the answer was lost. Asking once
 * more is harmless: within hours the vault gives the same archive's id again. */
static int finish_lost(struct glacier *g, const char *token, struct err *e)
{
        struct glacier_object o = {0};
        int q = glacier_book_find_finishing(g->book, g->id, token, &o, e);
        return q < 0 ? q : complete(g, token, &o, e);
}

int glacier_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e)
{
        struct glacier *g = glacier_of(s);
        char marker[GLACIER_ID_MAX] = "";
        _cleanup_free_ struct upload *u = NULL;
        int q = glacier_ready(g, e);
        if (q < 0 || (q = new_upload(s, n, token, &u, e)) < 0)
                return q;
        do
                q = tell_page(g, u, marker, each, ctx, e);
        while (q == 0 && *marker);
        if (q == -ENOENT) {
                struct err why = {0};
                int lost = finish_lost(g, token, &why);
                if (lost == -EAGAIN || lost == -EBUSY || lost == -ECANCELED)
                        return err_set(e, lost, "%s", why.text);
                return q; /* finished or gone: the state tells which */
        }
        if (q == 0)
                *ret = &steal(u)->base;
        return q;
}

/* ---- parts ---- */

/* The vault got other bytes than were signed for: a wire's fault, to be sent again. */
static bool came_over_damaged(const struct aws_answer *a)
{
        return streq(a->code, "InvalidParameterValueException") &&
               (strcasestr(a->message, "checksum") || strcasestr(a->message, "sha256"));
}

int glacier_put_part(struct store_upload *base, const struct store_part *p, struct err *e)
{
        struct glacier *g = vault_of(base);
        const struct upload *u = upload_of(base);
        char below[GLACIER_ID_MAX + 24], what[GLACIER_NAME_MAX + 64], range[80], tree[65], sha[65];
        below_upload(u->id, below);
        (void)snprintf(what, sizeof what, "send part %u of %s", p->number, u->name); /* fits */
        (void)snprintf(range, sizeof range, "bytes %" PRIu64 "-%" PRIu64 "/*", p->offset,
                p->offset + p->len - 1); /* fits */
        bytes_hex(p->tree_hash, 32, tree);
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = what,
                .right = "glacier:UploadMultipartPart",
                .method = "PUT",
                .below = below,
                .headers = {{"content-range", range}, {"x-amz-sha256-tree-hash", tree},
                        {"content-type", "application/octet-stream"}},
                .n_headers = 3,
                .body = p->data,
                .body_len = p->len,
                .sha256 = p->sha256,
                .counts = true};
        int q = glacier_call(g, &c, &a, e);
        if (q < 0 && came_over_damaged(&a))
                return err_set(e, -EAGAIN, "part %u of %s came over damaged", p->number, u->name);
        if (q < 0)
                return q == -ENOENT ? err_set(e, q,
                                              "the vault does not know the upload of %s any more: "
                                              "it is forgotten a day after its last part",
                                              u->name)
                                    : q;
        if (!http_header(&a.http, "x-amz-sha256-tree-hash", sha, sizeof sha) || !streq(sha, tree))
                return err_set(e, -EAGAIN, "the vault has not got part %u of %s as it was sent",
                        p->number, u->name);
        return 0;
}

/* ---- finishing ---- */

static int complete(struct glacier *g, const char *id, struct glacier_object *o, struct err *e)
{
        char below[GLACIER_ID_MAX + 24], what[GLACIER_NAME_MAX + 32], size[24], tree[65], got[65];
        below_upload(id, below);
        (void)snprintf(what, sizeof what, "finish %s in the vault", o->name); /* fits */
        (void)snprintf(size, sizeof size, "%" PRIu64, o->size);               /* fits */
        bytes_hex(o->tree_hash, sizeof o->tree_hash, tree);
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = what,
                .right = "glacier:CompleteMultipartUpload",
                .method = "POST",
                .below = below,
                .headers = {{"x-amz-archive-size", size}, {"x-amz-sha256-tree-hash", tree}},
                .n_headers = 2};
        int q = glacier_call(g, &c, &a, e);
        if (q < 0)
                return q;
        crash_point("vault-finished");
        if (!http_header(&a.http, "x-amz-archive-id", o->archive, sizeof o->archive) ||
                !*o->archive)
                return err_set(e, -EPROTO, "%s gives no id for an archive", aws_host(g->aws));
        if (!http_header(&a.http, "x-amz-sha256-tree-hash", got, sizeof got) || !streq(got, tree))
                return err_set(e, -EBADMSG, "%s in the vault is not what was sent", o->name);
        return glacier_book_finished(g->book, g->id, id, o, e);
}

int glacier_finish(
        struct store_upload *base, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        struct glacier *g = vault_of(base);
        struct upload *u = upload_of(base);
        struct glacier_object o = {.size = size, .created = clock_now() + aws_skew(g->aws)};
        memcpy(o.name, u->name, sizeof o.name);
        memcpy(o.tree_hash, tree_hash, sizeof o.tree_hash);
        int q = glacier_book_finishing(g->book, g->id, u->id, &o, e);
        if (q == 0)
                q = complete(g, u->id, &o, e);
        if (q == 0)
                glacier_remove_others(g, &o);
        if (q != -EAGAIN && q != -EBUSY)
                free(u);
        return q;
}

/* ---- giving up ---- */

static int abort_upload(struct glacier *g, const char *id, struct err *e)
{
        char below[GLACIER_ID_MAX + 24];
        below_upload(id, below);
        _cleanup_aws_answer_ struct aws_answer a = {0};
        const struct glacier_call c = {.what = "take back an upload",
                .right = "glacier:AbortMultipartUpload",
                .method = "DELETE",
                .below = below};
        int q = glacier_call(g, &c, &a, e);
        return q == -ENOENT ? 0 : q;
}

void glacier_abort(struct store_upload *u)
{
        (void)abort_upload(
                vault_of(u), upload_of(u)->id, NULL); /* a sweep finds it later, and a
                                                         day later the vault forgets it */
        free(u);
}

void glacier_leave(struct store_upload *u)
{
        free(u);
}

struct unwanted {
        char (*v)[GLACIER_ID_MAX];
        size_t n;
};

static int note_unwanted(
        struct unwanted *l, const json_t *o, const char *prefix, store_keep_fn keep, void *ctx)
{
        const char *id = json_string_value(json_object_get(o, "MultipartUploadId"));
        const char *text = json_string_value(json_object_get(o, "ArchiveDescription"));
        char name[GLACIER_NAME_MAX];
        if (!id || strlen(id) >= GLACIER_ID_MAX || !text ||
                !glacier_description_name(text, name, sizeof name) || !startswith(name, prefix) ||
                (keep && keep(ctx, name, id)))
                return 0;
        void *v = reallocarray(l->v, l->n + 1, sizeof *l->v);
        if (!v)
                return -ENOMEM;
        l->v = v;
        memcpy(l->v[l->n++], id, strlen(id) + 1);
        return 0;
}

int glacier_sweep(struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        struct glacier *g = glacier_of(s);
        struct unwanted l = {0};
        char marker[GLACIER_ID_MAX] = "";
        int q = glacier_ready(g, e);
        do {
                _cleanup_aws_answer_ struct aws_answer a = {0};
                const struct glacier_call c = {.what = "list unfinished uploads",
                        .right = "glacier:ListMultipartUploads",
                        .method = "GET",
                        .below = "/multipart-uploads",
                        .query = {{"marker", marker}},
                        .n_query = *marker ? 1 : 0};
                if (q < 0 || (q = glacier_call(g, &c, &a, e)) < 0)
                        break;
                json_auto_t *o = json_loadb(buf_str(&a.http.body), a.http.body.len, 0, NULL);
                const json_t *list = json_object_get(o, "UploadsList");
                for (size_t i = 0; q == 0 && i < json_array_size(list); i++)
                        q = note_unwanted(&l, json_array_get(list, i), prefix, keep, ctx) < 0
                                    ? err_oom(e)
                                    : 0;
                if (q == 0)
                        q = glacier_next_page(o, marker, c.what, e);
        } while (q == 0 && *marker);
        for (size_t i = 0; q == 0 && i < l.n; i++)
                q = abort_upload(g, l.v[i], e);
        free(l.v);
        return q;
}
