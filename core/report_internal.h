/* report_internal.h - what the files of the reports share. Private to report*.c. */
#pragma once

#include "buf.h"
#include "catalog.h"
#include "report.h"

/* The program that runs it lives. */
bool report_is_running(const struct catalog_archive *a);
/* Until all is read; -1 if that cannot be told. */
int64_t report_seconds_left(const struct catalog_archive *a);

/* The first line of a text that somebody else wrote, safe for a terminal, cut with "…" at `max`
 * bytes. */
void report_add_line(struct buf *b, const char *s, size_t max);

/* Members of a JSON object that tell an archive, with `sep` between them. */
void report_json_archive(struct buf *b, const char *sep, const struct catalog_archive *a);
void report_json_progress(struct buf *b, const struct catalog_archive *a);

/* Calls with the text of each staged link's target that is still being read. */
void report_sources(
        const struct catalog_archive *a, void (*each)(void *ctx, const char *target), void *ctx);

/* Whether two filesystems lie on the same disk, as far as /sys tells: partitions of one disk, what
 * is mapped or joined from them, subvolumes. `root` is put before /sys and /proc; "" for the real
 * ones. */
bool report_same_disk(const char *root, dev_t a, dev_t b);

/* What a month of an archive costs, in USD. -ENOENT no price is known. */
int report_month_usd(
        struct catalog *c, const struct catalog_archive *a, double *ret, struct err *e);
