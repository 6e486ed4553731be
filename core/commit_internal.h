/* commit_internal.h - one run of a commit, shared by the commit_*.c files and nobody else.
 *
 * Threads: the caller's thread walks, reads, hashes and feeds the tar; pack's output thread calls
 * the volume sink. Both use the one catalogue connection, under `lock`. */
#pragma once

#include "commit.h"

#include "catalog.h"
#include "pack.h"

#include <pthread.h>

struct gather_entry;
struct keys_public;
struct store;
struct store_upload;
struct tar_writer;

/* Member rows wait here, so that transactions are short and other writers never wait long. */
struct record {
        struct catalog_member *rows; /* strings and hashes are copies */
        size_t n;
        size_t bytes;
        struct catalog_member open; /* the member whose content is being read; path NULL: none */
};

/* What the walk has to know of the archive's recorded phases: columns of the `spec` JSON. */
struct phases {
        uint64_t walked;   /* tar offset at which the walk ended; UINT64_MAX: it has not */
        uint64_t manifest; /* tar offset of the manifest's header; UINT64_MAX: not begun */
};

struct run {
        const struct commit_env *env;
        struct catalog *catalog;
        pthread_mutex_t lock; /* catalogue connection and record */
        struct catalog_archive a;
        struct record record;

        struct store *store;
        struct keys_public **recipients; /* NULL-terminated */
        size_t n_recipients;

        /* The volume that is being made: only the sink's thread. */
        struct store_upload *upload;
        char *object;
        atomic_uint_fast64_t sent; /* bytes of finished parts */

        struct pack *pack;
        struct tar_writer *tar;
        uint64_t base;       /* tar offset at which `tar` began */
        uint64_t skip_until; /* bytes of the stream before this are in finished volumes */
        uint64_t cut;        /* where this run began */
        struct phases phases;

        uint8_t *chunk;     /* read buffer */
        uint64_t delivered; /* bytes that `tar` has given so far */
        struct catalog_member
                replay;   /* the last member before the cut; path NULL: none, or done with */
        bool resume_at;   /* the cut lies in `replay`: its bytes are made once more */
        uint64_t outside; /* symlinks that lead outside the archive */
        int64_t ticked;   /* monotonic time of the last progress report */
        uint64_t ticked_bytes;
        atomic_bool aborted; /* the user wants it back */
};

/* commit_record.c */
int record_add(struct run *r, const struct catalog_member *m, struct err *e);
int record_open(struct run *r, const struct catalog_member *m, struct err *e);
void record_close(struct run *r);
/* Writes all rows that wait to the catalogue; with `until` > the open member's offset that one too.
 */
int record_flush(struct run *r, uint64_t until, struct err *e);
void record_done(struct run *r);

/* commit_volumes.c */
int volumes_open(struct run *r, struct err *e); /* store, recipients, finished volumes; sets cut */
int volumes_pack(struct run *r, struct err *e); /* the pipeline, ready at `cut` */
int volumes_put_manifest(struct run *r, struct err *e); /* the manifest as an object of its own */
int volumes_forget(struct run *r, struct err *e);       /* removes everything sent so far */
void volumes_close(struct run *r);

/* commit_member.c: one member: header, content in one read, hash, row */
struct member_source {
        const char *path; /* in the archive */
        const struct stat *st;
        int fd;
        const char *link;
        const char *source; /* where it really is, for the list of what is read again; or NULL */
        bool second;        /* it is the second reading: kept as read */
};
enum { MEMBER_OK = 0, MEMBER_CHANGED = 1, MEMBER_UNREADABLE = 2 };
int member_add(struct run *r, const struct member_source *m,
        struct err *e); /* -ESTALE: cannot be continued */
int member_tar_open(
        struct run *r, uint64_t base, struct err *e); /* a tar writer into the pipeline */

/* commit_walk.c: which members, in which order */
int walk_begin(struct run *r, struct err *e);    /* finds the member in which the cut lies */
int walk_all(struct run *r, struct err *e);      /* everything once, from the cut on */
int walk_again(struct run *r, struct err *e);    /* what changed while it was read */
int walk_manifest(struct run *r, struct err *e); /* the last member, and the end of the tar */

/* commit_job.c */
int job_list(struct run *r, struct err *e); /* what a saved job picks, if it has not been listed */

/* commit_phases.c */
int phases_load(struct run *r, struct err *e);
int phases_save(struct run *r, struct err *e);

/* commit_release.c */
int release_tree(struct run *r, struct err *e); /* stored: only what was not archived goes back */
int release_back(struct run *r, struct err *e); /* taken back: all of it goes back */

/* commit.c */
int run_tick(struct run *r, struct err *e); /* progress, and -ECANCELED when told to stop */
int run_event(struct run *r, char level, const char *fmt, ...) _printf_(3, 4);
