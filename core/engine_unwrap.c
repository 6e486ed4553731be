#include "engine_internal.h"

#include "config.h"
#include "keys.h"
#include "seal.h"

/* The configured private key, where it needs no passphrase. Loading takes a millisecond, once for
 * each volume that is opened: nothing secret stays in memory. */
int engine_unwrap(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e)
{
        const struct engine *g = ctx;
        _cleanup_(keys_private_freep) struct keys_private *k = NULL;
        int q = keys_private_load(g->config->private_key, NULL, NULL, &k, e);
        if (q < 0)
                return q;
        return seal_unwrap_with_key(k, fingerprint, wrapped, len, ret_data_key, e);
}
