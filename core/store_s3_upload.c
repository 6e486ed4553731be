#include "store_s3_internal.h"

#include "bytes.h"
#include "xml.h"

#include <openssl/evp.h>

void s3_upload_free(struct s3_upload *u)
{
        pthread_mutex_destroy(&u->lock);
        pthread_mutex_destroy(&u->begin_lock);
        free(u->name);
        free(u->id);
        free(u->parts);
        free(u->held);
        free(u);
}

struct s3_upload *s3_upload_new(struct store *s, const struct store_new *n, const char *id)
{
        struct s3_upload *u = calloc(1, sizeof *u);
        if (!u)
                return NULL;
        u->base = (struct store_upload){.store = s,
                .part_size = n->part_size ? n->part_size : store_part_size(s, n->max_size)};
        u->index = n->index;
        u->replace = n->replace;
        pthread_mutex_init(&u->lock, NULL);
        pthread_mutex_init(&u->begin_lock, NULL);
        u->name = strdup(n->name);
        u->id = id ? strdup(id) : NULL;
        if (!u->name || (id && !u->id)) {
                s3_upload_free(u);
                return NULL;
        }
        return u;
}

/* ---- parts that the service has ---- */

int s3_note_part(struct s3_upload *u, unsigned number, const struct s3_part *part)
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

int s3_check_number(const struct s3_upload *u, unsigned number, struct err *e)
{
        if (number >= 1 && number <= S3_MAX_PARTS)
                return 0;
        return err_set(e, -EINVAL, "%s: there is no part %u", u->name, number);
}

/* ---- begin ---- */

static int create(struct s3_upload *u, struct err *e)
{
        struct s3_store *s = s3_store_of(u);
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
        struct s3_upload *u = s3_upload_new(s, n, NULL);
        if (!u)
                return err_oom(e);
        q = n->index ? 0 : create(u, e);
        if (q < 0) {
                s3_upload_free(u);
                return q;
        }
        *ret = &u->base;
        return 0;
}

const char *s3_token(struct store_upload *u)
{
        return s3_up(u)->id && !s3_up(u)->index ? s3_up(u)->id : "";
}

/* ---- parts ---- */

static int read_receipt(const struct s3_upload *u, const struct aws_answer *a,
        const struct store_part *p, struct s3_part *part, struct err *e)
{
        char text[100];
        if (!http_header(&a->http, "ETag", part->etag, sizeof part->etag) || !*part->etag)
                return err_set(e, -EAGAIN, "%s answered part %u of %s without an ETag",
                        aws_host(s3_store_of(u)->aws), p->number, u->name);
        part->size = p->len;
        memcpy(part->sha256, p->sha256, sizeof part->sha256);
        if (!http_header(&a->http, "x-amz-checksum-sha256", text, sizeof text))
                return 0; /* the payload hash in the signature was checked all the same */
        uint8_t theirs[32];
        part->confirmed = s3_decode_sha256(text, theirs);
        if (part->confirmed && memcmp(theirs, p->sha256, sizeof theirs) != 0)
                return err_set(e, -EAGAIN, "part %u of %s arrived damaged", p->number, u->name);
        return 0;
}

int s3_send_part(struct s3_upload *u, const struct store_part *p, struct err *e)
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
        int q = s3_do(s3_store_of(u), &r, &a, e);
        if (q == 0)
                q = read_receipt(u, &a, p, &part, e);
        if (q == 0 && s3_note_part(u, p->number, &part) < 0)
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
        struct s3_upload *u = s3_up(base);
        int q = s3_check_number(u, p->number, e);
        if (q < 0)
                return q;
        if (u->index && p->number == 1)
                return hold(u, p, e);
        pthread_mutex_lock(&u->begin_lock); /* an index object begins with its second part */
        if (!u->id)
                q = create(u, e);
        pthread_mutex_unlock(&u->begin_lock);
        if (q < 0)
                return q;
        return s3_send_part(u, p, e);
}

/* ---- the other ends ---- */

void s3_abort(struct store_upload *base)
{
        struct s3_upload *u = s3_up(base);
        if (u->id)
                (void)s3_abort_upload(
                        s3_store_of(u), u->name, u->id, NULL); /* or store_sweep() does */
        s3_upload_free(u);
}

void s3_leave(struct store_upload *base)
{
        s3_upload_free(s3_up(base));
}
