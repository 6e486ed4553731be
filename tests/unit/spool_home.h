/* spool_home.h - for tests of commits through the spool: a set-up of its own whose store is one of
 * store_spooling.h, whatever the URL says.
 *
 * Link with -Wl,--wrap=stores_open. $T is the set-up's folder, $T/remote the store's. */
#pragma once

#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "err.h"
#include "tree.h"

struct home {
        char path[64];
        struct config *config;
        struct engine *engine;
};

/* Two volumes and a bit for 50 MB. */
#define HOME_SMALL ", \"VOLUME_SIZE\": \"20MiB\", \"SPOOL_LIMIT\": \"40MiB\""

/* For cmocka: one key pair for all tests, since making one takes a second; a fresh set-up each. */
int home_make_keys(void **state);
int home_remove_keys(void **state);
int home_setup(void **state);
int home_teardown(void **state);

void home_open(struct home *h);
void home_close(struct home *h);
/* Opens it anew with more keys in its configuration: `, "KEY": VALUE`. */
void home_configure(struct home *h, const char *more);
/* Likewise, with HOME_SMALL and a daily window that opens in two hours. */
void home_shut_window(struct home *h);

/* Fails the test with the words of the error. */
void home_must(int q, const struct err *e);

/* So many files of 1 MB in $T/src, and a copy of them in the staging area. */
void home_stage(unsigned megabytes);
/* What is staged becomes a job, which nobody runs yet; its id. */
char *home_commit(struct home *h);
/* True if it is in that state and its error holds `what`. */
bool home_is(struct home *h, const char *id, enum archive_state s, const char *what);
/* Waits for that, two minutes at most. */
bool home_wait(struct home *h, const char *id, enum archive_state s, const char *what);
/* Runs the job here; it must be stored in the end. */
void home_run(struct home *h, const char *id);
/* For pthread_create(): runs a job and keeps what came of it. */
struct home_job {
        struct home *h;
        const char *id;
        int result;
        struct err e;
};
void *home_run_job(void *job);
/* Runs the job in a child that dies at a crash point. */
void home_run_killed(struct home *h, const char *id, const char *where);
/* False, with a word about it, where this build has no crash points. */
bool home_has_crash_points(void);

/* Restores everything into $T/back. */
void home_restore(struct home *h, const char *id);
/* Nothing stays behind: neither in the spool, nor in the staging area, nor as an upload. */
void home_is_clean(void);
/* Both, and what comes back is $T/src. */
void home_check_stored(struct home *h, const char *id);
