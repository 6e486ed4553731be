/* engine.h - the facade: opens everything in order, runs and adopts jobs, closes in reverse.
 *
 * Floor 6. What fs/ and tools/ use. Any thread may call any function; each call that touches the
 * catalogue uses a connection of its own. Never prints, never exits. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct buf;
struct catalog;
struct config;
struct engine;
struct keyring;
struct staging;

enum engine_mode {
        ENGINE_READ,  /* looks only: no folder is made, no store touched. -ENOENT: nothing here yet
                       */
        ENGINE_WORK,  /* makes the data folder; may run jobs */
        ENGINE_MOUNT, /* as WORK, and holds the mount lock: -EBUSY if another mount of this data
                         folder lives, naming its mountpoint */
};

/* `mountpoint` (absolute) only with ENGINE_MOUNT. Recovers what a crash left: gives staging folders
 * without a row one, finishes or undoes half-made freezes. Takes nothing of `config`, which must
 * outlive the engine. */
int engine_open(const struct config *config, enum engine_mode mode, const char *mountpoint,
        struct engine **ret, struct err *e);
/* Stops workers at the next safe point (a second or so) and waits. Jobs stay resumable. */
void engine_close(struct engine *g);
DEFINE_CLEANUP(engine_close, struct engine *)

/* Asks whatever this engine runs to end at the next safe point, engine_run() too, which then
 * returns -ECANCELED. For good. Jobs stay resumable. */
void engine_stop(struct engine *g);

/* The mountpoint is gone, the process goes on with its jobs: lets go of the mount lock. */
void engine_unmounted(struct engine *g);

const struct config *engine_config(const struct engine *g);
struct staging *engine_staging(struct engine *g);
const char *engine_data(const struct engine *g);
/* A new connection; the caller closes it. */
int engine_catalog(struct engine *g, struct catalog **ret, struct err *e);

/* The private keys. In a mount other programs of the user may use them too, and give passphrases
 * (agent.h), from engine_start() to engine_unmounted(). Lives as long as the engine. */
struct keyring *engine_keyring(struct engine *g);

/* First use: makes keys if none is configured and neither catalogue nor store holds an archive, and
 * the embedded store. Says in words what it made (ret_text, the caller frees it; "" for nothing).
 */
int engine_prepare(struct engine *g, char **ret_text, struct err *e);

/* Starts a thread that runs jobs: adopts every one whose lock is free, also those of other programs
 * that died, and looks again when poked or every few seconds. Threads have signals blocked. */
int engine_start(struct engine *g, struct err *e);
/* Jobs of this data folder that are not finished and could go on now (not failed). */
int engine_pending(struct engine *g, unsigned *ret, struct err *e);
/* Those of them that nobody works on, and that are not to wait any longer. */
int engine_ready(struct engine *g, unsigned *ret, struct err *e);
/* Waits until nothing can go on (all stored, failed or waiting), or `stop` becomes true. At once
 * if no thread runs jobs. */
void engine_drain(struct engine *g, const atomic_bool *stop);

/* Called after any archive's state changed, from a worker thread. For refreshing windows. */
void engine_on_change(struct engine *g, void (*fn)(void *ctx, const char *id), void *ctx);

/* The commit of the staging area (DESIGN section 1). `text` is the description so far, UTF-8, not
 * empty. `busy` is called under the freeze lock: 0, or -EBUSY with the name of an open file.
 * `frozen` is called under the lock after the exchange. Errors as in DESIGN: ENODATA ENOENT EBUSY
 * ENOSPC ENOKEY. Returns at once; the job runs in the background. The caller frees *ret_id. */
struct engine_commit_hooks {
        int (*busy)(void *ctx, struct err *e);
        void (*frozen)(void *ctx, const char *id);
        void *ctx;
};
int engine_commit(struct engine *g, const char *text, size_t len,
        const struct engine_commit_hooks *hooks, char **ret_id, struct err *e);
/* More of the description, until sealed. -EFBIG past 1,024 bytes (what fits is kept). */
int engine_commit_extend(
        struct engine *g, const char *id, const char *text, size_t len, struct err *e);
/* The description is whole: the job may begin. */
int engine_commit_seal(struct engine *g, const char *id, struct err *e);
/* What reading `.commit` shows: what would be archived, what became of the last one. The first
 * lines say how to use it. */
struct buf;
/* `whole`: all that is staged is counted (up to a million entries); else only a little, since a
 * commit asks for the attributes of the file first, and must not wait. What was made within the
 * last second is given again while nothing has changed, so that size and content agree. */
int engine_commit_help(struct engine *g, bool whole, struct buf *ret, struct err *e);
/* Words for the last refusal by this engine, for `.commit` and `.status`; "" when none. */
void engine_note_refusal(struct engine *g, const char *text);
/* Appends that, as a line; nothing when there is none. */
void engine_refusal(struct engine *g, struct buf *ret);

/* A job from explicit files (absolute paths, NULL-terminated): `backup`. */
int engine_backup(struct engine *g, const char *description, const char *const *files,
        char **ret_id, struct err *e);
/* A saved job, by an engine that was opened with the job's own configuration. What it picks is
 * listed when it runs, by its hook too; if that fails, so does the archive, with nothing sent.
 * `description` NULL: the job's, dates filled in. */
struct job;
int engine_job(struct engine *g, const struct job *job, const char *description, char **ret_id,
        struct err *e);
/* The same as engine_backup(), of only what changed since it was stored: by size, time and inode,
 * or with `checksum` by content. */
int engine_backup_changed(struct engine *g, const char *description, const char *const *files,
        bool checksum, char **ret_id, struct err *e);
/* Lets another program (a mount), or this engine's own worker, take the backup made here. */
int engine_detach(struct engine *g, const char *id, struct err *e);
/* For programs that end: a job whose store is away for so long in the middle of an upload is left,
 * waiting, to other programs. 0, and at first: it is waited for without end. Before any job runs.
 */
void engine_set_patience(struct engine *g, int64_t ns);
/* Runs one job in this thread to its end. 0 stored, 1 stored with warnings or incomplete, -EAGAIN
 * it waits, -EBUSY another program runs it, -errno failed; words in e. */
int engine_run(struct engine *g, const char *id, struct err *e);

int engine_retry(struct engine *g, const char *id, struct err *e);
/* -EBUSY stored already (nothing to abort). Stops a running job wherever it runs. */
int engine_abort(struct engine *g, const char *id, struct err *e);

/* The content of a file of a stored archive: fetched, authenticated, compared with its SHA-512,
 * kept in the cache. `member` is its row (a hard link's too). 0: *ret_fd can be read, the caller
 * closes it. 1: fn will be called with `ctx`, once, from another thread, with a descriptor that is
 * the callee's and code 0, or with code -errno and words. Several who wait for one file share one
 * fetch. -EREMOTE it must be asked for (nothing is), -ENOKEY no private key at hand, -EBADMSG
 * damage, which is in the archive's log. `c` is used for the call. */
typedef void (*engine_content_fn)(void *ctx, int fd, int code, const char *why);
int engine_content_open(struct engine *g, struct catalog *c, const char *id, int64_t member,
        engine_content_fn fn, void *ctx, int *ret_fd, struct err *e);
/* Whoever waits with `ctx` waits no more. False: fn has been called, or is about to be. */
bool engine_content_cancel(struct engine *g, const void *ctx);
/* Stops fetching; everybody who waits gets -ECANCELED before this returns. */
void engine_content_end(struct engine *g);

/* keyring_unwrap() with the keyring of the engine, which is ctx. */
int engine_unwrap(void *ctx, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e);

/* Restores as records (catalog_restore.h): accepted at once, brought to their end by whatever
 * program runs, in threads of their own beside the jobs. */
struct catalog_restore;
struct engine_restore_wish {
        const char *id;     /* of the archive */
        const char *tier;   /* NULL: RESTORE_TIER */
        const char *paths;  /* each ended by a zero byte; */
        size_t paths_len;   /* 0: everything */
        const char *target; /* folder; NULL: the cache, to be read below files/ */
        bool overwrite;
        double max_price; /* USD that it may cost; below 0: COST_LIMIT */
};
/* -ENOENT a path is not in the archive; -EINVAL not stored, no such tier; -EDQUOT it costs more
 * than it may: the words have the price. *ret_old (NULL allowed): the same was asked for before and
 * is on its way. */
int engine_restore(struct engine *g, const struct engine_restore_wish *w, int64_t *ret_row,
        bool *ret_old, struct err *e);
/* What somebody wrote into `.restore` (thaw_words_parse()), or "cancel". */
int engine_restore_write(
        struct engine *g, const char *id, const char *text, size_t len, struct err *e);
/* What reading `.restore` shows. */
int engine_restore_help(
        struct engine *g, struct catalog *c, const char *id, struct buf *ret, struct err *e);
/* What would be fetched, how long each tier takes, what it costs. Asks the store nothing. */
int engine_restore_quote(
        struct engine *g, const struct engine_restore_wish *w, struct buf *ret, struct err *e);
/* All restores of an archive that are on their way or ready; how many that were (NULL allowed). */
int engine_restore_cancel(struct engine *g, const char *id, size_t *ret_n, struct err *e);
/* A single one. */
int engine_restore_cancel_one(struct engine *g, int64_t row, struct err *e);
/* Works on one in this thread, or watches the program that does: as far as it goes now, or with
 * `wait` until it is over. `show` is called once a second, and while it is fetched a few times
 * a second; the store is looked at as seldom as a mount does it. The caller calls
 * catalog_restore_done() on *ret. */
int engine_restore_run(struct engine *g, int64_t row, bool wait,
        void (*show)(void *ctx, const struct catalog_restore *r), void *ctx,
        const atomic_bool *stop, struct catalog_restore *ret, struct err *e);
