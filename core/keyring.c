#include "keyring.h"

#include "agent.h"
#include "clock.h"
#include "config.h"
#include "io.h"
#include "secret.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#define PASSPHRASE_MAX (4u * KiB)

/* One private key's file and what is known of it. */
struct entry {
        char *path;
        char fingerprint[KEYS_FINGERPRINT_LEN + 1]; /* "" until it has been opened once */
        struct secret *passphrase;                  /* NULL: none, or none needed */
        int64_t until;                              /* monotonic ns; 0: for ever */
};

struct keyring {
        pthread_mutex_t lock; /* everything below */
        struct entry *entries;
        size_t n;
        struct secret *passphrase; /* RSA_PASSPHRASE, or NULL */
        char *passphrase_file;     /* or NULL */
        char *data;                /* folder of the agent's socket */
        char *config_file;         /* for words only */
        bool use_agent;
        keys_passphrase_fn ask; /* or NULL */
        void *ask_ctx;
};

/* ---- making ---- */

static void entries_free(struct keyring *k)
{
        for (size_t i = 0; i < k->n; i++) {
                secret_free(k->entries[i].passphrase);
                free(k->entries[i].path);
        }
        free(k->entries);
        k->entries = NULL;
        k->n = 0;
}

static int set_paths(struct keyring *k, const char *const *paths)
{
        size_t n = 0;
        while (paths[n])
                n++;
        struct entry *v = calloc(n + 1, sizeof *v);
        if (!v)
                return -ENOMEM;
        entries_free(k);
        k->entries = v;
        for (size_t i = 0; i < n; i++) {
                if (!(v[i].path = strdup(paths[i])))
                        return -ENOMEM;
                k->n++;
        }
        return 0;
}

int keyring_new(const struct config *config, struct keyring **ret, struct err *e)
{
        _cleanup_(keyring_freep) struct keyring *k = calloc(1, sizeof *k);
        if (!k)
                return err_oom(e);
        pthread_mutex_init(&k->lock, NULL);
        if (config->passphrase &&
                secret_copy(config->passphrase, strlen(config->passphrase), &k->passphrase) < 0)
                return err_oom(e);
        if (config->passphrase_file && !(k->passphrase_file = strdup(config->passphrase_file)))
                return err_oom(e);
        if (!(k->data = strdup(config->data)) || !(k->config_file = strdup(config->file)) ||
                set_paths(k, (const char *const *)config->private_keys) < 0)
                return err_oom(e);
        *ret = steal(k);
        return 0;
}

void keyring_free(struct keyring *k)
{
        if (!k)
                return;
        entries_free(k);
        secret_free(k->passphrase);
        free(k->passphrase_file);
        free(k->data);
        free(k->config_file);
        pthread_mutex_destroy(&k->lock);
        free(k);
}

int keyring_only(struct keyring *k, const char *path, struct err *e)
{
        pthread_mutex_lock(&k->lock);
        int q = set_paths(k, (const char *const[]){path, NULL});
        pthread_mutex_unlock(&k->lock);
        return q < 0 ? err_oom(e) : 0;
}

void keyring_ask_with(struct keyring *k, keys_passphrase_fn ask, void *ctx)
{
        pthread_mutex_lock(&k->lock);
        k->ask = ask;
        k->ask_ctx = ctx;
        pthread_mutex_unlock(&k->lock);
}

void keyring_use_agent(struct keyring *k, bool use)
{
        pthread_mutex_lock(&k->lock);
        k->use_agent = use;
        pthread_mutex_unlock(&k->lock);
}

/* ---- passphrases ---- */

static void forget(struct entry *n)
{
        secret_free(n->passphrase);
        n->passphrase = NULL;
        n->until = 0;
}

static int keep(struct entry *n, const struct secret *passphrase, int64_t seconds)
{
        struct secret *copy = NULL;
        int q = secret_copy(passphrase->data, passphrase->len, &copy);
        if (q < 0)
                return q;
        forget(n);
        n->passphrase = copy;
        n->until = seconds > 0 ? clock_monotonic() + seconds * CLOCK_NSEC : 0;
        return 0;
}

static int expire(struct keyring *k)
{
        int64_t now = clock_monotonic(), next = -1;
        for (size_t i = 0; i < k->n; i++) {
                struct entry *n = &k->entries[i];
                if (!n->passphrase || n->until == 0)
                        continue;
                if (n->until <= now)
                        forget(n);
                else if (next < 0 || n->until - now < next)
                        next = n->until - now;
        }
        return next < 0 ? -1 : (int)MIN(next / 1000000 + 1, (int64_t)3600 * 1000);
}

int keyring_expire(struct keyring *k)
{
        pthread_mutex_lock(&k->lock);
        int ms = expire(k);
        pthread_mutex_unlock(&k->lock);
        return ms;
}

void keyring_lock(struct keyring *k)
{
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; i < k->n; i++)
                forget(&k->entries[i]);
        pthread_mutex_unlock(&k->lock);
}

static int give(void *ctx, const char *path _unused_, unsigned attempt _unused_,
        struct secret **ret, struct err *e)
{
        const struct secret *s = ctx;
        return secret_copy(s->data, s->len, ret) < 0 ? err_oom(e) : 0;
}

static int load_with(const struct entry *n, const struct secret *passphrase,
        struct keys_private **ret, struct err *e)
{
        return keys_private_load(n->path, passphrase ? give : NULL, (void *)passphrase, ret, e);
}

static int check_file_mode(const char *path, struct err *e)
{
        struct stat st;
        if (stat(path, &st) < 0)
                return err_errno(e, -errno, "cannot look at the passphrase file %s", path);
        if (S_ISREG(st.st_mode) && st.st_mode & 077)
                return err_set(e, -EACCES,
                        "%s holds a passphrase, but others can read it; make it yours alone with: "
                        "chmod 600 %s",
                        path, path);
        return 0;
}

/* The first line of the file. */
static int read_passphrase(const char *path, struct secret **ret, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = check_file_mode(path, e);
        if (q == 0)
                q = io_read_file(AT_FDCWD, path, PASSPHRASE_MAX, &b, e);
        if (q < 0)
                return err_prefix(e, q, "PRIV_RSA_KEY_PASSPHRASE_FILE");
        size_t n = strcspn(buf_str(&b), "\r\n");
        q = n > 0 ? secret_copy(buf_str(&b), n, ret)
                  : err_set(e, -EINVAL, "the passphrase file %s is empty", path);
        secret_wipe(b.data, b.len);
        return q == -ENOMEM ? err_oom(e) : q;
}

/* ---- opening a key ---- */

/* Without any question: plain, with the passphrase kept, with the one from the file. */
static int load_quietly(
        struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e)
{
        int q = load_with(n, n->passphrase, ret, e);
        if (q != -ENOKEY || n->passphrase || access(n->path, F_OK) < 0)
                return q;
        if (k->passphrase) {
                struct err why = {0};
                int again = load_with(n, k->passphrase, ret, &why);
                if (again != -EACCES)
                        return again < 0 ? err_set(e, again, "%s", why.text) : 0;
        }
        if (!k->passphrase_file)
                return q;
        _cleanup_secret_ struct secret *s = NULL;
        if ((q = read_passphrase(k->passphrase_file, &s, e)) < 0)
                return q;
        q = load_with(n, s, ret, e);
        return q == -EACCES ? err_set(e, q, "the passphrase in %s does not open the private key %s",
                                      k->passphrase_file, n->path)
                            : q;
}

/* Passes the question on and remembers the last answer, for the next data key. */
struct question {
        struct keyring *k;
        struct secret *last;
};

static int ask_once(
        void *ctx, const char *path, unsigned attempt, struct secret **ret, struct err *e)
{
        struct question *a = ctx;
        int q = a->k->ask(a->k->ask_ctx, path, attempt, ret, e);
        secret_free(a->last);
        a->last = NULL;
        if (q == 0 && secret_copy((*ret)->data, (*ret)->len, &a->last) < 0) {
                secret_free(*ret);
                *ret = NULL;
                return err_oom(e);
        }
        return q;
}

static int load_asking(struct keyring *k, struct entry *n, struct keys_private **ret, struct err *e)
{
        struct question a = {.k = k};
        int q = keys_private_load(n->path, ask_once, &a, ret, e);
        if (q == 0 && a.last)
                q = keep(n, a.last, 0) < 0 ? err_oom(e) : 0;
        secret_free(a.last);
        return q;
}

static void note(struct entry *n, const struct keys_private *key)
{
        (void)snprintf(n->fingerprint, sizeof n->fingerprint, "%s",
                keys_private_fingerprint(key)); /* fits */
}

static bool may_be(const struct entry *n, const char *fingerprint)
{
        return !*n->fingerprint || streq(n->fingerprint, fingerprint);
}

static bool is_there(const struct entry *n)
{
        return access(n->path, F_OK) == 0;
}

/* ---- unwrapping ---- */

struct want {
        const char *fingerprint;
        const uint8_t *wrapped;
        size_t len;
        uint8_t *ret;
};

/* 1: unwrapped; 0: this key is another one; -errno. */
static int try_key(
        struct entry *n, const struct keys_private *key, const struct want *w, struct err *e)
{
        note(n, key);
        if (!streq(n->fingerprint, w->fingerprint))
                return 0;
        int q = keys_unwrap(key, w->wrapped, w->len, w->ret, e);
        return q < 0 ? q : 1;
}

/* ret_locked: the first key that might do and is locked. One that cannot be opened does not hide
 * another that can; if there is none, the first error is told. */
static int unwrap_quietly(
        struct keyring *k, const struct want *w, struct entry **ret_locked, struct err *e)
{
        struct err first = {0};
        for (size_t i = 0; i < k->n; i++) {
                struct entry *n = &k->entries[i];
                struct err why = {0};
                _cleanup_(keys_private_freep) struct keys_private *key = NULL;
                if (!may_be(n, w->fingerprint) || !is_there(n))
                        continue;
                int q = load_quietly(k, n, &key, &why);
                if (q == 0 && (q = try_key(n, key, w, e)) != 0)
                        return q;
                if (q == -ENOKEY && !*ret_locked)
                        *ret_locked = n;
                if (q < 0 && q != -ENOKEY && first.code == 0)
                        first = why;
        }
        return first.code < 0 ? err_set(e, first.code, "%s", first.text) : 0;
}

static int unwrap_asking(struct keyring *k, const struct want *w, struct err *e)
{
        for (size_t i = 0; i < k->n; i++) {
                struct entry *n = &k->entries[i];
                _cleanup_(keys_private_freep) struct keys_private *key = NULL;
                if (n->passphrase || !may_be(n, w->fingerprint) || !is_there(n))
                        continue;
                int q = load_asking(k, n, &key, e);
                if (q == 0)
                        q = try_key(n, key, w, e);
                if (q != 0)
                        return q;
        }
        return 0;
}

static int no_key(const struct keyring *k, const struct entry *locked, struct err *e)
{
        if (locked)
                return err_set(e, -ENOKEY,
                        "the private key %s is locked; give its passphrase to the running program "
                        "with: autoglacier unlock",
                        locked->path);
        for (size_t i = 0; i < k->n; i++)
                if (is_there(&k->entries[i]))
                        return err_set(e, -ENOKEY, "sealed for other keys");
        return err_set(e, -ENOKEY,
                "there is no private key at %s; bring it back, or name another place with "
                "PRIV_RSA_KEY_PATH in %s or with --key",
                k->entries[0].path, k->config_file);
}

static int unwrap(struct keyring *k, const struct want *w, struct err *e)
{
        struct entry *locked = NULL;
        (void)expire(k);
        int q = unwrap_quietly(k, w, &locked, e);
        if (q == 0 && locked && k->use_agent) {
                q = agent_unwrap(k->data, w->fingerprint, w->wrapped, w->len, w->ret, e);
                /* no program, or one that is locked as well: then there is the question */
                q = q == 0 ? 1 : q == -ENOKEY || q == -ENOENT ? 0 : q;
        }
        if (q == 0 && locked && k->ask)
                q = unwrap_asking(k, w, e);
        if (q == 0)
                q = no_key(k, k->ask ? NULL : locked, e);
        return q > 0 ? 0 : q;
}

int keyring_unwrap(void *keyring, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e)
{
        struct keyring *k = keyring;
        const struct want w = {fingerprint, wrapped, len, ret_data_key};
        pthread_mutex_lock(&k->lock);
        int q = unwrap(k, &w, e);
        pthread_mutex_unlock(&k->lock);
        return q;
}

/* ---- unlocking ---- */

struct opened {
        unsigned there, locked, opened;
};

static int unlock_one(struct entry *n, const struct secret *passphrase, int64_t seconds,
        struct opened *o, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        if (!is_there(n))
                return 0;
        o->there++;
        int q = load_with(n, NULL, &key, e);
        if (q != -ENOKEY)
                return q; /* not locked, or no key at all */
        o->locked++;
        q = load_with(n, passphrase, &key, e);
        if (q < 0)
                return q == -EACCES ? 0 : q;
        note(n, key);
        o->opened++;
        return keep(n, passphrase, seconds) < 0 ? err_oom(e) : 0;
}

int keyring_unlock(
        struct keyring *k, const struct secret *passphrase, int64_t seconds, struct err *e)
{
        struct opened o = {0};
        int q = 0;
        pthread_mutex_lock(&k->lock);
        for (size_t i = 0; q == 0 && i < k->n; i++)
                q = unlock_one(&k->entries[i], passphrase, seconds, &o, e);
        if (q == 0 && o.there == 0)
                q = no_key(k, NULL, e);
        else if (q == 0 && o.locked == 0)
                q = err_set(e, -EALREADY,
                        "the private key %s has no passphrase; there is nothing to unlock",
                        k->entries[0].path);
        else if (q == 0 && o.opened == 0)
                q = err_set(e, -EACCES,
                        "the passphrase is wrong; it does not open the private key %s",
                        k->entries[0].path);
        pthread_mutex_unlock(&k->lock);
        return q;
}
