#include "store_cold.h"

#include "buf.h"
#include "clock.h"
#include "io.h"
#include "store.h"

#include <fcntl.h>
#include <inttypes.h>
#include <time.h>

struct cold_store {
        struct store base;
        char *dir; /* its file `requests`: what has been asked for */
        double delay, expire;
        unsigned refuse, lose, get_ms;
        bool instant;
};

/* An object that was asked for. */
struct asked {
        int64_t at, ready, until; /* ready 0: the thaw is lost */
};

static struct cold_store *of(struct store *s)
{
        return (struct cold_store *)s;
}

const char *store_cold_inner(const char *url)
{
        const char *p = startswith(url, "cold:") ? strstr(url, "/dir:") : NULL;
        return p ? p + 1 : NULL;
}

/* ---- the service's memory ---- */

static int note(struct cold_store *c, const char *what, const char *name, const char *more)
{
        _cleanup_free_ char *path = io_join(c->dir, "requests");
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!path || io_mkdir_p(c->dir, 0700, NULL) < 0)
                return -EIO;
        _cleanup_close_ int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        buf_addf(&b, "%s %s%s%s\n", what, name, *more ? " " : "", more);
        return io_write_full(fd, buf_str(&b), b.len);
}

static unsigned count(struct cold_store *c, const char *what)
{
        _cleanup_free_ char *path = io_join(c->dir, "requests");
        _cleanup_fclose_ FILE *f = path ? fopen(path, "re") : NULL;
        char line[512];
        unsigned n = 0;
        while (f && fgets(line, sizeof line, f))
                n += startswith(line, what) != NULL;
        return n;
}

/* A request is one line, written in one piece: whoever asked may be killed at any moment, and the
 * service has heard all of it or nothing. The last line about an object counts. */
static bool look(struct cold_store *c, const char *name, struct asked *ret)
{
        _cleanup_free_ char *path = io_join(c->dir, "requests");
        _cleanup_fclose_ FILE *f = path ? fopen(path, "re") : NULL;
        char line[512], object[256];
        bool found = false;
        while (f && fgets(line, sizeof line, f)) {
                struct asked a = {0};
                int n = sscanf(line, "thaw %255s %*s %*s %*s %" SCNd64 " %" SCNd64 " %" SCNd64,
                        object, &a.at, &a.ready, &a.until);
                if (n == 4 && streq(object, name)) {
                        *ret = a;
                        found = true;
                } else if (sscanf(line, "forgotten %255s", object) == 1 && streq(object, name)) {
                        found = false;
                } else if (sscanf(line, "ready %255s", object) == 1 && streq(object, name)) {
                        ret->ready = ret->at;
                }
        }
        return found;
}

static enum store_access access_of(struct cold_store *c, const char *name, struct asked *a)
{
        int64_t now = clock_now();
        if (c->instant || !startswith(name, "archives/"))
                return STORE_READY;
        if (!look(c, name, a))
                return STORE_COLD;
        if (a->ready == 0)
                return now < a->at + (int64_t)(c->delay / 2 * (double)CLOCK_NSEC) ? STORE_THAWING
                                                                                  : STORE_COLD;
        return now < a->ready ? STORE_THAWING : now < a->until ? STORE_READY : STORE_COLD;
}

/* ---- what is different ---- */

static int cold_state(struct store *s, const char *name, struct store_state *ret, struct err *e)
{
        struct asked a = {0};
        struct store_state st = {0};
        int q = store_state(s->inner, name, &st, e);
        if (q < 0)
                return q;
        (void)note(of(s), "state", name, ""); /* only counts */
        st.access = access_of(of(s), name, &a);
        st.ready_until = st.access == STORE_READY ? a.until : 0;
        *ret = st;
        return 0;
}

static int cold_thaw(struct store *s, const char *name, const struct store_thaw *t, struct err *e)
{
        struct cold_store *c = of(s);
        char more[128];
        struct asked a = {.at = clock_now()};
        struct store_state st;
        int q = store_state(s->inner, name, &st, e);
        if (q < 0)
                return q;
        if (count(c, "refused ") < c->refuse) {
                (void)note(c, "refused", name, ""); /* only counts */
                return err_set(e, -EACCES, "the store refuses to thaw %s", name);
        }
        double expire = c->expire >= 0 ? c->expire : 86400.0 * t->days;
        bool lost = count(c, "lost ") < c->lose;
        if (!lost) {
                a.ready = a.at + (int64_t)(c->delay * (double)CLOCK_NSEC);
                a.until = a.ready + (int64_t)(expire * (double)CLOCK_NSEC);
        }
        (void)snprintf(more, sizeof more,
                "%s %" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64, t->tier, t->offset,
                t->len, a.at, a.ready, a.until); /* tiers are short words */
        if (lost)
                (void)note(c, "lost", name, "");
        int noted = note(c, "thaw", name, more);
        return noted < 0 ? err_errno(e, noted, "cannot note what is asked for") : 0;
}

static int cold_get(
        struct store *s, const char *name, void *data, size_t len, uint64_t offset, struct err *e)
{
        struct cold_store *c = of(s);
        struct asked a;
        char more[64];
        if (access_of(c, name, &a) != STORE_READY)
                return err_set(e, -EREMOTE, "%s has not been thawed", name);
        (void)snprintf(more, sizeof more, "%" PRIu64 " %zu", offset, len); /* fits */
        (void)note(c, "get", name, more);
        if (c->get_ms > 0)
                (void)nanosleep(&(struct timespec){.tv_sec = c->get_ms / 1000,
                                        .tv_nsec = c->get_ms % 1000 * 1000000},
                        NULL); /* woken early: a faster store */
        return store_get(s->inner, name, data, len, offset, e);
}

/* ---- what is not ---- */

static int cold_check(struct store *s, const char *expected, char *ret_id, struct err *e)
{
        return store_check(s->inner, expected, ret_id, e);
}

static int cold_init(struct store *s, struct err *e)
{
        return store_init(s->inner, e);
}

static int cold_begin(
        struct store *s, const struct store_new *n, struct store_upload **ret, struct err *e)
{
        return store_begin(s->inner, n, ret, e); /* its own functions do the rest */
}

static int cold_resume(struct store *s, const struct store_new *n, const char *token,
        store_had_fn each, void *ctx, struct store_upload **ret, struct err *e)
{
        return store_resume(s->inner, n, token, each, ctx, ret, e);
}

static const char *cold_token(struct store_upload *u)
{
        return store_token(u);
}

static int cold_put_part(struct store_upload *u, const struct store_part *p, struct err *e)
{
        return store_put_part(u, p, e);
}

static int cold_finish(
        struct store_upload *u, uint64_t size, const uint8_t tree_hash[32], struct err *e)
{
        return store_finish(&u, size, tree_hash, e);
}

static int cold_sweep(
        struct store *s, const char *prefix, store_keep_fn keep, void *ctx, struct err *e)
{
        return store_sweep(s->inner, prefix, keep, ctx, e);
}

static int cold_list(
        struct store *s, const char *prefix, store_list_fn each, void *ctx, struct err *e)
{
        return store_list(s->inner, prefix, each, ctx, e);
}

static int cold_remove(struct store *s, const char *name, struct err *e)
{
        return store_remove(s->inner, name, e);
}

static uint64_t cold_space(struct store *s)
{
        return store_space(s->inner);
}

static void cold_close(struct store *s)
{
        store_close(s->inner);
        free(of(s)->dir);
        free(s->url);
        free(s);
}

static const struct store_ops cold_ops = {
        .check = cold_check,
        .init = cold_init,
        .begin = cold_begin,
        .resume = cold_resume,
        .token = cold_token,
        .put_part = cold_put_part,
        .finish = cold_finish,
        .abort = store_abort,
        .leave = store_leave,
        .sweep = cold_sweep,
        .state = cold_state,
        .thaw = cold_thaw,
        .get = cold_get,
        .list = cold_list,
        .remove = cold_remove,
        .space = cold_space,
        .close = cold_close,
};

/* ---- settings ---- */

static int set(struct cold_store *c, const char *word, struct err *e)
{
        const char *v;
        if ((v = startswith(word, "delay=")))
                c->delay = strtod(v, NULL);
        else if ((v = startswith(word, "expire=")))
                c->expire = strtod(v, NULL);
        else if ((v = startswith(word, "refuse=")))
                c->refuse = (unsigned)strtoul(v, NULL, 10);
        else if ((v = startswith(word, "lose=")))
                c->lose = (unsigned)strtoul(v, NULL, 10);
        else if ((v = startswith(word, "get_ms=")))
                c->get_ms = (unsigned)strtoul(v, NULL, 10);
        else if ((v = startswith(word, "instant=")))
                c->instant = *v == '1';
        else if (*word)
                return err_set(e, -EINVAL, "unknown setting %s of a simulated cold store", word);
        return 0;
}

static int settings(struct cold_store *c, const char *url, struct err *e)
{
        const char *inner = store_cold_inner(url), *from = startswith(url, "cold:");
        if (!inner)
                return err_set(e, -EINVAL, "%s: it is written cold:SETTINGS/dir:/path", url);
        _cleanup_free_ char *words = strndup(from, (size_t)(inner - 1 - from));
        if (!words || asprintf(&c->dir, "%s.cold", inner + 4) < 0)
                return err_oom(e);
        char *rest = words, *word;
        int q = 0;
        while (q == 0 && (word = strsep(&rest, ",")) != NULL)
                q = set(c, word, e);
        return q;
}

int store_cold_new(const char *url, struct store **inner, struct store **ret, struct err *e)
{
        struct cold_store *c = calloc(1, sizeof *c);
        if (!c)
                return err_oom(e);
        c->base = (struct store){.ops = &cold_ops, .traits = (*inner)->traits, .url = strdup(url)};
        c->base.inner = steal(*inner);
        c->base.traits.cold = true;
        c->base.traits.kind = "cold";
        c->delay = 0.5;
        c->expire = -1;
        int q = c->base.url ? settings(c, url, e) : err_oom(e);
        if (q < 0) {
                cold_close(&c->base);
                return q;
        }
        *ret = &c->base;
        return 0;
}
