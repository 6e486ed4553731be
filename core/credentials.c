#include "credentials.h"

#include "clock.h"
#include "credentials_internal.h"
#include "secret.h"

#include <jansson.h>
#include <pthread.h>
#include <time.h>

#define EARLY (300 * CLOCK_NSEC) /* fetched again so long before they end, */
#define PAUSE (30 * CLOCK_NSEC)  /* but not all the time, where they do not last so long */

struct credentials {
        struct credentials_params params;
        pthread_mutex_t lock;
        struct credentials_keys *now; /* NULL: to be fetched */
        int64_t fetched;              /* monotonic, ns */
        char had[160];                /* the source of the keys before; "": there were none */
};

static const credentials_source sources[] = {
        credentials_from_config,
        credentials_from_env,
        credentials_from_profile,
        credentials_from_process,
        credentials_from_container,
        credentials_from_machine,
};

/* ---- keys ---- */

static void keys_done(struct credentials_keys *k)
{
        secret_free(k->secret_key);
        secret_free(k->session_token);
        *k = (struct credentials_keys){0};
}

/* These go into headers: a line's end would begin another one. */
static bool is_odd(const char *s)
{
        for (; *s; s++)
                if (*s <= ' ' || *s > '~')
                        return true;
        return false;
}

/* Copied with a blank or a line's end. Within it some services take what a person thought of. */
static bool is_framed(const char *s)
{
        return *s && (strchr(" \t\r\n", *s) || strchr(" \t\r\n", s[strlen(s) - 1]));
}

int credentials_set(struct credentials_keys *k, const char *access, const char *secret,
        const char *token, struct err *e)
{
        if (!*access || !*secret || strlen(access) >= sizeof k->access_key)
                return err_set(e, -EINVAL, "the access key or its secret is empty or too long");
        const char *odd = is_odd(access)           ? "the access key"
                          : is_framed(secret)      ? "the secret key"
                          : token && is_odd(token) ? "the session token"
                                                   : NULL;
        if (odd)
                return err_set(e, -EINVAL,
                        "%s from %s has a blank or another character in it that none has", odd,
                        *k->source ? k->source : "its source");
        (void)snprintf(k->access_key, sizeof k->access_key, "%s", access); /* fits */
        if (secret_copy(secret, strlen(secret), &k->secret_key) < 0 ||
                (token && *token && secret_copy(token, strlen(token), &k->session_token) < 0))
                return err_oom(e);
        return 0;
}

static int64_t parse_time(const char *s)
{
        struct tm tm = {0};
        return strptime(s, "%Y-%m-%dT%H:%M:%S", &tm) ? clock_of(timegm(&tm), 0) : 0;
}

int credentials_from_json(
        struct credentials_keys *k, const char *text, size_t len, const char *source, struct err *e)
{
        json_auto_t *o = json_loadb(text, len, 0, NULL);
        const char *access = json_string_value(json_object_get(o, "AccessKeyId"));
        const char *secret = json_string_value(json_object_get(o, "SecretAccessKey"));
        const char *token = json_string_value(json_object_get(o, "SessionToken"));
        const char *end = json_string_value(json_object_get(o, "Expiration"));
        if (!token)
                token = json_string_value(json_object_get(o, "Token"));
        if (!access || !secret)
                return err_set(e, -EPROTO,
                        "%s answered without AccessKeyId and SecretAccessKey in JSON", source);
        k->expires = end ? parse_time(end) : 0;
        (void)snprintf(k->source, sizeof k->source, "%s", source); /* cut where too long */
        return credentials_set(k, access, secret, token, e);
}

/* ---- the chain ---- */

int credentials_new(const struct credentials_params *p, struct credentials **ret, struct err *e)
{
        struct credentials *c = calloc(1, sizeof *c);
        if (!c)
                return err_oom(e);
        c->params = *p;
        pthread_mutex_init(&c->lock, NULL);
        *ret = c;
        return 0;
}

static void unref(struct credentials_keys *k)
{
        if (k && --k->refs == 0) {
                keys_done(k);
                free(k);
        }
}

void credentials_free(struct credentials *c)
{
        if (!c)
                return;
        unref(c->now);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

static int ask(const struct credentials *c, struct credentials_keys *ret, struct err *e)
{
        for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
                int q = sources[i](&c->params, ret, e);
                if (q != -ENOENT)
                        return q;
        }
        const char *profile = credentials_profile(c->params.profile);
        if (c->params.profile || !streq(profile, "default"))
                return err_set(e, -ENOKEY,
                        "there is no access key: no profile %s with one is in ~/.aws/credentials "
                        "or ~/.aws/config; correct AWS_PROFILE, or run: aws configure --profile %s",
                        profile, profile);
        return err_set(e, -ENOKEY,
                "there is no access key: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the "
                "configuration or the environment, or run: aws configure");
}

static int fetch(struct credentials *c, struct err *e)
{
        struct credentials_keys *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        k->refs = 1;
        c->fetched = clock_monotonic();
        int q = ask(c, k, e);
        bool old_is_good = c->now && c->now->expires > clock_now();
        if (q < 0) {
                unref(k);
                if (q == -ENOKEY && *c->had) /* a machine does not lose its role, it stumbles */
                        q = err_set(e, -EAGAIN, "%s had keys, and gives none now", c->had);
                return old_is_good ? 0 : q;
        }
        memcpy(c->had, k->source, sizeof c->had);
        unref(c->now);
        c->now = k;
        return 0;
}

int credentials_get(struct credentials *c, struct credentials_keys **ret, struct err *e)
{
        int q = 0;
        pthread_mutex_lock(&c->lock); /* held while a source is asked: one asks for all */
        int64_t left = c->now && c->now->expires ? c->now->expires - clock_now() : INT64_MAX;
        bool soon = left < EARLY && (left <= 0 || clock_monotonic() - c->fetched > PAUSE);
        if (!c->now || soon)
                q = fetch(c, e);
        if (q == 0) {
                c->now->refs++;
                *ret = c->now;
        }
        pthread_mutex_unlock(&c->lock);
        return q;
}

void credentials_put(struct credentials *c, struct credentials_keys *k)
{
        pthread_mutex_lock(&c->lock);
        unref(k);
        pthread_mutex_unlock(&c->lock);
}

void credentials_expired(struct credentials *c, const struct credentials_keys *k)
{
        pthread_mutex_lock(&c->lock);
        if (c->now == k) {
                unref(c->now);
                c->now = NULL;
        }
        pthread_mutex_unlock(&c->lock);
}
