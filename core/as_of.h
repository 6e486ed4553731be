/* as_of.h - the verb: a tree as it was at some time, gathered from the archives that hold it.
 *
 * Floor 5. Of every path the version of the newest archive made until then; what a newer archive of
 * the same folders does not have was deleted, and stays so. Each archive is read by ranges, once.
 * Not here: thawing. One thread a call. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct config;
struct restore_params;
struct restore_progress;

/* "2026-11-27" (the end of that day), "2026-11-27 14:00", "2026-11-27T14:00:05Z"; without Z local
 * time. 0 or -EINVAL with words. */
int as_of_parse(const char *text, int64_t *ret_ns, struct err *e);

/* What would be restored: totals, and the archives it lies in, through `archive` (NULL allowed).
 * -ENOENT nothing of it was stored at that time. Paths as in restore.h. */
int as_of_look(struct catalog *c, int64_t when, const char *const *paths,
        int (*archive)(void *ctx, const char *id, uint64_t members), void *ctx,
        struct restore_progress *ret, struct err *e);

/* After as_of_look(), once the files are there: makes the folders that are missing below
 * params->to, and gives all their owner (for root), mode and time. What cannot be set is told to
 * params->warn and counted in *warnings. */
int as_of_folders(
        struct catalog *c, const struct restore_params *params, uint64_t *warnings, struct err *e);

/* params->paths must not be NULL. The results of restore_run(); -EREMOTE names an archive that must
 * be thawed first. ret_archives (NULL allowed): from how many archives it came. */
int as_of_run(const struct config *config, struct catalog *c, int64_t when,
        const struct restore_params *params, struct restore_progress *ret, unsigned *ret_archives,
        struct err *e);
