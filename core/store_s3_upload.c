#include "store_s3_internal.h"

#include "bytes.h"
#include "xml.h"

#include <openssl/evp.h>

#define COMPLETE_PATIENCE 600u /* seconds: a service puts thousands of parts together */

struct s3_part {
        uint64_t size; /* 0: the service has not got it */
        char etag[100];
        uint8_t sha256[32];
        bool confirmed; /* the service gave that SHA-256 itself */
};

struct s3_upload {
        struct store_upload base;
        char *name, *id; /* id NULL: not begun at the service */
        bool index, replace;
        pthread_mutex_t lock;
        struct s3_part *parts; /* number - 1 */
        unsigned n_parts, room;
        /* An index object is kept back as long as it is one part: then it goes in one request. */
        void *held;
        size_t held_len;
        uint8_t held_sha256[32];
};

static struct s3_upload *up(struct store_upload *u)
{
        return (struct s3_upload *)u;
}

static struct s3_store *store_of(const struct s3_upload *u)
{
        return s3_of(u->base.store);
}

static void upload_free(struct s3_upload *u)
{
        pthread_mutex_destroy(&u->lock);
        free(u->name);
        free(u->id);
        free(u->parts);
        free(u->held);
        free(u);
}

static struct s3_upload *upload_new(struct store *s, const struct store_new *n, const char *id)
{
        struct s3_upload *u = calloc(1, sizeof *u);
        if (!u)
                return NULL;
        u->base = (struct store_upload){.store = s,
                .part_size = n->part_size ? n->part_size : store_part_size(s, n->max_size)};
        u->index = n->index;
        u->replace = n->replace;
        pthread_mutex_init(&u->lock, NULL);
        u->name = strdup(n->name);
        u->id = id ? strdup(id) : NULL;
        if (!u->name || (id && !u->id)) {
                upload_free(u);
                return NULL;
        }
        return u;
}

/* ---- parts that the service has ---- */

static int note_part(struct s3_upload *u, unsigned number, const struct s3_part *part)
{
        int q = 0;
        pthread_mutex_lock(&u->lock);
        if (number > u->room) {
                unsigned room = MAX(number, u->room * 2);
                struct s3_part *v = reallocarray(u->parts, room, sizeof *v);
                if (v) {
                        memset(v + u->room, 0, (room - u->room) * sizeof *v);
                        u->parts = v;
                        u->room = room;
                } else {
                        q = -ENOMEM;
                }
        }
        if (q == 0) {
                u->parts[number - 1] = *part;
                u->n_parts = MAX(u->n_parts, number);
        }
        pthread_mutex_unlock(&u->lock);
        return q;
}

static int check_number(const struct s3_upload *u, unsigned number, struct err *e)
{
        if (number >= 1 && number <= u->base.store->traits.max_parts)
                return 0;
        return err_set(e, -EINVAL, "%s: there is no part %u", u->name, number);
}

static bool decode_sha256(const char *text, uint8_t out[32])
{
        uint8_t raw[48];
        if (strlen(text) != 44 || EVP_DecodeBlock(raw, (const unsigned char *)text, 44) != 33)
                return false;
        memcpy(out, raw, 32);
        return true;
}

/* ---- begin ---- */

static int create(struct s3_upload *u, struct err *e)
{
        struct s3_store *s = store_of(u);
        static const struct sigv4_pair query[] = {{"uploads", ""}};
        const struct sigv4_pair headers[] = {
                {"content-type", "application/octet-stream"},
                {"x-amz-checksum-algorithm", "SHA256"},
                {"x-amz-storage-class", u->index ? S3_INDEX_CLASS : s->storage_class},
        };
        char what[300], id[600];
        (void)snprintf(what, sizeof what, "begin the upload of %s", u->name); /* may be cut */
        const struct s3_request r = {
                .name = u->name,
                .call = {.what = what,
                        .right = "s3:PutObject",
                        .method = "POST",
                        .query = query,
                        .n_query = ARRAY_SIZE(query),
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers)},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        if (q < 0)
                return q;
        if (!xml_text(buf_str(&a.http.body), a.http.body.len,
                    "InitiateMultipartUploadResult/UploadId", id, sizeof id) ||
                !*id)
                return err_set(e, -EPROTO, "cannot %s: the answer has no UploadId", what);
        return (u->id = strdup(id)) ? 0 : err_oom(e);
}

int s3_begin(struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        struct store_state there;
        int q = n->replace ? -ENOENT : s3_state(s, n->name, &there, e);
        if (q == 0)
                return err_set(e, -EEXIST, "%s is in the store already", n->name);
        if (q != -ENOENT)
                return q;
        struct s3_upload *u = upload_new(s, n, NULL);
        if (!u)
                return err_oom(e);
        q = n->index ? 0 : create(u, e);
        if (q < 0) {
                upload_free(u);
                return q;
        }
        *ret = &u->base;
        return 0;
}

const char *s3_token(struct store_upload *u)
{
        return up(u)->id && !up(u)->index ? up(u)->id : "";
}

/* ---- resume: ListParts ---- */

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
        if (check_number(h->u, h->number, h->e) < 0 || h->part.size == 0)
                return -EPROTO;
        struct store_had x = {.number = h->number,
                .size = h->part.size,
                .hashed = h->part.confirmed ? STORE_HASH_SHA256 : STORE_HASH_NONE};
        memcpy(x.hash, h->part.sha256, sizeof x.hash);
        int q = note_part(h->u, h->number, &h->part);
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
                h->part.confirmed = decode_sha256(text, h->part.sha256);
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
        int q = s3_do(store_of(u), &r, &a, e);
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
        struct s3_upload *u = upload_new(s, n, token);
        if (!u)
                return err_oom(e);
        int q = list_parts(u, each, ctx, e);
        if (q != 0) {
                upload_free(u);
                return q == -ENOENT ? err_set(e, q, "the upload of %s is gone", n->name) : q;
        }
        *ret = &u->base;
        return 0;
}

/* ---- parts ---- */

static int read_receipt(const struct s3_upload *u, const struct aws_answer *a,
        const struct store_part *p, struct s3_part *part, struct err *e)
{
        char text[100];
        if (!http_header(&a->http, "ETag", part->etag, sizeof part->etag) || !*part->etag)
                return err_set(e, -EAGAIN, "%s answered part %u of %s without an ETag",
                        aws_host(store_of(u)->aws), p->number, u->name);
        part->size = p->len;
        memcpy(part->sha256, p->sha256, sizeof part->sha256);
        if (!http_header(&a->http, "x-amz-checksum-sha256", text, sizeof text))
                return 0; /* the payload hash in the signature was checked all the same */
        uint8_t theirs[32];
        part->confirmed = decode_sha256(text, theirs);
        if (part->confirmed && memcmp(theirs, p->sha256, sizeof theirs) != 0)
                return err_set(e, -EAGAIN, "part %u of %s arrived damaged", p->number, u->name);
        return 0;
}

static int send_part(struct s3_upload *u, const struct store_part *p, struct err *e)
{
        char number[16], checksum[BYTES_BASE64_LEN(32)], what[300];
        (void)snprintf(number, sizeof number, "%u", p->number); /* fits */
        (void)snprintf(
                what, sizeof what, "send part %u of %s", p->number, u->name); /* may be cut */
        bytes_base64(p->sha256, 32, checksum);
        const struct sigv4_pair query[] = {{"partNumber", number}, {"uploadId", u->id}};
        const struct sigv4_pair headers[] = {{"x-amz-checksum-sha256", checksum}};
        const struct s3_request r = {
                .name = u->name,
                .call = {.what = what,
                        .right = "s3:PutObject",
                        .method = "PUT",
                        .query = query,
                        .n_query = ARRAY_SIZE(query),
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers),
                        .body = p->data,
                        .body_len = p->len,
                        .sha256 = p->sha256,
                        .counts = true},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        struct s3_part part = {0};
        int q = s3_do(store_of(u), &r, &a, e);
        if (q == 0)
                q = read_receipt(u, &a, p, &part, e);
        if (q == 0 && note_part(u, p->number, &part) < 0)
                q = err_oom(e);
        return q;
}

static int hold(struct s3_upload *u, const struct store_part *p, struct err *e)
{
        void *copy = malloc(MAX(p->len, 1u));
        if (!copy)
                return err_oom(e);
        memcpy(copy, p->data, p->len);
        free(u->held);
        u->held = copy;
        u->held_len = p->len;
        memcpy(u->held_sha256, p->sha256, sizeof u->held_sha256);
        return 0;
}

int s3_put_part(struct store_upload *base, const struct store_part *p, struct err *e)
{
        struct s3_upload *u = up(base);
        int q = check_number(u, p->number, e);
        if (q < 0)
                return q;
        if (u->index && p->number == 1)
                return hold(u, p, e);
        if (!u->id && (q = create(u, e)) < 0) /* an index object: one thread, see s3_begin() */
                return q;
        return send_part(u, p, e);
}

/* ---- finish ---- */

static int check_parts(const struct s3_upload *u, uint64_t size, struct err *e)
{
        uint64_t sum = 0;
        for (unsigned i = 0; i < u->n_parts; i++) {
                if (u->parts[i].size == 0)
                        return err_set(e, -EINVAL, "%s: part %u was never sent", u->name, i + 1);
                sum += u->parts[i].size;
        }
        if (sum == size && u->n_parts > 0)
                return 0;
        return err_set(e, -EIO, "%s: the service has %llu bytes of it, not %llu", u->name,
                (unsigned long long)sum, (unsigned long long)size);
}

static int complete_body(const struct s3_upload *u, struct buf *b)
{
        buf_adds(b, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
        for (unsigned i = 0; i < u->n_parts; i++) {
                const struct s3_part *p = &u->parts[i];
                buf_addf(b, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
                xml_add(b, p->etag);
                buf_adds(b, "</ETag>");
                if (p->confirmed) {
                        char checksum[BYTES_BASE64_LEN(32)];
                        bytes_base64(p->sha256, 32, checksum);
                        buf_addf(b, "<ChecksumSHA256>%s</ChecksumSHA256>", checksum);
                }
                buf_adds(b, "</Part>");
        }
        buf_adds(b, "</CompleteMultipartUpload>");
        return buf_oom(b) ? -ENOMEM : 0;
}

static int complete_once(struct s3_upload *u, const struct buf *body, bool condition, struct err *e)
{
        const struct sigv4_pair query[] = {{"uploadId", u->id}};
        static const struct sigv4_pair headers[] = {
                {"content-type", "application/xml"}, {"if-none-match", "*"}};
        char what[300];
        (void)snprintf(what, sizeof what, "finish %s", u->name); /* may be cut */
        const struct s3_request r = {
                .name = u->name,
                .call = {.what = what,
                        .right = "s3:PutObject",
                        .method = "POST",
                        .query = query,
                        .n_query = ARRAY_SIZE(query),
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers) - !condition,
                        .body = body->data,
                        .body_len = body->len,
                        .stall_seconds = COMPLETE_PATIENCE},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(store_of(u), &r, &a, e);
        return q == 0 ? s3_hidden_error(store_of(u), &r, &a, e) : q;
}

static int complete(struct s3_upload *u, struct err *e)
{
        _cleanup_buf_ struct buf body = BUF_INIT;
        if (complete_body(u, &body) < 0)
                return err_oom(e);
        struct s3_store *s = store_of(u);
        bool condition = !u->replace && atomic_load(&s->conditions) != S3_NO;
        int q = complete_once(u, &body, condition, e);
        if (q == -EOPNOTSUPP && condition) {
                atomic_store(&s->conditions, S3_NO);
                q = complete_once(u, &body, false, e);
        }
        return q;
}

/* SHA-256 over the parts' SHA-256s, as the service computes it. */
static bool composite(const struct s3_upload *u, uint8_t out[32])
{
        EVP_MD_CTX *m = EVP_MD_CTX_new();
        bool ok = m && EVP_DigestInit_ex(m, EVP_sha256(), NULL);
        for (unsigned i = 0; ok && i < u->n_parts; i++)
                ok = u->parts[i].confirmed && EVP_DigestUpdate(m, u->parts[i].sha256, 32);
        ok = ok && EVP_DigestFinal_ex(m, out, NULL);
        EVP_MD_CTX_free(m);
        return ok;
}

static int confirm(struct s3_upload *u, uint64_t size, struct err *e)
{
        struct store_state st;
        int q = s3_state(u->base.store, u->name, &st, e);
        if (q < 0)
                return q;
        if (st.size != size)
                return err_set(e, -EIO,
                        "%s has %llu bytes in the store, not the %llu that were sent", u->name,
                        (unsigned long long)st.size, (unsigned long long)size);
        uint8_t ours[32];
        bool differs = false;
        if (st.hashed == STORE_HASH_SHA256_PARTS && composite(u, ours))
                differs = st.hash_parts != u->n_parts || memcmp(ours, st.hash, 32) != 0;
        else if (st.hashed == STORE_HASH_SHA256 && u->held && !u->id)
                differs = memcmp(u->held_sha256, st.hash, 32) != 0;
        return differs ? err_set(e, -EIO,
                                 "%s is not what was sent: its checksum in the store differs",
                                 u->name)
                       : 0;
}

static int finish_parts(struct s3_upload *u, uint64_t size, struct err *e)
{
        if (u->held && (u->n_parts == 0 || u->parts[0].size == 0)) {
                const struct store_part first = {
                        .number = 1, .data = u->held, .len = u->held_len, .sha256 = u->held_sha256};
                int q = send_part(u, &first, e);
                if (q < 0)
                        return q;
        }
        int q = check_parts(u, size, e);
        if (q == 0)
                q = complete(u, e);
        return q;
}

static int finish_small(struct s3_upload *u, uint64_t size, struct err *e)
{
        if (u->held_len != size)
                return err_set(e, -EIO, "%s has %zu bytes, not %llu", u->name, u->held_len,
                        (unsigned long long)size);
        const struct s3_put p = {.name = u->name,
                .storage_class = S3_INDEX_CLASS,
                .data = u->held,
                .len = u->held_len,
                .sha256 = u->held_sha256,
                .only_new = !u->replace};
        return s3_put(store_of(u), &p, e);
}

static int finish(struct s3_upload *u, uint64_t size, struct err *e)
{
        if (!u->id && !u->held)
                return err_set(e, -EINVAL, "%s: nothing was sent", u->name);
        struct err why = {0};
        int q = u->id ? finish_parts(u, size, &why) : finish_small(u, size, &why);
        /* An answer that was lost: the upload is gone and the object is there. */
        bool maybe = q == -ENOENT || q == -EEXIST;
        if (q == 0 || maybe) {
                int r = confirm(u, size, e);
                if (r == 0 || r == -EAGAIN || r == -EBUSY || !maybe)
                        return r;
        }
        if (e)
                *e = why;
        return q;
}

int s3_finish(struct store_upload *base, uint64_t size, const uint8_t tree_hash[32] _unused_,
        char *ret_address, struct err *e)
{
        struct s3_upload *u = up(base);
        int q = finish(u, size, e);
        if (q == 0 && ret_address)
                (void)snprintf(ret_address, STORE_ADDRESS_MAX, "%s", u->name); /* ours are short */
        if (q != -EAGAIN && q != -EBUSY)
                upload_free(u);
        return q;
}

/* ---- the other ends ---- */

void s3_abort(struct store_upload *base)
{
        struct s3_upload *u = up(base);
        if (u->id)
                (void)s3_abort_upload(
                        store_of(u), u->name, u->id, NULL); /* or store_sweep() does */
        upload_free(u);
}

void s3_leave(struct store_upload *base)
{
        upload_free(up(base));
}
