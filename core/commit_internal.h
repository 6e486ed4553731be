/* commit_internal.h - one run of a commit, shared by the commit_*.c files and nobody else.
 *
 * Threads: the caller's thread walks, reads and feeds the tar, and hashes what is not worth handing
 * over; pack's output thread calls the volume sink. Both use the one catalogue connection, under
 * `lock`. Where the store is reached over a network, the sender's threads and a watching one share
 * another, under `watch.side_lock`.
 */
#pragma once

#include "commit.h"

#include "catalog.h"
#include "keys.h"
#include "pack.h"
#include "window.h"

#include <openssl/evp.h>
#include <pthread.h>

struct changed;
struct expect;
struct gather_entry;
struct keys_public;
struct sender;
struct spool;
struct store;
struct store_upload;
struct tar_writer;

struct record_row {
        struct catalog_member m; /* strings are copies */
        struct pack_hash *hash;  /* where it is still being found out */
        uint8_t sum[64];
        bool whole; /* nothing is missing */
        bool has_sum;
        uint64_t head_len; /* what tar_len is as long as it is not */
};

/* Member rows wait here, so that transactions are short and other writers never wait long: for each
 * other, and for their hash. */
struct record {
        struct record_row *rows;
        size_t n, room;
        size_t enough; /* so many are worth a transaction */
        size_t bytes;
        struct catalog_member open; /* the member whose content is being read; path NULL: none */
};

/* What the walk has to know of the archive's recorded phases: columns of the `spec` JSON. */
struct phases {
        uint64_t walked;   /* tar offset at which the walk ended; UINT64_MAX: it has not */
        uint64_t manifest; /* tar offset of the manifest's header; UINT64_MAX: not begun */
};

/* What happens beside the run, when the store is reached over a network: commit_watch.c. */
struct watch {
        pthread_t thread;
        bool running;
        bool hurry;       /* gives up soon where nothing comes of it */
        atomic_bool halt; /* given to the store: stopped, or taken back */
        struct rate rate; /* UPLOAD_RATE_LIMIT */
        atomic_int state; /* what the row says when nothing is in the way */

        pthread_mutex_t lock; /* the following */
        pthread_cond_t end;
        bool ending;
        struct err why;       /* code 0: nothing is in the way */
        bool planned;         /* only the daily window is */
        int64_t since, alive; /* monotonic: of the trouble, of the last success */
        int64_t next;         /* wall clock: the next try */

        pthread_mutex_t side_lock; /* the following */
        struct catalog *side;
        bool shown; /* the row says what is in the way */
        char text[ERR_TEXT_MAX];
        int64_t counted;
        uint64_t counted_bytes, rate_now;
};

struct run {
        const struct commit_env *env;
        struct catalog *catalog;
        pthread_mutex_t lock; /* catalogue connection and record */
        struct catalog_archive a;
        struct record record;

        struct store *store;
        struct keys_public_list recipients;

        /* The volume that is being made: only the sink's thread. */
        struct store_upload *upload;
        char *object;
        atomic_uint_fast64_t sent; /* bytes of finished parts; with a spool, of confirmed volumes */
        int64_t written;           /* when the manifest was, ns */

        /* Only where the store is reached over a network. */
        struct watch watch;
        struct spool *spool;
        struct sender *sender; /* set under watch.side_lock */
        bool littering;        /* a note in the catalogue says that uploads may be left */

        struct pack *pack;
        struct tar_writer *tar;
        uint64_t base;       /* tar offset at which `tar` began */
        uint64_t skip_until; /* bytes of the stream before this are in finished volumes */
        uint64_t cut;        /* where this run began */
        struct phases phases;

        uint8_t *chunk;         /* read buffer */
        struct pack_hash *hash; /* of the member that is being read, where the pipeline hashes it */
        EVP_MD_CTX *sha;        /* else here */
        EVP_MD *sha512;         /* looking it up takes as long as hashing a small file */
        uint64_t head_len;      /* of the header of that member */
        uint64_t delivered;     /* bytes that `tar` has given so far */
        struct catalog_member
                replay;          /* the last member before the cut; path NULL: none, or done with */
        struct changed *changed; /* NULL: everything is archived */
        struct expect *expect;   /* NULL: nothing is being counted */
        bool lost;               /* of the member read last, attributes could not be read */
        bool resume_at;          /* the cut lies in `replay`: its bytes are made once more */
        uint64_t outside;        /* symlinks that lead outside the archive */
        int64_t ticked;          /* monotonic time of the last progress report */
        uint64_t ticked_bytes;
        atomic_bool aborted; /* the user wants it back */
};

/* commit_record.c */
/* Takes r->hash, if there is one: the row waits until it is known. */
int record_add(struct run *r, const struct catalog_member *m, struct err *e);
int record_open(struct run *r, const struct catalog_member *m, struct err *e);
void record_close(struct run *r); /* there will be no row of the member that is being read */
/* Writes the rows that wait to the catalogue. What is not whole, the open member and those whose
 * hash is not known, stays, and is written as far as it goes where it begins before `until`. */
int record_flush(struct run *r, uint64_t until, struct err *e);
void record_done(struct run *r);

/* commit_expect.c: how much there is to read is found out beside the walk, which never waits for it
 */
struct gather_params;
void expect_begin(struct run *r, const struct gather_params *walk); /* borrows it until the end */
uint64_t expect_bytes(const struct run *r);                         /* 0: not known (yet) */
uint64_t expect_tar(const struct run *r); /* where the walk's tar will end, likewise */
void expect_end(struct run *r);

/* commit_volumes.c */
int volumes_open(struct run *r, struct err *e); /* store, recipients, finished volumes; sets cut */
int volumes_pack(struct run *r, struct err *e); /* the pipeline, ready at `cut` */
int volumes_put_manifest(struct run *r, struct err *e); /* the manifest as an object of its own */
int volumes_forget(struct run *r, struct err *e);       /* removes everything sent so far */
int volumes_restart(struct run *r, struct err *e); /* likewise, after the rows that tell of it */
int volumes_sealed(struct run *r, uint64_t *ret, struct err *e); /* bytes of all volumes */
void volumes_sweep(struct run *r);                               /* uploads that nobody wants */
void volumes_close(struct run *r);
uint64_t run_volume_max(const struct run *r); /* bytes of a sealed volume */
/* Its name in run.object, and its row: the intention, before bytes move. */
int run_volume_begin(struct run *r, unsigned number, uint64_t tar_start, struct err *e);
struct catalog_volume run_volume_row(const struct run *r, const struct pack_volume *v);

/* commit_spool.c */
int spooling_open(struct run *r, const struct catalog_volume *v, size_t n,
        struct err *e); /* sends what earlier runs packed; moves the cut behind it */
void spooling_sink(struct pack_sink *sink);
int spooling_drain(struct run *r, struct err *e); /* until all that is packed is confirmed */
void spooling_close(struct run *r);
void spooling_clear(struct run *r); /* nothing of this archive stays in the spool */
uint64_t run_sent(struct run *r);   /* bytes that the store has confirmed */

/* commit_watch.c */
void watch_init(struct run *r);
int watch_start(struct run *r, bool hurry, struct err *e);
void watch_state(struct run *r, enum archive_state s); /* the run has written this state */
void watch_trouble(void *ctx, const struct err *why, int64_t wait_ns); /* ctx: the run */
/* Whether the run should leave the store alone for now: nothing has been sent for a minute and
 * other jobs wait, or for longer than the caller's patience. *ret_why is what is in the way. */
bool watch_gives_way(struct run *r, struct err *ret_why);
void watch_stop(struct run *r);
void watch_done(struct run *r);

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
        struct err *e); /* -ERESTART: cannot be continued */
int member_tar_open(
        struct run *r, uint64_t base, struct err *e); /* a tar writer into the pipeline */

/* commit_walk.c: which members, in which order */
int walk_begin(struct run *r, struct err *e);    /* finds the member in which the cut lies */
int walk_all(struct run *r, struct err *e);      /* everything once, from the cut on */
int walk_again(struct run *r, struct err *e);    /* what changed while it was read */
int walk_manifest(struct run *r, struct err *e); /* the last member, and the end of the tar */

char *manifest_path(const struct run *r); /* of the tar's copy, while the archive is not stored */

/* commit_changed.c: what is stored already, and has not changed, is left where it is. Ranges of it
 * are written with the rows of members, under the lock. */
int changed_begin(struct run *r, struct err *e); /* notes what the archive is made from */
int changed_resume(struct run *r, uint64_t at, struct err *e); /* forgets what came after */
int changed_flush(struct run *r, struct err *e);               /* under the lock */
int changed_end(struct run *r, struct err *e); /* -ERESTART: an archive it relies on is gone */
void changed_done(struct run *r);
/* 1: unchanged and noted. A file before it is opened (a gather_visitor's), and any entry. */
int changed_pass_file(void *ctx, const char *path, const struct stat *st, struct err *e);
int changed_pass(struct run *r, const struct gather_entry *g, struct err *e);
bool changed_is_settled(const struct stat *st, int64_t now);

/* commit_job.c */
int job_list(struct run *r, struct err *e); /* what a saved job picks, if it has not been listed */

/* commit_log.c: the entry in JSON_DATABASE. Trouble with the log is a warning; only -ECANCELED,
 * -ENOMEM and trouble with the catalogue end the run. */
int log_begin(struct run *r, struct err *e);             /* once, when it begins to run */
int log_grow(struct run *r, bool stored, struct err *e); /* everything is read; it is stored */

/* commit_phases.c */
int phases_load(struct run *r, struct err *e);
int phases_save(struct run *r, struct err *e);

/* commit_release.c */
int release_tree(struct run *r, struct err *e); /* stored: only what was not archived goes back */
int release_back(struct run *r, struct err *e); /* taken back: all of it goes back */

/* commit.c */
uint64_t run_position(const struct run *r); /* in the tar stream */
int run_tick(struct run *r, struct err *e); /* progress, and -ECANCELED when told to stop */
void run_changed(struct run *r);            /* others look at the row again */
int run_event(struct run *r, char level, const char *fmt, ...) _printf_(3, 4);
