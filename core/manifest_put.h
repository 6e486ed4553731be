/* manifest_put.h - the manifest as an object of its own: from the catalogue into the store, sealed.
 *
 * Floor 5. What is written is what the catalogue says at that moment (manifest.h); an object of its
 * name is replaced. Not here: when, and what the row says afterwards. One thread a call; blocks on
 * disk and store. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;
struct catalog_archive;
struct config;
struct keys_public;
struct store;

struct manifest_put {
        struct catalog *catalog;
        struct store *store;
        const struct catalog_archive *a;
        const struct keys_public *const *recipients;
        size_t n_recipients;
        unsigned workers;
        const char *folder;  /* for a file without a name */
        const char *earlier; /* NULL, or where the tar's copy may lie, to copy members from */
        int64_t when;        /* at which the archive counts as stored, once it is there */
};
/* What was sent by a failed one stays where a sweep finds it, or is gone. */
int manifest_put(const struct manifest_put *p, struct err *e);
/* The same for an archive that is stored, by what its row says: for one whose manifest was lost. */
int manifest_put_again(const struct config *config, struct catalog *c, struct store *s,
        const struct catalog_archive *a, struct err *e);
