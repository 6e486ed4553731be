/* io.h - file input and output that is complete or an error, and durable when it says so.
 *
 * Floor 1. Every call may block on the disk. Any thread. All descriptors are opened O_CLOEXEC. */
#pragma once

#include "base.h"
#include "buf.h"
#include "err.h"

/* Read or write all of `len` bytes, over EINTR and short counts. io_read_* return the number of
 * bytes read, less than `len` only at the end of the file, or -errno; io_write_* 0 or -errno. */
ssize_t io_read_full(int fd, void *data, size_t len);
ssize_t io_pread_full(int fd, void *data, size_t len, uint64_t offset);
int io_write_full(int fd, const void *data, size_t len);
int io_pwrite_full(int fd, const void *data, size_t len, uint64_t offset);

/* A whole small file. -EFBIG if it is larger than `max` bytes. */
int io_read_file(int dirfd, const char *path, size_t max, struct buf *ret, struct err *e);

/* Writes path.tmp beside it, fsyncs, renames over `path`, fsyncs the folder: after a crash the old
 * or the new content is there, whole. */
int io_write_file(
        int dirfd, const char *path, mode_t mode, const void *data, size_t len, struct err *e);

/* fsync of the folder that holds `path` (relative to dirfd). 0 or -errno. */
int io_sync_parent(int dirfd, const char *path);

/* mkdir -p with `mode` for the folders it makes. Existing ones are left as they are. */
int io_mkdir_p(const char *path, mode_t mode, struct err *e);

/* Removes a tree below dirfd, itself included, never following a link or leaving the filesystem it
 * starts on; folders without owner permission are opened up first. Of any depth, on few
 * descriptors. Missing is no error. */
int io_remove_tree(int dirfd, const char *name, struct err *e);

/* Bytes that an ordinary user may still write on the filesystem of fd; UINT64_MAX if unknown. */
uint64_t io_free_bytes(int fd);

/* A path from parts joined with '/'. The caller frees it. NULL when out of memory. */
char *io_join(const char *a, const char *b);

/* A lock file: made if missing, locked with an open-file-description write lock until the
 * descriptor is closed. -EAGAIN if somebody else holds it. The file stays; who holds the lock may
 * remove it. */
int io_lock_file(int dirfd, const char *name, int *ret_fd, struct err *e);
