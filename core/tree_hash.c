#include "tree_hash.h"

#include <openssl/evp.h>

#define LEVELS 64

/* A binary counter of nodes: level k holds the hash of 2^k leaves. */
struct tree_hash {
        EVP_MD_CTX *leaf;
        EVP_MD_CTX *pair;
        size_t in_leaf;
        uint64_t used; /* bit k: node[k] is there */
        uint8_t node[LEVELS][TREE_HASH_LEN];
};

struct tree_hash *tree_hash_new(void)
{
        struct tree_hash *t = calloc(1, sizeof *t);
        if (!t)
                return NULL;
        t->leaf = EVP_MD_CTX_new();
        t->pair = EVP_MD_CTX_new();
        if (!t->leaf || !t->pair || !EVP_DigestInit_ex(t->leaf, EVP_sha256(), NULL)) {
                tree_hash_free(t);
                return NULL;
        }
        return t;
}

void tree_hash_free(struct tree_hash *t)
{
        if (!t)
                return;
        EVP_MD_CTX_free(t->leaf);
        EVP_MD_CTX_free(t->pair);
        free(t);
}

static int join(struct tree_hash *t, const uint8_t *left, const uint8_t *right, uint8_t *ret)
{
        if (!EVP_DigestInit_ex(t->pair, EVP_sha256(), NULL) ||
                !EVP_DigestUpdate(t->pair, left, TREE_HASH_LEN) ||
                !EVP_DigestUpdate(t->pair, right, TREE_HASH_LEN) ||
                !EVP_DigestFinal_ex(t->pair, ret, NULL))
                return -EIO;
        return 0;
}

static int carry(struct tree_hash *t, const uint8_t *hash, unsigned level)
{
        uint8_t h[TREE_HASH_LEN];
        memcpy(h, hash, sizeof h);
        for (; level < LEVELS && t->used >> level & 1; level++) {
                if (join(t, t->node[level], h, h) < 0)
                        return -EIO;
                t->used &= ~(1ull << level);
        }
        if (level == LEVELS)
                return -EINVAL;
        memcpy(t->node[level], h, sizeof h);
        t->used |= 1ull << level;
        return 0;
}

static int end_leaf(struct tree_hash *t)
{
        uint8_t h[TREE_HASH_LEN];
        if (!EVP_DigestFinal_ex(t->leaf, h, NULL) ||
                !EVP_DigestInit_ex(t->leaf, EVP_sha256(), NULL))
                return -EIO;
        t->in_leaf = 0;
        return carry(t, h, 0);
}

int tree_hash_update(struct tree_hash *t, const void *data, size_t len)
{
        const uint8_t *p = data;
        while (len > 0) {
                size_t n = MIN(len, TREE_HASH_LEAF - t->in_leaf);
                if (!EVP_DigestUpdate(t->leaf, p, n))
                        return -EIO;
                t->in_leaf += n;
                p += n;
                len -= n;
                if (t->in_leaf == TREE_HASH_LEAF && end_leaf(t) < 0)
                        return -EIO;
        }
        return 0;
}

int tree_hash_add(struct tree_hash *t, const uint8_t hash[TREE_HASH_LEN], uint64_t leaves)
{
        if (leaves == 0 || (leaves & (leaves - 1)) || t->in_leaf > 0 || t->used & (leaves - 1))
                return -EINVAL;
        return carry(t, hash, (unsigned)__builtin_ctzll(leaves));
}

int tree_hash_final(struct tree_hash *t, uint8_t ret[TREE_HASH_LEN])
{
        if ((t->in_leaf > 0 || t->used == 0) && end_leaf(t) < 0)
                return -EIO;
        uint8_t h[TREE_HASH_LEN];
        bool any = false;
        for (unsigned level = 0; level < LEVELS; level++) {
                if (!(t->used >> level & 1))
                        continue;
                if (any && join(t, t->node[level], h, h) < 0)
                        return -EIO;
                if (!any)
                        memcpy(h, t->node[level], sizeof h);
                any = true;
        }
        t->used = 0;
        memcpy(ret, h, sizeof h);
        return 0;
}
