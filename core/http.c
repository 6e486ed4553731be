#include "http.h"

#include "crash.h"
#include "http_internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <pthread.h>
#include <sys/socket.h>

#define IDLE_MAX   32
#define ANSWER_MAX (16u * MiB)
#define HEAD_MAX   (256u * KiB)
#define STALL      60u
#define CONNECT    15u

struct http {
        bool allow_plain;
        char *ca;
        CURLSH *share; /* names and TLS sessions; connections stay with their handles */
        pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
        pthread_mutex_t lock;
        CURL *idle[IDLE_MAX]; /* the last one used is taken first: its connection is warm */
        unsigned n_idle;
};

/* ---- the pool ---- */

static void share_lock(
        CURL *c _unused_, curl_lock_data what, curl_lock_access how _unused_, void *h)
{
        pthread_mutex_lock(&((struct http *)h)->share_locks[what]);
}

static void share_unlock(CURL *c _unused_, curl_lock_data what, void *h)
{
        pthread_mutex_unlock(&((struct http *)h)->share_locks[what]);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void global_init(void)
{
        (void)curl_global_init(CURL_GLOBAL_ALL); /* what fails here fails again in curl_easy_init */
}

static const char *own_roots(void)
{
        static const char *const names[] = {"AWS_CA_BUNDLE", "SSL_CERT_FILE"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const char *v = getenv(names[i]);
                if (v && *v)
                        return v;
        }
        return NULL;
}

int http_new(bool allow_plain, struct http **ret, struct err *e)
{
        pthread_once(&once, global_init);
        struct http *h = calloc(1, sizeof *h);
        if (!h)
                return err_oom(e);
        h->allow_plain = allow_plain;
        const char *roots = own_roots();
        pthread_mutex_init(&h->lock, NULL);
        for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++)
                pthread_mutex_init(&h->share_locks[i], NULL);
        if ((roots && !(h->ca = strdup(roots))) || !(h->share = curl_share_init())) {
                http_free(h);
                return err_oom(e);
        }
        curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
        curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, share_lock);
        curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, share_unlock);
        curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
        curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
        *ret = h;
        return 0;
}

void http_free(struct http *h)
{
        if (!h)
                return;
        while (h->n_idle > 0)
                curl_easy_cleanup(h->idle[--h->n_idle]);
        curl_share_cleanup(h->share);
        for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++)
                pthread_mutex_destroy(&h->share_locks[i]);
        pthread_mutex_destroy(&h->lock);
        free(h->ca);
        free(h);
}

static CURL *take(struct http *h)
{
        pthread_mutex_lock(&h->lock);
        CURL *c = h->n_idle > 0 ? h->idle[--h->n_idle] : NULL;
        pthread_mutex_unlock(&h->lock);
        return c ? c : curl_easy_init();
}

static void give_back(struct http *h, CURL *c)
{
        curl_easy_reset(c); /* options go, the connection stays */
        pthread_mutex_lock(&h->lock);
        if (h->n_idle < IDLE_MAX) {
                h->idle[h->n_idle++] = c;
                c = NULL;
        }
        pthread_mutex_unlock(&h->lock);
        if (c)
                curl_easy_cleanup(c);
}

/* ---- one request ---- */

struct transfer {
        const struct http_request *r;
        struct http_answer *a;
        size_t sent;
        bool too_much;
};

static size_t on_head(char *data, size_t one _unused_, size_t n, void *ctx)
{
        struct http_answer *a = ((struct transfer *)ctx)->a;
        if (n > 5 && memcmp(data, "HTTP/", 5) == 0)
                buf_reset(&a->head); /* "100 Continue" or a proxy's answer came before */
        if (a->head.len + n > HEAD_MAX)
                return 0;
        buf_add(&a->head, data, n);
        return n;
}

static bool goes_into(const struct http_request *r, int status)
{
        return r->into && status >= 200 && status < 300;
}

static size_t on_body(char *data, size_t one _unused_, size_t n, void *ctx)
{
        struct transfer *t = ctx;
        struct http_answer *a = t->a;
        const char *space = strchr(buf_str(&a->head), ' ');
        bool into = goes_into(t->r, space ? atoi(space + 1) : 0);
        size_t room = into ? t->r->into_len - a->received : ANSWER_MAX - a->body.len;
        if (n > room) {
                t->too_much = true;
                return 0;
        }
        if (into) {
                memcpy((char *)t->r->into + a->received, data, n);
                a->received += n;
        } else {
                buf_add(&a->body, data, n);
        }
        return n;
}

static size_t on_read(char *out, size_t one, size_t n, void *ctx)
{
        struct transfer *t = ctx;
        size_t len = MIN(one * n, t->r->body_len - t->sent);
        if (len > 0 && t->r->sending)
                t->r->sending(t->r->ctx, len);
        if (len > 0)
                memcpy(out, (const char *)t->r->body + t->sent, len);
        t->sent += len;
        return len;
}

/* libcurl sends again when a kept connection turns out to be dead. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
        struct transfer *t = ctx;
        if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->r->body_len)
                return CURL_SEEKFUNC_FAIL;
        t->sent = (size_t)offset;
        return CURL_SEEKFUNC_OK;
}

static int on_progress(void *ctx, curl_off_t a _unused_, curl_off_t b _unused_,
        curl_off_t c _unused_, curl_off_t d _unused_)
{
        const struct transfer *t = ctx;
        return t->r->stop && atomic_load(t->r->stop);
}

/* A name that claims to be this machine must also lead there. */
static curl_socket_t only_loopback(void *ctx _unused_, curlsocktype kind, struct curl_sockaddr *a)
{
        bool ok = false;
        if (a->family == AF_INET)
                ok = (ntohl(((struct sockaddr_in *)&a->addr)->sin_addr.s_addr) >> 24) == 127;
        else if (a->family == AF_INET6)
                ok = IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&a->addr)->sin6_addr);
        if (!ok || kind != CURLSOCKTYPE_IPCXN)
                return CURL_SOCKET_BAD;
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static curl_socket_t any_socket(
        void *ctx _unused_, curlsocktype kind _unused_, struct curl_sockaddr *a)
{
        return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static int set_security(struct http *h, CURL *c, const struct http_request *r, struct err *e)
{
        bool plain = strncasecmp(r->url, "http://", 7) == 0;
        curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, any_socket);
        if (plain && !h->allow_plain && !r->plain_ok) {
                char host[256];
                if (http_host_of(r->url, host, sizeof host) < 0)
                        return err_set(e, -EINVAL, "%s is no address of a service", r->url);
                if (!http_is_loopback(host))
                        return err_set(e, -EINVAL,
                                "http:// to %s is not encrypted and gives the requests' signatures "
                                "away; use https://, or insist with \"ALLOW_HTTP\": true in the "
                                "configuration",
                                host);
                curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, only_loopback);
                curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
        }
        if (r->plain_ok)
                curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
        if (h->ca)
                curl_easy_setopt(c, CURLOPT_CAINFO, h->ca);
        return 0;
}

static void set_callbacks(CURL *c, struct transfer *t)
{
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
        curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

static void set_body(CURL *c, struct transfer *t)
{
        const struct http_request *r = t->r;
        if (streq(r->method, "HEAD")) {
                curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
                return;
        }
        bool sends = r->body_len > 0 || streq(r->method, "PUT") || streq(r->method, "POST");
        if (sends) {
                curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
                curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_len);
                curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
                curl_easy_setopt(c, CURLOPT_READDATA, t);
                curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
                curl_easy_setopt(c, CURLOPT_SEEKDATA, t);
        }
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
}

static void set_transport(struct http *h, CURL *c, const struct http_request *r, char *why)
{
        curl_easy_setopt(c, CURLOPT_URL, r->url);
        curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L);
        curl_easy_setopt(c, CURLOPT_SHARE, h->share);
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* a flag does not wait for a name server */
        curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
        curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
        curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, r->once ? 1L : 0L);
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT,
                (long)(r->connect_seconds ? r->connect_seconds : CONNECT));
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME,
                (long)crash_patience(
                        "AUTOGLACIER_STALL", r->stall_seconds ? r->stall_seconds : STALL));
        curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
        curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
}

static int add_line(struct curl_slist **list, const char *line)
{
        struct curl_slist *longer = curl_slist_append(*list, line);
        if (!longer)
                return -ENOMEM;
        *list = longer;
        return 0;
}

static int make_headers(const char *lines, struct curl_slist **ret)
{
        /* No "Expect": a round trip for every part. No type of our own making: it is not signed. */
        int q = add_line(ret, "Expect:");
        if (q == 0)
                q = add_line(ret, "User-Agent: autoglacier");
        if (q == 0)
                q = add_line(ret, "Transfer-Encoding:");
        for (const char *p = lines; q == 0 && p && *p;) {
                const char *end = strchrnul(p, '\n');
                _cleanup_free_ char *line = strndup(p, (size_t)(end - p));
                q = line ? add_line(ret, line) : -ENOMEM;
                p = *end ? end + 1 : end;
        }
        return q;
}

static int perform(struct http *h, CURL *c, struct transfer *t, struct err *e)
{
        char why[CURL_ERROR_SIZE] = "";
        set_transport(h, c, t->r, why);
        set_callbacks(c, t);
        set_body(c, t);
        int q = set_security(h, c, t->r, e);
        struct curl_slist *headers = NULL;
        if (q == 0 && make_headers(t->r->headers, &headers) < 0)
                q = err_oom(e);
        if (q == 0) {
                curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
                CURLcode code = curl_easy_perform(c);
                long status = 0;
                curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
                t->a->status = (int)status;
                if (t->r->stop && atomic_load(t->r->stop) && code != CURLE_OK)
                        q = err_set(e, -ECANCELED, "stopped");
                else if (t->too_much)
                        q = err_set(e, -EFBIG, "the answer is longer than what was asked for");
                else if (code != CURLE_OK)
                        q = http_error(code, why, t->r->url, e);
        }
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, NULL);
        curl_slist_free_all(headers);
        return q;
}

int http_do(struct http *h, const struct http_request *r, struct http_answer *a, struct err *e)
{
        a->status = 0;
        a->received = 0;
        buf_reset(&a->head);
        buf_reset(&a->body);
        if (r->stop && atomic_load(r->stop))
                return err_set(e, -ECANCELED, "stopped");
        CURL *c = take(h);
        if (!c)
                return err_oom(e);
        struct transfer t = {.r = r, .a = a};
        int q = perform(h, c, &t, e);
        give_back(h, c);
        if (q == 0 && (buf_oom(&a->head) || buf_oom(&a->body)))
                q = err_oom(e);
        return q;
}

/* ---- answers ---- */

void http_answer_done(struct http_answer *a)
{
        buf_done(&a->head);
        buf_done(&a->body);
}

bool http_header(const struct http_answer *a, const char *name, char *out, size_t size)
{
        size_t n = strlen(name);
        for (const char *p = buf_str(&a->head); *p;) {
                const char *end = strchrnul(p, '\n');
                if ((size_t)(end - p) > n && strncasecmp(p, name, n) == 0 && p[n] == ':') {
                        const char *v = p + n + 1;
                        while (v < end && isspace((unsigned char)*v))
                                v++;
                        while (end > v && isspace((unsigned char)end[-1]))
                                end--;
                        (void)snprintf(out, size, "%.*s", (int)(end - v), v); /* cut by contract */
                        return true;
                }
                p = *end ? end + 1 : end;
        }
        return false;
}
