/* stores.h - opens the store that a URL names.
 *
 * Floor 5, the only place that knows which backends there are. Touches nothing yet. */
#pragma once

#include "base.h"
#include "err.h"

struct config;
struct store;

/* "dir:/absolute/path", "s3://bucket/prefix". `storage_class` is for what will be written ("" or
 * NULL: the service's own). Credentials, endpoint and limits come from `config`, which must outlive
 * the store. -EPROTONOSUPPORT for a scheme that this version cannot open. */
int stores_open(const struct config *config, const char *url, const char *storage_class,
        struct store **ret, struct err *e);

/* The names of an archive's objects, the same in every store that has names. The caller frees them.
 */
char *stores_volume_name(const char *origin, const char *id, unsigned volume, const char *suffix);
char *stores_manifest_name(const char *origin, const char *id);
