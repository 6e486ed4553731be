/* report.h - what people and scripts read: status, info.json, sums and logs, made from the
 * catalogue.
 *
 * Floor 5. Only reads. Not here: output; the tools print it and fs serves it. */
#pragma once

#include "base.h"
#include "err.h"

struct buf;
struct catalog;
struct catalog_archive;
struct config;

/* `.status` and `autoglacier status`: begins with NOT YET A BACKUP and the remedy where that holds;
 * then one block for each job that runs, waits or failed; then the last stored one. With `json` as
 * autoglacier-json(5) has it. ret_failed (NULL allowed): whether anything has failed. */
int report_status(struct catalog *c, const struct config *config, bool json, struct buf *ret,
        bool *ret_failed, struct err *e);
/* Why this is no backup yet, and the remedy, as one paragraph without a newline that begins with
 * NOT YET A BACKUP: the store is a folder on the disk (also another partition of
 * it) that holds the data folder or $HOME, or of no
 * configured key the private half has been shown by `verify --key`. Appends nothing if it is one.
 */
int report_not_yet(struct catalog *c, const struct config *config, struct buf *ret, struct err *e);
/* archives/NAME/info.json: stable, documented in autoglacier-json(5). */
int report_info(struct catalog *c, const struct catalog_archive *a, struct buf *ret, struct err *e);
/* archives/NAME/log: one timestamped line an event. */
int report_log(struct catalog *c, const char *id, struct buf *ret, struct err *e);
/* archives/NAME/SHA512SUMS, in the form of sha512sum(1) (names with '\\', newline or return escaped
 * as it does), written to fd; its size is catalog_archive.sums_bytes for stored ones. Hard links
 * have their line too. */
int report_sums(struct catalog *c, const char *id, int fd, uint64_t *ret_size, struct err *e);
/* What restoring would fetch, how long each tier takes, what it costs. */
struct thaw_plan;
int report_restore_quote(const struct config *config, const struct catalog_archive *a,
        const struct thaw_plan *plan, struct buf *ret, struct err *e);
/* Where it is more than is fetched by itself for files/, says so, and what to do; else nothing. */
void report_restore_ahead(struct buf *b, const struct config *config,
        const struct catalog_archive *a, uint64_t bytes);
/* archives/NAME/.restore: how to use it, that quote for all of it, and its restores. */
int report_restore_help(struct catalog *c, const struct config *config,
        const struct catalog_archive *a, struct buf *ret, struct err *e);
/* Restores that are on their way, can be read, or failed since yesterday: a block each, with an
 * empty line before it; of one archive (its id) or all (NULL). ret_failed (NULL allowed) becomes
 * true if one failed, and else stays. */
int report_restores(
        struct catalog *c, const char *id, struct buf *ret, bool *ret_failed, struct err *e);
/* The same as a JSON array. */
int report_json_restores(
        struct catalog *c, const char *id, struct buf *ret, bool *ret_failed, struct err *e);
/* `cost`: what storage, requests and early deletion cost, of one archive or of all (NULL). */
int report_cost(struct catalog *c, const struct config *config, const struct catalog_archive *one,
        bool json, struct buf *ret, struct err *e);
/* One line for `.commit`: what storing so many bytes would cost at most, where the store costs
 * something. */
void report_price_to_store(const struct config *config, uint64_t bytes, struct buf *ret);
/* One line an archive, for `list`. */
int report_list(struct catalog *c, bool json, struct buf *ret, struct err *e);
