/* spec.h - what a job gathers: the list of files behind a `backup`.
 *
 * Floor 3. Kept as DATA/spool/ID.list, paths each ended by a zero byte, since there may be a
 * million of them and their names may be any bytes. One thread an object. */
#pragma once

#include "base.h"
#include "err.h"

struct spec_files {
        const char **paths; /* NULL-terminated; borrowed from `map` */
        char *map;
        size_t len;
};

/* Writes the list durably. Paths are absolute. */
int spec_files_save(const char *data, const char *id, const char *const *paths, struct err *e);
/* -ENOENT if there is none. */
int spec_files_load(const char *data, const char *id, struct spec_files *ret, struct err *e);
void spec_files_done(struct spec_files *f);
/* Removes the list; missing is no error. */
void spec_files_remove(const char *data, const char *id);
