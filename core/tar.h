/* tar.h - the tar stream: pax through libarchive, written member by member with exact offsets.
 *
 * Floor 2. Nanosecond times, xattrs, ACLs, file capabilities, sparse files, hard links, any bytes in
 * names (hdrcharset=BINARY, SCHILY.xattr). Not here: reading files, hashing. One thread a writer. */
#pragma once

#include "base.h"
#include "err.h"

#include <sys/stat.h>

struct tar_writer;

typedef int (*tar_sink_fn)(void *ctx, const void *data, size_t len, struct err *e);

int tar_writer_new(tar_sink_fn sink, void *ctx, struct tar_writer **ret, struct err *e);
void tar_writer_free(struct tar_writer *w);
DEFINE_CLEANUP(tar_writer_free, struct tar_writer *)
/* Bytes given to the sink so far. */
uint64_t tar_offset(const struct tar_writer *w);

struct tar_member {
        const char *path;       /* in the archive */
        const struct stat *st;  /* type, mode, owner, size, times */
        int fd;                 /* to read xattrs, ACLs and holes from; -EBADF for none */
        const char *link;       /* target of a symlink, or NULL */
        const char *hardlink;   /* path of the member that has the content, or NULL; then no data follows */
};
/* Writes the header. What the filesystem does not let us read of xattrs or ACLs is left out and
 * counted in *ret_lost (NULL allowed). */
int tar_begin(struct tar_writer *w, const struct tar_member *m, unsigned *ret_lost, struct err *e);
/* Exactly st->st_size bytes in all (holes included, as zeros) must follow a regular file's header. */
int tar_data(struct tar_writer *w, const void *data, size_t len, struct err *e);
/* -EINVAL if the count was wrong. */
int tar_end(struct tar_writer *w, struct err *e);
/* The end-of-archive blocks: 1,024 zero bytes. */
int tar_finish(struct tar_writer *w, struct err *e);
