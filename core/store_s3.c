#include "store_s3_internal.h"

#include "bytes.h"
#include "config.h"

#include <openssl/rand.h>

#define ID_FILE   "autoglacier.json"
#define PART_SIZE (8u * MiB)
#define MAX_SIZE  (5 * 1024 * GiB)

/* Of an upload. Services of others may take a tenth of what Amazon takes (OpenStack Swift does). */
#define OTHERS_PARTS 1000u

/* ---- requests ---- */

static int make_path(const struct s3_store *s, const char *name, struct buf *path)
{
        buf_addc(path, '/');
        if (s->path_style)
                buf_addf(path, "%s%s", s->bucket, name ? "/" : "");
        if (name)
                buf_addf(path, "%s%s", s->prefix, name);
        return buf_oom(path) ? -ENOMEM : 0;
}

/* Sentences name the bucket where the service's own do not. */
static int name_bucket(const struct s3_store *s, int q, struct err *e)
{
        bool refused = q == -ENODEV || q == -EACCES || q == -EPERM;
        if (refused)
                err_prefix(e, q, "s3://%s", s->bucket);
        const char *rest = startswith(aws_host(s->aws), s->bucket);
        if ((refused || q == -EKEYREJECTED) && rest && *rest == '.')
                err_hint(e,
                        "if ENDPOINT_URL begins with the bucket's name, leave that out: the "
                        "address is %s",
                        rest + 1);
        return q;
}

/* ---- headers that are good to have, and that not every service takes ---- */

static const char *const optional[S3_OPTIONAL] = {
        [S3_CHECKSUMS] = "x-amz-checksum-",
        [S3_ATTRIBUTES] = "x-amz-optional-object-attributes",
};

static int kind_of(const char *header)
{
        for (int k = 0; k < S3_OPTIONAL; k++)
                if (startswith(header, optional[k]))
                        return k;
        return -1;
}

/* The call's headers without those; which kind they were, or -1. */
static int leave_out(const struct aws_call *c, struct sigv4_pair *out, size_t *ret_n)
{
        int kind = -1;
        *ret_n = 0;
        for (size_t i = 0; i < c->n_headers; i++) {
                int k = kind_of(c->headers[i].name);
                if (k < 0)
                        out[(*ret_n)++] = c->headers[i];
                else
                        kind = k;
        }
        return kind;
}

/* Did it refuse them? An answer to HEAD has no words. */
static bool is_refusal(const struct s3_store *s, const struct aws_call *c, int kind, int q,
        const struct aws_answer *a)
{
        if (q == 0 || !aws_is_own_endpoint(s->aws) || a->http.status < 400)
                return false;
        bool mute = streq(c->method, "HEAD") && (a->http.status == 400 || a->http.status == 501);
        return strcasestr(a->message, optional[kind]) ||
               (mute && atomic_load(&s->takes[kind]) == S3_UNKNOWN);
}

/* Without its checksum what a part has is checked all the same, by the signed payload's hash. */
static int do_call(struct s3_store *s, struct aws_call *c, struct aws_answer *a, struct err *e)
{
        struct sigv4_pair plain[8];
        size_t n = 0;
        int kind = c->n_headers <= ARRAY_SIZE(plain) ? leave_out(c, plain, &n) : -1;
        if (kind < 0)
                return aws_do(s->aws, c, a, e);
        if (atomic_load(&s->takes[kind]) != S3_NO) {
                int q = aws_do(s->aws, c, a, e);
                if (q == 0)
                        atomic_store(&s->takes[kind], S3_YES);
                if (!is_refusal(s, c, kind, q, a))
                        return q;
        }
        c->headers = plain;
        c->n_headers = n;
        int q = aws_do(s->aws, c, a, e);
        if (q == 0)
                atomic_store(&s->takes[kind], S3_NO);
        return q;
}

int s3_do(struct s3_store *s, const struct s3_request *r, struct aws_answer *a, struct err *e)
{
        _cleanup_buf_ struct buf path = BUF_INIT;
        if (make_path(s, r->name, &path) < 0)
                return err_oom(e);
        struct aws_call c = r->call;
        c.path = buf_str(&path);
        c.subhost = s->path_style ? NULL : s->bucket;
        c.control = &s->base.control;
        int q = do_call(s, &c, a, e);
        return q < 0 ? name_bucket(s, q, e) : 0;
}

int s3_hidden_error(
        struct s3_store *s, const struct s3_request *r, struct aws_answer *a, struct err *e)
{
        return aws_hidden_error(s->aws, &r->call, a, e);
}

/* ---- identity ---- */

static int read_id(struct s3_store *s, char ret[33], struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = s3_get_small(s, ID_FILE, 4 * KiB, &b, e);
        if (q < 0)
                return q;
        const char *key = strstr(buf_str(&b), "\"store_id\"");
        const char *p = key ? strchr(key + 10, '"') : NULL;
        uint8_t raw[16];
        if (p && strlen(p) >= 34 && p[33] == '"') {
                memcpy(ret, p + 1, 32);
                ret[32] = 0;
                if (bytes_unhex(ret, raw, sizeof raw) == 0)
                        return 0;
        }
        return err_set(e, -EPROTO, "%s: its " ID_FILE " is broken", s->base.url);
}

static int s3_check(struct store *base, const char *expected, char *ret_id, struct err *e)
{
        struct s3_store *s = s3_of(base);
        char id[33];
        int q = read_id(s, id, e);
        if (q == -ENOENT)
                return err_set(e, -ENODEV,
                        "%s is no autoglacier store (it has no " ID_FILE
                        "); set it up with: autoglacier init",
                        base->url);
        if (q < 0)
                return q;
        if (expected && !streq(expected, id))
                return err_set(e, -ENODEV, "%s is another store (%s) than the one we know (%s)",
                        base->url, id, expected);
        if (ret_id)
                memcpy(ret_id, id, sizeof id);
        return 0;
}

static int s3_init(struct store *base, struct err *e)
{
        struct s3_store *s = s3_of(base);
        char id[33], json[128];
        int q = read_id(s, id, e);
        if (q != -ENOENT)
                return q;
        uint8_t raw[16];
        if (RAND_bytes(raw, sizeof raw) != 1)
                return err_set(e, -EIO, "no random numbers");
        bytes_hex(raw, sizeof raw, id);
        int n = snprintf(json, sizeof json, "{\"autoglacier\": 1, \"store_id\": \"%s\"}\n", id);
        const struct s3_put p = {.name = ID_FILE,
                .storage_class = S3_INDEX_CLASS,
                .data = json,
                .len = (size_t)n,
                .only_new = true};
        q = s3_put(s, &p, e);
        return q == -EEXIST ? 0 : q; /* another machine was quicker */
}

/* ---- the store ---- */

static uint64_t s3_space(struct store *s _unused_)
{
        return UINT64_MAX;
}

static void s3_close(struct store *base)
{
        struct s3_store *s = s3_of(base);
        aws_free(s->aws);
        free(s->bucket);
        free(s->prefix);
        free(s->storage_class);
        free(base->url);
        free(s);
}

static const struct store_ops s3_ops = {
        .check = s3_check,
        .init = s3_init,
        .begin = s3_begin,
        .resume = s3_resume,
        .token = s3_token,
        .put_part = s3_put_part,
        .finish = s3_finish,
        .abort = s3_abort,
        .leave = s3_leave,
        .sweep = s3_sweep,
        .state = s3_state,
        .thaw = s3_thaw,
        .get = s3_get,
        .list = s3_list,
        .remove = s3_remove,
        .space = s3_space,
        .close = s3_close,
};

/* ---- its address ---- */

bool store_s3_parse(
        const char *url, char *bucket, size_t bucket_size, char *prefix, size_t prefix_size)
{
        const char *p = startswith(url, "s3://");
        if (!p)
                return false;
        size_t n = strcspn(p, "/");
        const char *rest = p + n;
        while (*rest == '/')
                rest++;
        size_t m = strlen(rest);
        while (m > 0 && rest[m - 1] == '/')
                m--;
        if (n == 0 || n >= bucket_size || m >= prefix_size)
                return false;
        (void)snprintf(bucket, bucket_size, "%.*s", (int)n, p);    /* measured */
        (void)snprintf(prefix, prefix_size, "%.*s", (int)m, rest); /* measured */
        return true;
}

static bool bucket_is_sane(const char *s)
{
        size_t n = strlen(s);
        return n >= 3 && n <= 63 &&
               s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] ==
                       0;
}

/* A bucket's name can stand before the host's where it is a DNS label (a dot breaks the wildcard
 * certificate) and the host has a name that DNS knows. */
static bool needs_path_style(const char *bucket, const char *host)
{
        bool number = *host == '[' || host[strspn(host, "0123456789.:")] == 0;
        bool local = startswith(host, "localhost") != NULL;
        return number || local || bucket[strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

static int set_address(struct s3_store *s, const char *url, const char *class, struct err *e)
{
        char bucket[256], prefix[512];
        if (!store_s3_parse(url, bucket, sizeof bucket, prefix, sizeof prefix))
                return err_set(e, -EINVAL,
                        "%s: a bucket is written s3://bucket or s3://bucket/prefix", url);
        if (!bucket_is_sane(bucket))
                return err_set(e, -EINVAL,
                        "%s: \"%s\" is no name of a bucket (3 to 63 letters, digits, dots, "
                        "hyphens); VAULT is written s3://bucket or s3://bucket/prefix",
                        url, bucket);
        s->bucket = strdup(bucket);
        s->base.url = strdup(url);
        s->storage_class = strdup(class && *class ? class : S3_INDEX_CLASS);
        if (asprintf(&s->prefix, "%s%s", prefix, *prefix ? "/" : "") < 0)
                s->prefix = NULL;
        return s->bucket && s->prefix && s->base.url && s->storage_class ? 0 : err_oom(e);
}

int store_s3_new(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e)
{
        struct s3_store *s = calloc(1, sizeof *s);
        if (!s)
                return err_oom(e);
        s->base.ops = &s3_ops;
        s->base.traits = (struct store_traits){
                .cold = true,
                .max_object = MAX_SIZE,
                .part_size = PART_SIZE,
                .max_parts = S3_MAX_PARTS,
                .kind = "s3",
        };
        int q = set_address(s, url, storage_class, e);
        if (q == 0)
                q = aws_new(config, "s3", &s->aws, e);
        if (q < 0) {
                s3_close(&s->base);
                return q;
        }
        if (aws_is_own_endpoint(s->aws)) {
                s->base.traits.max_parts = OTHERS_PARTS;
                s->base.traits.max_object = OTHERS_PARTS * GiB;
        }
        s->path_style =
                (config && config->path_style) || needs_path_style(s->bucket, aws_host(s->aws));
        *ret = &s->base;
        return 0;
}

int64_t store_s3_skew(struct store *s)
{
        while (s->inner)
                s = s->inner;
        return s->ops == &s3_ops ? aws_skew(s3_of(s)->aws) : 0;
}
