#include "store_s3_internal.h"

#include "bytes.h"
#include "xml.h"

#include <openssl/evp.h>

#define COMPLETE_PATIENCE 600u /* seconds: a service puts thousands of parts together */

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
        int q = s3_do(s3_store_of(u), &r, &a, e);
        return q == 0 ? s3_hidden_error(s3_store_of(u), &r, &a, e) : q;
}

static int complete(struct s3_upload *u, struct err *e)
{
        _cleanup_buf_ struct buf body = BUF_INIT;
        if (complete_body(u, &body) < 0)
                return err_oom(e);
        struct s3_store *s = s3_store_of(u);
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
                int q = s3_send_part(u, &first, e);
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
        return s3_put(s3_store_of(u), &p, e);
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
        struct err *e)
{
        struct s3_upload *u = s3_up(base);
        int q = finish(u, size, e);
        if (q != -EAGAIN && q != -EBUSY)
                s3_upload_free(u);
        return q;
}
