/* spool.h - sealed volumes on their way: durable on our disk until the store has confirmed them.
 *
 * Floor 3. One file a volume, DATA/spool/ID-0001.esdk, grown part by part. The bytes are sealed
 * already: nothing here is secret. Not here: what is recorded of them, sending, stores that are
 * written in place.
 *
 * spool_read() and spool_used() from any thread; spool_begin() and spool_write() from one. */
#pragma once

#include "base.h"
#include "err.h"

struct spool;

/* The spool of archive `id` in the folder DATA/spool, which must be there. */
int spool_open(const char *data, const char *id, struct spool **ret, struct err *e);
/* Leaves the files. */
void spool_close(struct spool *s);
DEFINE_CLEANUP(spool_close, struct spool *)

/* An empty file for the volume; what an unfinished one left is dropped. */
int spool_begin(struct spool *s, unsigned volume, struct err *e);
/* Durable when it returns. -ENOSPC leaves the file as it was before. */
int spool_write(struct spool *s, unsigned volume, const void *data, size_t len, uint64_t offset,
        struct err *e);
/* Exactly `len` bytes. -EBADMSG if the file is gone or too short. */
int spool_read(
        struct spool *s, unsigned volume, void *data, size_t len, uint64_t offset, struct err *e);
/* Whether the file is there with exactly `size` bytes. */
bool spool_holds(struct spool *s, unsigned volume, uint64_t size);
/* Missing is no error. */
void spool_remove(struct spool *s, unsigned volume);
/* Removes every volume of the archive. */
void spool_clear(struct spool *s);

/* Bytes in the whole folder, of all archives and programs. */
uint64_t spool_used(struct spool *s);
/* Whether the disk has room for `len` more bytes and a little for the catalogue. */
bool spool_has_room(struct spool *s, uint64_t len);
