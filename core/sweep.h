/* sweep.h - takes out of a store what no row of the catalogue wants any more: uploads that a killed
 * program left, and what remains of a commit that was taken back while the store was away.
 *
 * Floor 5. Only what carries the origin of this set-up in its name is ever touched. What is to be
 * looked at stands in the catalogue (`litter`) until it is gone. Blocks; any thread. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct catalog;
struct config;
struct store;

/* One store, open: aborts the uploads of ours that nobody wants, removes the objects that are
 * noted. What the store does not let us remove is given up. `url`, `store_id`: as in archive rows.
 */
int sweep_store(struct catalog *c, struct store *s, const char *store_id, struct err *e);

/* Every store that something is noted of. `stop` ends it soon. Stores that are away stay noted. */
int sweep_all(
        struct catalog *c, const struct config *config, const atomic_bool *stop, struct err *e);
