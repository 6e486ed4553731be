/* import.h - the verb: an old JSON_DATABASE becomes archives in the catalogue.
 *
 * Floor 5. Reads the log twice as a stream (memory grows with the number of its entries, not of
 * their files): first all of it, so that a broken log changes nothing; then every entry of a job
 * that succeeded becomes an archive, `stored`, with its files and their SHA-512, marked as
 * imported. What was imported before is passed over. The log is never written to. One thread a
 * call. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct catalog_archive;
struct config;
struct store;

struct import_result {
        uint64_t archives, files;
        uint64_t known;      /* archives that were imported, or made here, before */
        uint64_t unfinished; /* entries of jobs that did not succeed */
};

/* -ENOENT there is no such log; -EPROTO it is broken: FILE:LINE: why. */
int import_run(struct catalog *c, const struct config *config, const char *path,
        struct import_result *ret, struct err *e);

#define IMPORT_ORIGIN "imported" /* the mark: where such an archive was made */
bool import_is_imported(const struct catalog_archive *a);

#define IMPORT_OBJECT_MAX 256

/* The store that still may have an imported archive, told what the log knows of it; ret_object is
 * the object's name there and *ret_size its size. The caller closes the store. */
int import_open_store(const struct config *config, struct catalog *c,
        const struct catalog_archive *a, struct store **ret, char ret_object[IMPORT_OBJECT_MAX],
        uint64_t *ret_size, struct err *e);

/* Removes an imported archive from its vault; it stays known as `deleted`. */
int import_delete(const struct config *config, struct catalog *c, const struct catalog_archive *a,
        struct err *e);
