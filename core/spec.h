/* spec.h - what a job gathers: the list of files behind a `backup` or a saved job.
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
/* Removes the list, also one that was cut off while it was written; missing is no error. */
void spec_files_remove(const char *data, const char *id);
/* Calls `each` with the job's id for every list that is there, whole or not. Stops when it returns
 * other than 0, and returns that. */
int spec_files_each(const char *data, int (*each)(void *ctx, const char *id, struct err *e),
        void *ctx, struct err *e);
bool spec_files_exist(const char *data, const char *id);

/* The same as a stream: memory does not grow. The list is there, whole, when _commit() returns, and
 * not before; it takes the place of one that was there. */
struct spec_writer;
int spec_writer_new(const char *data, const char *id, struct spec_writer **ret, struct err *e);
int spec_writer_add(struct spec_writer *w, const char *path, struct err *e);
/* How many paths have been added. */
uint64_t spec_writer_count(const struct spec_writer *w);
int spec_writer_commit(struct spec_writer *w, struct err *e);
/* Without _commit() before: nothing is left. */
void spec_writer_free(struct spec_writer *w);
DEFINE_CLEANUP(spec_writer_free, struct spec_writer *)
