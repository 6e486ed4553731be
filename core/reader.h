/* reader.h - the tar stream of a stored archive, read at any offset through the block table.
 *
 * Floor 5. Tar offset -> block -> frames -> one range of a stored object. Every byte has been
 * authenticated before it comes out. Of a block that holds its content as it is only the part that
 * is wanted is fetched, others are fetched and decoded whole. Keeps the last one, and one open
 * volume. Not here: what the tar means. One thread a reader. Blocks on the store. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct catalog_archive;
struct reader;
struct store;

/* As in seal.h. */
typedef int (*reader_unwrap_fn)(void *ctx, const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e);

/* Borrows everything for its life. */
int reader_new(struct catalog *c, struct store *s, const struct catalog_archive *a,
        reader_unwrap_fn unwrap, void *ctx, struct reader **ret, struct err *e);
void reader_free(struct reader *r);
DEFINE_CLEANUP(reader_free, struct reader *)

/* Up to `len` bytes of the tar stream at `offset`; 0 at its end. What the caller will go on to
 * read, up to `until`, is fetched along with it: less is, where the block ends. -EBADMSG and
 * -EPROTO name the object and the place in it; -EREMOTE if the store must thaw it first; -ENOKEY.
 */
ssize_t reader_read(
        struct reader *r, void *data, size_t len, uint64_t offset, uint64_t until, struct err *e);

/* True if the byte at `offset` is in what is kept: reading it fetches nothing. */
bool reader_holds(const struct reader *r, uint64_t offset);

/* Proves that nothing was cut off the end of a volume, or added to it. */
int reader_check_end(struct reader *r, unsigned volume, struct err *e);

/* Bytes fetched from the store so far. */
uint64_t reader_fetched(const struct reader *r);
