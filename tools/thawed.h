/* thawed.h - `restore` from a store that must thaw first: the same record as `.restore` makes.
 *
 * One thread. */
#pragma once

#include "cli.h"

struct thawed {
        const char *tier;         /* NULL: RESTORE_TIER */
        const char *const *paths; /* NULL-terminated; NULL: everything */
        const char *to;           /* folder */
        bool overwrite, wait;
        double max_price; /* below 0: COST_LIMIT */
};

/* What would be fetched, how long each tier takes and what it costs, on stdout. */
int thawed_quote(
        struct cli *cli, const struct catalog_archive *a, const struct thawed *t, struct err *e);
/* No restore of this archive is wanted any more. */
int thawed_cancel(struct cli *cli, const struct catalog_archive *a, struct err *e);
/* Asks, and takes it as far as it goes now, or waits until it is over. A cli_status, or -errno with
 * words. */
int thawed_restore(
        struct cli *cli, const struct catalog_archive *a, const struct thawed *t, struct err *e);
