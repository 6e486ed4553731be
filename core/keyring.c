#include "keyring_internal.h"

#include "clock.h"
#include "config.h"
#include "secret.h"

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

int keyring_keep(struct entry *n, const struct secret *passphrase, int64_t seconds)
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

int keyring_forget_late(struct keyring *k)
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
        int ms = keyring_forget_late(k);
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
