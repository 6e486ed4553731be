#include "store_s3.h"

#include "clock.h"
#include "store_s3_internal.h"
#include "xml.h"

#include <curl/curl.h>
#include <openssl/evp.h>

/* ---- what the service says of an object ---- */

static bool class_is_cold(const char *class)
{
        return streq(class, "GLACIER") || streq(class, "DEEP_ARCHIVE");
}

bool s3_is_cold(const struct s3_store *s, const char *class)
{
        return class_is_cold(class) && atomic_load(&s->thaws) != S3_NO;
}

static bool quoted(const char *text, const char *key, char *out, size_t size)
{
        size_t n = strlen(key);
        for (const char *p = text; (p = strstr(p, key)) != NULL; p += n) {
                bool begins = p == text || p[-1] == ' ' || p[-1] == ',';
                if (!begins || p[n] != '=' || p[n + 1] != '"')
                        continue;
                (void)snprintf(out, size, "%.*s", (int)strcspn(p + n + 2, "\""), p + n + 2);
                return true;
        }
        return false;
}

static int64_t parse_date(const char *text)
{
        time_t t = curl_getdate(text, NULL);
        return t < 0 ? 0 : clock_of(t, 0);
}

void s3_parse_restore(const char *text, struct store_state *st)
{
        char ongoing[8] = "", expiry[64] = "";
        if (!quoted(text, "ongoing-request", ongoing, sizeof ongoing))
                return;
        if (streq(ongoing, "true")) {
                st->access = STORE_THAWING;
                return;
        }
        st->access = STORE_READY;
        if (quoted(text, "expiry-date", expiry, sizeof expiry)) {
                st->ready_until = parse_date(expiry);
                if (st->ready_until && st->ready_until <= clock_now())
                        st->access = STORE_COLD; /* over, and not yet taken away */
        }
}

bool s3_decode_sha256(const char *text, uint8_t out[32])
{
        uint8_t raw[48];
        if (strlen(text) != 44 || EVP_DecodeBlock(raw, (const unsigned char *)text, 44) != 33)
                return false;
        memcpy(out, raw, 32);
        return true;
}

/* "base64" of the whole, or "base64-N" over N parts. */
static void parse_checksum(const char *text, struct store_state *st)
{
        size_t n = strcspn(text, "-");
        char whole[48];
        (void)snprintf(
                whole, sizeof whole, "%.*s", (int)MIN(n, sizeof whole), text); /* or too long */
        if (!s3_decode_sha256(whole, st->hash))
                return;
        st->hashed = text[n] ? STORE_HASH_SHA256_PARTS : STORE_HASH_SHA256;
        st->hash_parts = text[n] ? (unsigned)strtoul(text + n + 1, NULL, 10) : 0;
}

static struct store_state state_of(const struct s3_store *s, const struct http_answer *a)
{
        struct store_state st = {.access = STORE_READY};
        char v[256];
        if (http_header(a, "Content-Length", v, sizeof v))
                st.size = strtoull(v, NULL, 10);
        if (http_header(a, "Last-Modified", v, sizeof v))
                st.modified = parse_date(v);
        (void)snprintf(st.storage_class, sizeof st.storage_class, "%.31s",
                http_header(a, "x-amz-storage-class", v, sizeof v) && *v ? v : S3_INDEX_CLASS);
        if (s3_is_cold(s, st.storage_class) || http_header(a, "x-amz-archive-status", v, sizeof v))
                st.access = STORE_COLD;
        if (http_header(a, "x-amz-restore", v, sizeof v))
                s3_parse_restore(v, &st);
        if (http_header(a, "x-amz-checksum-sha256", v, sizeof v))
                parse_checksum(v, &st);
        return st;
}

struct size {
        const char *name;
        uint64_t size;
};

static int take_size(
        void *ctx, const char *name, const struct store_state *st, struct err *e _unused_)
{
        struct size *z = ctx;
        if (!streq(name, z->name))
                return 0;
        z->size = st->size;
        return 1;
}

/* Where something on the way keeps the length of what HEAD answers to itself. */
static int size_from_list(struct s3_store *s, const char *name, uint64_t *ret, struct err *e)
{
        struct size z = {.name = name};
        int q = s3_list(&s->base, name, take_size, &z, e);
        if (q < 0)
                return q;
        if (q == 0)
                return err_set(
                        e, -EPROTO, "%s does not say how long %s is", aws_host(s->aws), name);
        *ret = z.size;
        return 0;
}

static int head(struct s3_store *s, const char *name, struct store_state *ret, struct err *e)
{
        static const struct sigv4_pair headers[] = {{"x-amz-checksum-mode", "ENABLED"}};
        char what[300];
        (void)snprintf(what, sizeof what, "look at %s", name); /* may be cut */
        const struct s3_request r = {
                .name = name,
                .call = {.what = what,
                        .right = "s3:GetObject",
                        .method = "HEAD",
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers)},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        if (q == -ENOENT)
                return err_set(e, -ENOENT, "%s is not in the store %s", name, s->base.url);
        if (q < 0)
                return q;
        char length[32];
        *ret = state_of(s, &a.http);
        return http_header(&a.http, "Content-Length", length, sizeof length)
                       ? 0
                       : size_from_list(s, name, &ret->size, e);
}

/* Services of others have classes with Amazon's names whose objects can be read at once: one byte
 * tells, once for a store. */
static void learn_whether_cold(struct s3_store *s, const char *name, struct store_state *st)
{
        char byte;
        if (!aws_is_own_endpoint(s->aws) || atomic_load(&s->thaws) != S3_UNKNOWN || st->size == 0)
                return;
        int q = s3_get(&s->base, name, &byte, 1, 0, NULL);
        if (q == 0)
                st->access = STORE_READY;
        if (q == 0 || q == -EREMOTE)
                atomic_store(&s->thaws, q == 0 ? S3_NO : S3_YES);
}

int s3_state(struct store *base, const char *name, struct store_state *ret, struct err *e)
{
        struct store_state st = {0};
        int q = head(s3_of(base), name, &st, e);
        if (q < 0)
                return q;
        if (st.access == STORE_COLD)
                learn_whether_cold(s3_of(base), name, &st);
        *ret = st;
        return 0;
}

/* ---- reading ---- */

static int check_length(const char *name, const struct aws_answer *a, size_t len, struct err *e)
{
        if (a->http.received == len)
                return 0;
        return err_set(
                e, -EPROTO, "%s in the store ends before the end of what is asked for", name);
}

int s3_get(struct store *base, const char *name, void *data, size_t len, uint64_t offset,
        struct err *e)
{
        struct s3_store *s = s3_of(base);
        char range[64], what[300];
        if (len == 0)
                return 0;
        (void)snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
                (unsigned long long)(offset + len - 1));    /* fits */
        (void)snprintf(what, sizeof what, "read %s", name); /* may be cut */
        const struct sigv4_pair headers[] = {{"range", range}};
        const struct s3_request r = {
                .name = name,
                .call = {.what = what,
                        .right = "s3:GetObject",
                        .method = "GET",
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers),
                        .into = data,
                        .into_len = len},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        if (q == -ENOENT)
                return err_set(e, -ENOENT, "%s is not in the store %s", name, base->url);
        if (q == -EREMOTE)
                return err_set(e, -EREMOTE, "%s must be restored from cold storage first", name);
        if (q == 0 && a.http.status != 206 && offset > 0)
                return err_set(e, -EPROTO, "%s ignores ranges", aws_host(s->aws));
        return q < 0 ? q : check_length(name, &a, len, e);
}

int s3_get_small(struct s3_store *s, const char *name, size_t max, struct buf *ret, struct err *e)
{
        char what[300];
        (void)snprintf(what, sizeof what, "read %s", name); /* may be cut */
        const struct s3_request r = {
                .name = name,
                .call = {.what = what, .right = "s3:GetObject", .method = "GET"},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        if (q < 0)
                return q;
        if (a.http.body.len > max)
                return err_set(e, -EFBIG, "%s is larger than it can be", name);
        buf_add(ret, buf_str(&a.http.body), a.http.body.len);
        return buf_oom(ret) ? err_oom(e) : 0;
}

/* ---- thawing ---- */

static const char *tier_name(const char *tier)
{
        static const char *const names[][2] = {
                {"bulk", "Bulk"}, {"standard", "Standard"}, {"expedited", "Expedited"}};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strcasecmp(tier, names[i][0]) == 0)
                        return names[i][1];
        return NULL;
}

static int ask_thaw(struct s3_store *s, const char *name, const char *body, struct err *e)
{
        static const struct sigv4_pair query[] = {{"restore", ""}};
        static const struct sigv4_pair headers[] = {{"content-type", "application/xml"}};
        char what[300];
        (void)snprintf(what, sizeof what, "ask for %s", name); /* may be cut */
        const struct s3_request r = {
                .name = name,
                .call = {.what = what,
                        .right = "s3:RestoreObject",
                        .method = "POST",
                        .query = query,
                        .n_query = ARRAY_SIZE(query),
                        .headers = headers,
                        .n_headers = ARRAY_SIZE(headers),
                        .body = body,
                        .body_len = strlen(body)},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        return s3_do(s, &r, &a, e);
}

static void thaw_body(const char *class, const char *tier, unsigned n_days, char ret[300])
{
        char days[40] = "";
        if (!streq(class, "INTELLIGENT_TIERING")) /* what comes back there stays */
                (void)snprintf(days, sizeof days, "<Days>%u</Days>", MAX(n_days, 1u)); /* fits */
        (void)snprintf(ret, 300,
                "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">%s"
                "<GlacierJobParameters><Tier>%s</Tier></GlacierJobParameters></RestoreRequest>",
                days, tier); /* fits */
}

int s3_thaw(struct store *base, const char *name, const struct store_thaw *t, struct err *e)
{
        const char *tier = tier_name(t->tier ? t->tier : "bulk");
        if (!tier)
                return err_set(e, -EINVAL, "%s is no tier: bulk, standard or expedited", t->tier);
        struct store_state st;
        int q = s3_state(base, name, &st, e);
        bool never_cold = q == 0 && st.access == STORE_READY && st.ready_until == 0;
        if (q < 0 || never_cold || st.access == STORE_THAWING)
                return q;
        char body[300];
        thaw_body(st.storage_class, tier, t->days, body);
        q = ask_thaw(s3_of(base), name, body, e);
        return q == -EALREADY ? 0 : q;
}

int store_s3_may_thaw(struct store *s, const char *name, struct err *e)
{
        while (s->inner)
                s = s->inner;
        char body[300];
        struct err why = {0};
        const char *class = s3_of(s)->storage_class;
        if (!class_is_cold(class))
                return err_set(e, -ENOTSUP, "what is stored as %s is read at once", class);
        thaw_body(class, "Bulk", 1, body);
        int q = ask_thaw(s3_of(s), name, body, &why);
        return q == -ENOENT ? 0 : err_set(e, q, "%s", why.text);
}

int s3_remove(struct store *base, const char *name, struct err *e)
{
        char what[300];
        (void)snprintf(what, sizeof what, "remove %s", name); /* may be cut */
        const struct s3_request r = {
                .name = name,
                .call = {.what = what, .right = "s3:DeleteObject", .method = "DELETE"},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s3_of(base), &r, &a, e);
        return q == -ENOENT ? 0 : q;
}
