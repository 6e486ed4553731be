/* cache.h - content that was fetched from a store, kept on disk within a limit, found by SHA-512.
 *
 * Floor 3. A folder of plain files, 0600, named by the hash of what they hold. Whoever puts a file
 * in has checked it; a file that an earlier run of the machine left is hashed again before it is
 * given out, since a power cut may have torn it. What is open (a shared flock on the descriptor) is
 * never evicted, in whatever program; otherwise the one that was used longest ago goes first. A
 * file that is larger than the limit stays until the next one needs room. Not here: where content
 * comes from, and who may see it. Any thread, several programs at once. Blocks on the disk. */
#pragma once

#include "base.h"
#include "err.h"

#include <openssl/sha.h>

struct cache;

#define CACHE_KEY_LEN SHA512_DIGEST_LENGTH

/* `dir` is made if it is missing. `limit` in bytes. */
int cache_open(const char *dir, uint64_t limit, struct cache **ret, struct err *e);
void cache_close(struct cache *k);
DEFINE_CLEANUP(cache_close, struct cache *)

/* A descriptor for reading, which the caller closes. -ENOENT if it is not there (a file that turned
 * out to be torn is removed). Reads all of a file that was put in before the machine's last start.
 */
int cache_get(struct cache *k, const uint8_t key[CACHE_KEY_LEN], int *ret_fd, struct err *e);

/* Makes room for `size` bytes and an unnamed file to write them to. -ENOSPC if the disk is too
 * full, whatever the limit says. */
int cache_begin(struct cache *k, uint64_t size, int *ret_fd, struct err *e);
/* Gives the written file its name. ret_fd: as from cache_get(). Takes *fd in every case. */
int cache_put(
        struct cache *k, const uint8_t key[CACHE_KEY_LEN], int *fd, int *ret_fd, struct err *e);
/* Forgets one, unless it is open. */
void cache_drop(struct cache *k, const uint8_t key[CACHE_KEY_LEN]);

uint64_t cache_limit(const struct cache *k);
/* Bytes that are there, counted anew. */
uint64_t cache_bytes(struct cache *k);
