#include "eax.h"

#include "secret.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#define BLOCK 16u

struct eax {
        EVP_MAC_CTX *mac; /* over the ciphertext */
        EVP_CIPHER_CTX *ctr;
        uint8_t known[BLOCK]; /* OMAC of the nonce, xor OMAC of the empty header */
};

/* OMAC^t of the paper begins with t as one block of 16 bytes. */
static EVP_MAC_CTX *omac_begin(const uint8_t key[EAX_KEY], uint8_t t)
{
        const OSSL_PARAM params[] = {
                OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, (char *)"AES-128-CBC", 0),
                OSSL_PARAM_construct_end(),
        };
        const uint8_t block[BLOCK] = {[BLOCK - 1] = t};
        EVP_MAC *cmac = EVP_MAC_fetch(NULL, "CMAC", NULL);
        EVP_MAC_CTX *m = cmac ? EVP_MAC_CTX_new(cmac) : NULL;
        EVP_MAC_free(cmac); /* the context keeps it */
        if (m && EVP_MAC_init(m, key, EAX_KEY, params) == 1 &&
                EVP_MAC_update(m, block, sizeof block) == 1)
                return m;
        EVP_MAC_CTX_free(m);
        return NULL;
}

static bool omac(
        const uint8_t key[EAX_KEY], uint8_t t, const void *data, size_t len, uint8_t ret[BLOCK])
{
        size_t n = 0;
        EVP_MAC_CTX *m = omac_begin(key, t);
        bool ok = m && EVP_MAC_update(m, data, len) == 1 && EVP_MAC_final(m, ret, &n, BLOCK) == 1 &&
                  n == BLOCK;
        EVP_MAC_CTX_free(m);
        return ok;
}

struct eax *eax_new(const uint8_t key[EAX_KEY], const void *nonce, size_t nonce_len)
{
        _cleanup_(eax_freep) struct eax *x = calloc(1, sizeof *x);
        uint8_t start[BLOCK], header[BLOCK];
        if (!x || !omac(key, 0, nonce, nonce_len, start) || !omac(key, 1, "", 0, header))
                return NULL;
        for (size_t i = 0; i < BLOCK; i++)
                x->known[i] = start[i] ^ header[i];
        x->mac = omac_begin(key, 2);
        x->ctr = EVP_CIPHER_CTX_new();
        if (!x->mac || !x->ctr ||
                EVP_DecryptInit_ex2(x->ctr, EVP_aes_128_ctr(), key, start, NULL) != 1)
                return NULL;
        return steal(x);
}

void eax_free(struct eax *x)
{
        if (!x)
                return;
        EVP_MAC_CTX_free(x->mac);
        EVP_CIPHER_CTX_free(x->ctr);
        free(x);
}

int eax_update(struct eax *x, const void *in, size_t len, void *out)
{
        const uint8_t *from = in;
        uint8_t *to = out;
        if (EVP_MAC_update(x->mac, from, len) != 1)
                return -ENOMEM;
        while (to && len > 0) {
                int n = (int)MIN(len, (size_t)INT_MAX / 2), made = 0;
                if (EVP_DecryptUpdate(x->ctr, to, &made, from, n) != 1 || made != n)
                        return -ENOMEM;
                from += n;
                to += n;
                len -= (size_t)n;
        }
        return 0;
}

int eax_finish(struct eax *x, const uint8_t tag[EAX_TAG])
{
        uint8_t mac[BLOCK];
        size_t n = 0;
        if (EVP_MAC_final(x->mac, mac, &n, sizeof mac) != 1 || n != sizeof mac)
                return -ENOMEM;
        for (size_t i = 0; i < BLOCK; i++)
                mac[i] ^= x->known[i];
        return secret_equal(mac, tag, BLOCK) ? 0 : -EBADMSG;
}
