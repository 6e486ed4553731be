#include "keyring_internal.h"

#include "agent.h"
#include "secret.h"

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
                int q = keyring_load_quietly(k, n, &key, &why);
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
                int q = keyring_load_asking(k, n, &key, e);
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
        (void)keyring_forget_late(k);
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
        int q = keyring_load_with(n, NULL, &key, e);
        if (q != -ENOKEY)
                return q; /* not locked, or no key at all */
        o->locked++;
        q = keyring_load_with(n, passphrase, &key, e);
        if (q < 0)
                return q == -EACCES ? 0 : q;
        note(n, key);
        o->opened++;
        return keyring_keep(n, passphrase, seconds) < 0 ? err_oom(e) : 0;
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
