/* tar.h - the tar stream: pax through libarchive, written member by member with exact offsets.
 *
 * Floor 2. Nanosecond times, xattrs, ACLs, file capabilities, sparse files, hard links, any bytes
 * in names. Only mtime is kept, so that the same input gives the same bytes. A member with a name
 * that is not ASCII carries hdrcharset=BINARY: readers then take the bytes as they are (without it
 * libarchive converts and normalizes them); GNU tar does not know that keyword and says so for such
 * members, and takes them as they are anyway. Not here: reading files, hashing. One thread a
 * writer. */
#pragma once

#include "base.h"
#include "err.h"

#include <sys/stat.h>

struct tar_writer;

typedef int (*tar_sink_fn)(void *ctx, const void *data, size_t len, struct err *e);

/* An error of the sink comes out of the call that wrote, code and words unchanged; after it the
 * only call that makes sense is tar_writer_free(). */
int tar_writer_new(tar_sink_fn sink, void *ctx, struct tar_writer **ret, struct err *e);
/* Writes nothing: a stream without tar_finish() stays without its end. */
void tar_writer_free(struct tar_writer *w);
DEFINE_CLEANUP(tar_writer_free, struct tar_writer *)
/* Bytes given to the sink so far: everything that was handed in, at once. */
uint64_t tar_offset(const struct tar_writer *w);

struct tar_member {
        const char *path;      /* in the archive */
        const struct stat *st; /* type, mode, owner, size, times */
        int fd;                /* to read xattrs, ACLs and holes from; -EBADF for none */
        const char *link;      /* target of a symlink, or NULL */
        const char *hardlink;  /* path of the member that has the content, or NULL; then no data
                                  follows */
};
/* Writes the header. What the filesystem does not let us read of xattrs or ACLs is left out and
 * counted in *ret_lost (NULL allowed). Moves the file offset of fd nowhere. -EINVAL for what is not
 * a file, folder or link. */
int tar_begin(struct tar_writer *w, const struct tar_member *m, unsigned *ret_lost, struct err *e);
/* Exactly st->st_size bytes in all (holes included, as zeros) must follow a regular file's header.
 * -EINVAL for more than that. -ERESTART for bytes other than zero where tar_begin() found a hole:
 * the archive has no place for them, the file has changed; look at tar_next() to do better. */
int tar_data(struct tar_writer *w, const void *data, size_t len, struct err *e);
/* How many of the next bytes are alike, a hole or data; 0 at the member's end. Holes need not be
 * read: give and hash zeros, and seek over them. What a file has got there since
 * then is a change like any other. */
uint64_t tar_next(const struct tar_writer *w, bool *ret_hole);
/* -EINVAL if the count was wrong. */
int tar_end(struct tar_writer *w, struct err *e);
/* The end-of-archive blocks: 1,024 zero bytes. */
int tar_finish(struct tar_writer *w, struct err *e);
