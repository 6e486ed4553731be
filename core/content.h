/* content.h - the content of single files of a stored archive: fetched, authenticated, checked.
 *
 * Floor 5. Tar offset -> blocks -> frames, through a reader that is kept: files that lie in one
 * block cost one fetch. Not here: which file may be read now, keeping what was fetched. One thread
 * at a time. Blocks on the store. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct catalog_archive;
struct catalog_member;
struct content;
struct store;

/* As in seal.h. */
typedef int (*content_unwrap_fn)(void *ctx, const char *fingerprint, const uint8_t *wrapped,
        size_t len, uint8_t ret_data_key[32], struct err *e);

/* Borrows everything for its life. Fetches nothing yet. */
int content_new(struct catalog *c, struct store *s, const struct catalog_archive *a,
        content_unwrap_fn unwrap, void *ctx, struct content **ret, struct err *e);
void content_free(struct content *k);
DEFINE_CLEANUP(content_free, struct content *)

/* Writes the content of a member of type 'f' to the empty file fd, holes left out, and compares it
 * with the member's SHA-512: what is in fd after an error must not be shown to anybody. -EBADMSG
 * and -EPROTO damage, -EREMOTE the store must thaw it first, -ENOKEY, -ECANCELED. The words name
 * object and place, or the archive and the file. `go_on` (NULL allowed) is called every quarter of
 * a MiB with the bytes that were written so far; false ends it. */
typedef bool (*content_go_on_fn)(void *ctx, uint64_t done);
int content_fetch(struct content *k, const struct catalog_member *m, const char *path, int fd,
        content_go_on_fn go_on, void *ctx, struct err *e);

/* True if the member's first byte lies in the block that is at hand. */
bool content_is_near(const struct content *k, const struct catalog_member *m);
/* Bytes fetched from the store so far. */
uint64_t content_fetched(const struct content *k);
