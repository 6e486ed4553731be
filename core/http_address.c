#include "http_internal.h"

#include <arpa/inet.h>

struct piece {
        CURLUPart part;
        char *out;
        size_t size;
};

static int take_piece(CURLU *u, const struct piece *p)
{
        char *text = NULL;
        if (curl_url_get(u, p->part, &text, 0) != CURLUE_OK)
                return -EINVAL;
        int n = snprintf(p->out, p->size, "%s", text);
        curl_free(text);
        return n < 0 || (size_t)n >= p->size ? -EINVAL : 0;
}

int http_host_of(const char *url, char *out, size_t size)
{
        CURLU *u = curl_url();
        int q = u && curl_url_set(u, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK
                        ? take_piece(u, &(struct piece){CURLUPART_HOST, out, size})
                        : -EINVAL;
        curl_url_cleanup(u);
        size_t n = q == 0 ? strlen(out) : 0;
        if (n > 2 && *out == '[') { /* IPv6 */
                memmove(out, out + 1, n - 2);
                out[n - 2] = 0;
        }
        return q;
}

bool http_is_loopback(const char *host)
{
        struct in_addr four;
        struct in6_addr six;
        if (inet_pton(AF_INET, host, &four) == 1)
                return (ntohl(four.s_addr) >> 24) == 127;
        if (inet_pton(AF_INET6, host, &six) == 1)
                return IN6_IS_ADDR_LOOPBACK(&six);
        return strcasecmp(host, "localhost") == 0 || endswith(host, ".localhost");
}

int http_endpoint_parse(const char *url, struct http_endpoint *ret, struct err *e)
{
        char port[8] = "";
        CURLU *u = curl_url();
        int q = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK ? 0 : -EINVAL;
        if (q == 0)
                q = take_piece(
                        u, &(struct piece){CURLUPART_SCHEME, ret->scheme, sizeof ret->scheme});
        if (q == 0)
                q = take_piece(u, &(struct piece){CURLUPART_HOST, ret->host, sizeof ret->host - 8});
        if (q == 0)
                q = take_piece(u, &(struct piece){CURLUPART_PATH, ret->base, sizeof ret->base});
        if (q == 0)
                (void)take_piece(
                        u, &(struct piece){CURLUPART_PORT, port, sizeof port}); /* or none */
        curl_url_cleanup(u);
        if (q < 0 || (!streq(ret->scheme, "http") && !streq(ret->scheme, "https")))
                return err_set(e, -EINVAL,
                        "%s is no address of a service; it is written https://host or "
                        "https://host:port",
                        url);
        if (*port && !streq(port, streq(ret->scheme, "https") ? "443" : "80")) {
                strcat(ret->host, ":"); /* room was kept */
                strcat(ret->host, port);
        }
        for (size_t n = strlen(ret->base); n > 0 && ret->base[n - 1] == '/'; n--)
                ret->base[n - 1] = 0;
        return 0;
}

/* ---- what went wrong ---- */

static int tls_error(const char *host, const char *why, struct err *e)
{
        return err_set(e, -EKEYREJECTED,
                "the certificate of %s cannot be trusted (%s); if the service has a certificate of "
                "its own, name the file of its root in AWS_CA_BUNDLE; otherwise somebody may be in "
                "between, and the clock of this machine must be right",
                host, why);
}

/* The variable that names the proxy for a URL, if there is one. */
static const char *proxy_variable(const char *url)
{
        static const char *const for_tls[] = {
                "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
        static const char *const for_plain[] = {"http_proxy", "all_proxy", "ALL_PROXY"};
        bool tls = strncasecmp(url, "https:", 6) == 0;
        const char *const *names = tls ? for_tls : for_plain;
        for (size_t i = 0; i < (tls ? ARRAY_SIZE(for_tls) : ARRAY_SIZE(for_plain)); i++) {
                const char *v = getenv(names[i]);
                if (v && *v)
                        return names[i];
        }
        return NULL;
}

/* libcurl tells with whom there is no connection. */
static int no_connection(const char *host, const char *why, const char *url, struct err *e)
{
        const char *proxy = strstr(why, host) ? NULL : proxy_variable(url);
        if (proxy)
                return err_set(e, -EAGAIN,
                        "cannot connect to the proxy that is between us and %s (%s); is it up, and "
                        "%s right?",
                        host, why, proxy);
        return err_set(e, -EAGAIN,
                "cannot connect to %s (%s); is the service up, and its address right?", host, why);
}

int http_error(CURLcode code, const char *why, const char *url, struct err *e)
{
        char host[256] = "the service";
        (void)http_host_of(url, host, sizeof host); /* or the general word */
        if (!*why)
                why = curl_easy_strerror(code);
        switch (code) {
        case CURLE_SSL_CACERT_BADFILE:
                return err_set(e, -EKEYREJECTED,
                        "the root certificates cannot be read (%s); correct AWS_CA_BUNDLE, or "
                        "SSL_CERT_FILE, in the environment",
                        why);
        case CURLE_SSL_CONNECT_ERROR:
                return err_set(e, -EAGAIN,
                        "%s does not answer in TLS (%s); is its address right, with https:// and "
                        "this port?",
                        host, why);
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
                return tls_error(host, why, e);
        case CURLE_OUT_OF_MEMORY:
                return err_oom(e);
        case CURLE_URL_MALFORMAT:
        case CURLE_UNSUPPORTED_PROTOCOL:
                return err_set(e, -EINVAL, "%s is no address of a service: %s", url, why);
        case CURLE_COULDNT_RESOLVE_HOST:
                return err_set(e, -EAGAIN, "no address is known for %s (%s); is the network up?",
                        host, why);
        case CURLE_COULDNT_RESOLVE_PROXY:
        case CURLE_COULDNT_CONNECT:
                return no_connection(host, why, url, e);
        case CURLE_OPERATION_TIMEDOUT:
                return err_set(e, -EAGAIN, "%s does not answer (%s)", host, why);
        default:
                return err_set(e, -EAGAIN, "the connection to %s broke (%s)", host, why);
        }
}
