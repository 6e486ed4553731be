/* catalog_version.h - which version of a file is in which archive: for archives of only what
 * changed.
 *
 * Floor 3, part of the catalogue; the same rules of threads and durability (catalog.h). Two things:
 * the newest stored version of each path, asked in the order of a walk; and, of an archive that
 * left out what had not changed, where each of that is. Not here: what counts as changed (commit).
 */
#pragma once

#include "catalog.h"

/* ---- the newest version of a path ---- */

struct catalog_versions;

/* What is stored, undeleted, in the store of `a` and for its recipients, from lists of files.
 * Brings the index up to date first: long for a large archive that is new to it, but others can
 * write in between. Borrows the connection. */
int catalog_versions_new(struct catalog *c, const struct catalog_archive *a,
        struct catalog_versions **ret, struct err *e);
void catalog_versions_free(struct catalog_versions *v);
DEFINE_CLEANUP(catalog_versions_free, struct catalog_versions *)

struct catalog_version {
        struct catalog_member m; /* ino 0: not to be compared with */
        const char *base;        /* id of the archive that holds it */
};
/* 1 and the version, borrowed until the next call; 0 there is none. Paths must come in the order of
 * gather_order(); one that does not is looked for all the same, only slower. */
int catalog_versions_find(struct catalog_versions *v, const char *path,
        const struct catalog_version **ret, struct err *e);

/* ---- what an archive left where it is ---- */

struct catalog_range {
        uint64_t at;          /* in the archive's own tar stream */
        const char *base;     /* id */
        uint64_t first, last; /* tar offsets of members of `base`, both included */
};
/* LATER. Ranges of one base must not overlap. */
int catalog_unchanged_add(
        struct catalog *c, const char *id, const struct catalog_range *r, size_t n, struct err *e);
/* Forgets the ranges that began at `at` of the archive's tar stream, or later. LATER. */
int catalog_unchanged_cut(struct catalog *c, const char *id, uint64_t at, struct err *e);
/* In the order in which they were found; borrowed for the call. */
int catalog_ranges_each(struct catalog *c, const char *id,
        int (*each)(void *ctx, const struct catalog_range *r), void *ctx, struct err *e);
/* Every member that was left where it is, with whole path and the id of its archive. */
typedef int (*catalog_unchanged_fn)(void *ctx, const char *base, const struct catalog_member *m);
int catalog_unchanged_each(
        struct catalog *c, const char *id, catalog_unchanged_fn each, void *ctx, struct err *e);
/* The archives in which something was left, oldest first: how many files of each. */
int catalog_bases_each(struct catalog *c, const char *id,
        int (*each)(void *ctx, const char *base, const char *name, uint64_t files), void *ctx,
        struct err *e);
/* Whether it left anything in another archive. */
int catalog_has_unchanged(struct catalog *c, const char *id, bool *ret, struct err *e);
/* A folder as it was then: what this archive holds of it and what it left in others; `base` is the
 * archive that holds the member. path "": the top. In no order; names once. */
int catalog_state_children(struct catalog *c, const char *id, const char *path,
        catalog_unchanged_fn each, void *ctx, struct err *e);
/* One name of that. -ENOENT. */
int catalog_state_lookup(struct catalog *c, const char *id, const char *path,
        catalog_unchanged_fn found, void *ctx, struct err *e);
/* -ENODATA in words if an archive that it relies on is not stored any more. */
int catalog_unchanged_check(struct catalog *c, const char *id, struct err *e);

/* ---- a tree as it was ---- */

/* Collects, for this connection, of every path below `paths` (NULL-terminated, names in archives)
 * the version of the newest archive made until `when`. What a newer archive of the same folders
 * does not have was gone. The next call forgets it. */
int catalog_asof(struct catalog *c, int64_t when, const char *const *paths, struct err *e);
/* The archives in which what was collected lies, oldest first, and how many members of each. */
int catalog_asof_bases(struct catalog *c,
        int (*each)(void *ctx, const char *base, uint64_t members), void *ctx, struct err *e);
/* What was collected of one archive (`base` NULL: of all), as it lies in it. */
int catalog_asof_each(
        struct catalog *c, const char *base, catalog_unchanged_fn each, void *ctx, struct err *e);

/* The folders among what was collected, by path; `inner_first`: a folder after what is in it. */
int catalog_asof_folders(
        struct catalog *c, bool inner_first, catalog_unchanged_fn each, void *ctx, struct err *e);

/* ---- what it was made from ---- */

struct catalog_run {
        char *chain;
        char *job; /* file of the saved job, or "" */
        bool changed_only;
        char *roots; /* each ended by a zero byte */
        size_t roots_len;
        uint64_t n_unchanged, unchanged_bytes; /* files */
};
void catalog_run_done(struct catalog_run *r);
/* Durable. Counts n_unchanged and unchanged_bytes from the ranges. */
int catalog_run_set(struct catalog *c, const char *id, const struct catalog_run *r, struct err *e);
/* Counts again for all archives: when they came in any order, some before those that they name. */
int catalog_run_recount(struct catalog *c, struct err *e);
/* -ENOENT: it was not made from a list, or before this was kept. */
int catalog_run_get(struct catalog *c, const char *id, struct catalog_run *ret, struct err *e);
/* The newest archive made from this saved job. -ENOENT. The caller frees *ret_id. */
int catalog_run_latest(struct catalog *c, const char *job, char **ret_id, struct err *e);
/* What could not be read. LATER. */
int catalog_missed_add(struct catalog *c, const char *id, const char *path, struct err *e);
int catalog_missed_each(struct catalog *c, const char *id, int (*each)(void *ctx, const char *path),
        void *ctx, struct err *e);
/* Whether it, or a folder above it, was missed. */
int catalog_is_missed(
        struct catalog *c, const char *id, const char *path, bool *ret, struct err *e);

/* Files of a stored archive that exist in no other one, or that a later archive relies on: what
 * would be lost with it. `later`: the name of an archive that relies on it, or NULL. */
int catalog_only_here(struct catalog *c, const char *id,
        int (*each)(void *ctx, const struct catalog_member *m, const char *later), void *ctx,
        struct err *e);
