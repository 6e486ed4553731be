#include "engine_internal.h"

#include "config.h"
#include "keyring.h"

/* What agent.h asks of us. After a passphrase has come, jobs that wait for a key can go on. */

static int unlock(void *ctx, const struct secret *passphrase, int64_t seconds, struct err *e)
{
        struct engine *g = ctx;
        int q = keyring_unlock(g->keyring, passphrase, seconds, e);
        if (q == 0) {
                jobs_poke(g);
                restores_key_came(g);
        }
        return q;
}

static void lock(void *ctx)
{
        const struct engine *g = ctx;
        keyring_lock(g->keyring);
}

static int expire(void *ctx)
{
        const struct engine *g = ctx;
        return keyring_expire(g->keyring);
}

void agent_open(struct engine *g)
{
        const struct agent_ops ops = {.unlock = unlock,
                .lock = lock,
                .unwrap = engine_unwrap,
                .expire = expire,
                .ctx = g};
        (void)agent_start(g->config->data, &ops, &g->agent, NULL); /* g->agent stays NULL */
}

struct keyring *engine_keyring(struct engine *g)
{
        return g->keyring;
}

int engine_unwrap(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e)
{
        const struct engine *g = ctx;
        return keyring_unwrap(g->keyring, fingerprint, wrapped, len, ret_data_key, e);
}
