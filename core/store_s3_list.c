#include "store_s3_internal.h"

#include "clock.h"
#include "xml.h"

#include <curl/curl.h>
#include <time.h>

#define NAME_MAX_ 1100 /* keys have at most 1,024 bytes */

/* ---- a page of either listing ---- */

struct entry {
        char key[NAME_MAX_];
        char upload_id[600];
        struct store_state st;
        bool restoring;
};

struct page {
        const struct s3_store *s;
        const char *record; /* path of the element that ends an entry */
        struct entry now;
        bool truncated;
        bool encoded; /* names are percent-encoded, since XML cannot hold all of them */
        char marker[2 * NAME_MAX_], upload_marker[600];
        char last[NAME_MAX_]; /* the name of the last entry */
        bool first_version;   /* a service that knows only the first version of lists */
        int (*each)(struct page *p, const struct entry *x);
        void *ctx;
        struct err *e;
};

static int64_t parse_iso(const char *s)
{
        struct tm tm = {0};
        return strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) ? clock_of(timegm(&tm), 0) : 0;
}

/* As forms are: '+' is a space. `out` is longer than any key. */
static void take_name(const struct page *p, const char *text, char *out, size_t size)
{
        char form[3 * NAME_MAX_]; /* each byte of a key as "%XX" */
        (void)snprintf(form, sizeof form, "%s", text);
        for (char *c = form; p->encoded && (c = strchr(c, '+')) != NULL;)
                *c = ' ';
        int n = 0;
        char *plain = p->encoded ? curl_easy_unescape(NULL, form, 0, &n) : NULL;
        (void)snprintf(out, size, "%.*s", (int)size - 1, plain ? plain : form);
        curl_free(plain);
}

static const char *last_of(const char *path)
{
        const char *slash = strrchr(path, '/');
        return slash ? slash + 1 : path;
}

static void take_field(struct page *p, const char *field, const char *text)
{
        struct entry *x = &p->now;
        if (streq(field, "Key"))
                take_name(p, text, x->key, sizeof x->key);
        else if (streq(field, "UploadId"))
                (void)snprintf(x->upload_id, sizeof x->upload_id, "%s", text);
        else if (streq(field, "Size"))
                x->st.size = strtoull(text, NULL, 10);
        else if (streq(field, "LastModified"))
                x->st.modified = parse_iso(text);
        else if (streq(field, "StorageClass"))
                (void)snprintf(x->st.storage_class, sizeof x->st.storage_class, "%s", text);
        else if (streq(field, "IsRestoreInProgress"))
                x->restoring = streq(text, "true");
        else if (streq(field, "RestoreExpiryDate"))
                x->st.ready_until = parse_iso(text);
}

static void settle_access(const struct s3_store *s, struct entry *x)
{
        if (!*x->st.storage_class)
                (void)snprintf(x->st.storage_class, sizeof x->st.storage_class, S3_INDEX_CLASS);
        x->st.access = s3_is_cold(s, x->st.storage_class) ? STORE_COLD : STORE_READY;
        if (x->restoring)
                x->st.access = STORE_THAWING;
        else if (x->st.ready_until > clock_now())
                x->st.access = STORE_READY;
}

static int on_element(void *ctx, const char *path, const char *text)
{
        struct page *p = ctx;
        if (streq(path, p->record)) {
                settle_access(p->s, &p->now);
                int q = *p->now.key ? p->each(p, &p->now) : 0;
                memcpy(p->last, p->now.key, sizeof p->last);
                p->now = (struct entry){0};
                return q;
        }
        if (startswith(path, p->record)) {
                take_field(p, last_of(path), text);
                return 0;
        }
        const char *name = last_of(path);
        if (streq(name, "IsTruncated"))
                p->truncated = streq(text, "true");
        else if (streq(name, "NextContinuationToken"))
                (void)snprintf(p->marker, sizeof p->marker, "%s", text);
        else if (streq(name, "NextKeyMarker"))
                take_name(p, text, p->marker, sizeof p->marker);
        else if (streq(name, "NextUploadIdMarker"))
                (void)snprintf(p->upload_marker, sizeof p->upload_marker, "%s", text);
        return 0;
}

struct listing {
        const char *what, *right;
        const char *record;
        const struct sigv4_pair *query; /* without the markers */
        size_t n_query;
        const char *marker_name, *upload_marker_name;
        const struct sigv4_pair *headers;
        size_t n_headers;
        int (*each)(struct page *p, const struct entry *x);
        void *ctx;
};

/* It was asked for, but only who says so did it. May stand behind the names. */
static bool is_encoded(const struct listing *l, const struct buf *body)
{
        char path[80], how[8];
        (void)snprintf(path, sizeof path, "%.*s/EncodingType", (int)strcspn(l->record, "/"),
                l->record); /* fits */
        return xml_text(buf_str(body), body->len, path, how, sizeof how) && streq(how, "url");
}

static int one_page(struct s3_store *s, const struct listing *l, struct page *p, struct err *e)
{
        struct sigv4_pair query[8];
        size_t n = 0;
        for (; n < l->n_query; n++)
                query[n] = l->query[n];
        if (*p->marker)
                query[n++] = (struct sigv4_pair){
                        p->first_version ? "marker" : l->marker_name, p->marker};
        if (*p->upload_marker && l->upload_marker_name)
                query[n++] = (struct sigv4_pair){l->upload_marker_name, p->upload_marker};
        const struct s3_request r = {
                .call = {.what = l->what,
                        .right = l->right,
                        .method = "GET",
                        .query = query,
                        .n_query = n,
                        .headers = l->headers,
                        .n_headers = l->n_headers},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        if (q < 0)
                return q;
        p->truncated = false;
        p->encoded = is_encoded(l, &a.http.body);
        return xml_each(buf_str(&a.http.body), a.http.body.len, on_element, p, e);
}

/* Where the next page begins. The first version of lists does not say: behind the last name. */
static void next_page(const struct listing *l, struct page *p)
{
        if (!*p->marker && streq(l->marker_name, "continuation-token"))
                p->first_version = true;
        if (p->first_version)
                (void)snprintf(p->marker, sizeof p->marker, "%s", p->last); /* fits */
}

static int all_pages(struct s3_store *s, const struct listing *l, struct err *e)
{
        _cleanup_free_ struct page *p = calloc(1, sizeof *p);
        char before[sizeof p->marker + sizeof p->upload_marker];
        if (!p)
                return err_oom(e);
        *p = (struct page){.s = s, .record = l->record, .each = l->each, .ctx = l->ctx, .e = e};
        for (;;) {
                (void)snprintf(before, sizeof before, "%s%s", p->marker, p->upload_marker);
                int q = one_page(s, l, p, e);
                if (q != 0 || !p->truncated)
                        return q;
                next_page(l, p);
                char after[sizeof before];
                (void)snprintf(after, sizeof after, "%s%s", p->marker, p->upload_marker);
                if (!*after || streq(before, after))
                        return err_set(e, -EPROTO, "%s says that its list goes on, but not where",
                                aws_host(s->aws));
        }
}

/* ---- objects ---- */

struct objects {
        store_list_fn each;
        void *ctx;
};

static int tell_object(struct page *p, const struct entry *x)
{
        const struct objects *o = p->ctx;
        const char *name = startswith(x->key, p->s->prefix);
        return name ? o->each(o->ctx, name, &x->st, p->e) : 0; /* what was not asked for */
}

int s3_list(struct store *base, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        struct s3_store *s = s3_of(base);
        _cleanup_free_ char *whole = NULL;
        if (asprintf(&whole, "%s%s", s->prefix, prefix) < 0) {
                whole = NULL;
                return err_oom(e);
        }
        const struct sigv4_pair query[] = {
                {"encoding-type", "url"}, {"list-type", "2"}, {"prefix", whole}};
        static const struct sigv4_pair headers[] = {
                {"x-amz-optional-object-attributes", "RestoreStatus"}};
        struct objects o = {each, ctx};
        const struct listing l = {
                .what = "list the bucket",
                .right = "s3:ListBucket",
                .record = "ListBucketResult/Contents",
                .query = query,
                .n_query = ARRAY_SIZE(query),
                .marker_name = "continuation-token",
                .headers = headers,
                .n_headers = ARRAY_SIZE(headers),
                .each = tell_object,
                .ctx = &o,
        };
        return all_pages(s, &l, e);
}

/* ---- unfinished uploads ---- */

int s3_abort_upload(struct s3_store *s, const char *name, const char *token, struct err *e)
{
        const struct sigv4_pair query[] = {{"uploadId", token}};
        char what[300];
        (void)snprintf(what, sizeof what, "abort the upload of %s", name); /* may be cut */
        const struct s3_request r = {
                .name = name,
                .call = {.what = what,
                        .right = "s3:AbortMultipartUpload",
                        .method = "DELETE",
                        .query = query,
                        .n_query = ARRAY_SIZE(query)},
        };
        _cleanup_aws_answer_ struct aws_answer a = {0};
        int q = s3_do(s, &r, &a, e);
        return q == -ENOENT ? 0 : q;
}

struct sweeping {
        struct s3_store *s;
        const char *prefix; /* with the store's own */
        store_keep_fn keep;
        void *ctx;
};

static int sweep_one(struct page *p, const struct entry *x)
{
        struct sweeping *w = p->ctx;
        if (!startswith(x->key, w->prefix) || !*x->upload_id)
                return 0; /* never somebody else's, whatever the service lists */
        const char *name = x->key + strlen(w->s->prefix);
        if (w->keep && w->keep(w->ctx, name, x->upload_id))
                return 0;
        return s3_abort_upload(w->s, name, x->upload_id, p->e);
}

int s3_sweep(struct store *base, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        struct s3_store *s = s3_of(base);
        _cleanup_free_ char *whole = NULL;
        if (asprintf(&whole, "%s%s", s->prefix, prefix) < 0) {
                whole = NULL;
                return err_oom(e);
        }
        const struct sigv4_pair query[] = {
                {"encoding-type", "url"}, {"prefix", whole}, {"uploads", ""}};
        struct sweeping w = {s, whole, keep, ctx};
        const struct listing l = {
                .what = "list unfinished uploads",
                .right = "s3:ListBucketMultipartUploads",
                .record = "ListMultipartUploadsResult/Upload",
                .query = query,
                .n_query = ARRAY_SIZE(query),
                .marker_name = "key-marker",
                .upload_marker_name = "upload-id-marker",
                .each = sweep_one,
                .ctx = &w,
        };
        return all_pages(s, &l, e);
}
