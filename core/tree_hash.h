/* tree_hash.h - the SHA-256 tree hash of Amazon Glacier: leaves of 1 MiB, pairs hashed level by
 * level, an odd node promoted (Amazon S3 Glacier Developer Guide, "Computing Checksums").
 *
 * Floor 1. An object belongs to one thread at a time. Memory: one node a level. */
#pragma once

#include "base.h"

#define TREE_HASH_LEN  32
#define TREE_HASH_LEAF (1024u * 1024u)

struct tree_hash;

/* NULL when out of memory. */
struct tree_hash *tree_hash_new(void);
void tree_hash_free(struct tree_hash *t);
DEFINE_CLEANUP(tree_hash_free, struct tree_hash *)
int tree_hash_update(struct tree_hash *t, const void *data, size_t len);
/* Adds a whole subtree: the tree hash of `leaves` leaves (a power of two), where as many have come
 * before that it stands at a multiple of its own size; only the last may be short. -EINVAL
 * otherwise. */
int tree_hash_add(struct tree_hash *t, const uint8_t hash[TREE_HASH_LEN], uint64_t leaves);
/* The hash of everything so far; of nothing: SHA-256 of nothing. The object is then empty again. */
int tree_hash_final(struct tree_hash *t, uint8_t ret[TREE_HASH_LEN]);
