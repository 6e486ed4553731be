/* delete.h - the verb: a stored archive leaves the store, at the user's wish.
 *
 * Floor 5. The row stays, as `deleted`, with its description and log; what it held is forgotten.
 * Not here: asking whether that is meant. One thread a call. Blocks on the store. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct catalog_archive;
struct store;

/* Removes the manifest, then every volume. Before, the row becomes `failed`, so that nobody relies
 * on what may be half gone; it stays so after an error or a crash, unless the store refused before
 * anything was removed. Can be repeated: what is gone already is no error, and until the end the
 * archive is listed, so that nothing stays in the store unknown. -EINVAL: it is not stored. -EBUSY:
 * what was staged of it is still being cleared away. */
int delete_run(struct catalog *c, struct store *s, const struct catalog_archive *a, struct err *e);
