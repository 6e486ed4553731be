#include "store_s3_internal.h"

#include "xml.h"

/* ListParts: what has arrived of an upload. */

struct had {
        struct s3_upload *u;
        store_had_fn each;
        void *ctx;
        struct err *e;
        unsigned number;
        struct s3_part part;
        bool truncated;
        char marker[32];
};

static int tell_part(struct had *h)
{
        if (s3_check_number(h->u, h->number, h->e) < 0 || h->part.size == 0)
                return -EPROTO;
        struct store_had x = {.number = h->number,
                .size = h->part.size,
                .hashed = h->part.confirmed ? STORE_HASH_SHA256 : STORE_HASH_NONE};
        memcpy(x.hash, h->part.sha256, sizeof x.hash);
        int q = s3_note_part(h->u, h->number, &h->part);
        h->part = (struct s3_part){0};
        h->number = 0;
        return q < 0 ? q : h->each ? h->each(h->ctx, &x, h->e) : 0;
}

static int on_part(void *ctx, const char *path, const char *text)
{
        struct had *h = ctx;
        if (streq(path, "ListPartsResult/Part"))
                return tell_part(h);
        if (streq(path, "ListPartsResult/Part/PartNumber"))
                h->number = (unsigned)strtoul(text, NULL, 10);
        else if (streq(path, "ListPartsResult/Part/Size"))
                h->part.size = strtoull(text, NULL, 10);
        else if (streq(path, "ListPartsResult/Part/ETag"))
                (void)snprintf(h->part.etag, sizeof h->part.etag, "%s", text);
        else if (streq(path, "ListPartsResult/Part/ChecksumSHA256"))
                h->part.confirmed = s3_decode_sha256(text, h->part.sha256);
        else if (streq(path, "ListPartsResult/IsTruncated"))
                h->truncated = streq(text, "true");
        else if (streq(path, "ListPartsResult/NextPartNumberMarker"))
                (void)snprintf(h->marker, sizeof h->marker, "%s", text);
        return 0;
}

static int parts_page(struct had *h, struct err *e)
{
        struct s3_upload *u = h->u;
        struct sigv4_pair query[3] = {{"uploadId", u->id}};
        size_t n = 1;
        if (*h->marker)
                query[n++] = (struct sigv4_pair){"part-number-marker", h->marker};
        char what[300];
        (void)snprintf(what, sizeof what, "ask what has arrived of %s", u->name); /* may be cut */
        const struct s3_request r = {
                .name = u->name,
                .call = {.what = what,
                        .right = "s3:ListMultipartUploadParts",
                        .method = "GET",
                        .query = query,
                        .n_query = n},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s3_store_of(u), &r, &a, e);
        if (q < 0)
                return q;
        h->truncated = false;
        return xml_each(buf_str(&a.http.body), a.http.body.len, on_part, h, e);
}

static int list_parts(struct s3_upload *u, store_had_fn each, void *ctx, struct err *e)
{
        struct had h = {.u = u, .each = each, .ctx = ctx, .e = e};
        char before[sizeof h.marker];
        do {
                memcpy(before, h.marker, sizeof before);
                int q = parts_page(&h, e);
                if (q != 0)
                        return q;
        } while (h.truncated && !streq(before, h.marker));
        return 0;
}

int s3_resume(struct store *s, const struct store_new *n, const char *token, store_had_fn each,
        void *ctx, struct store_upload **ret, struct err *e)
{
        if (!*token)
                return err_set(e, -ENOENT, "the upload of %s cannot go on", n->name);
        struct s3_upload *u = s3_upload_new(s, n, token);
        if (!u)
                return err_oom(e);
        int q = list_parts(u, each, ctx, e);
        if (q == -EOPNOTSUPP) { /* a service that does not tell: what it has is of no use */
                (void)s3_abort_upload(s3_of(s), n->name, token, NULL); /* or it stays */
                q = -ENOENT;
        }
        if (q != 0) {
                s3_upload_free(u);
                return q == -ENOENT ? err_set(e, q, "the upload of %s is gone", n->name) : q;
        }
        *ret = &u->base;
        return 0;
}
