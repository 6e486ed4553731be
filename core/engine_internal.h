/* engine_internal.h - shared by the engine_*.c files and nobody else. */
#pragma once

#include "engine.h"

#include "agent.h"
#include "buf.h"
#include "catalog.h"

#include <pthread.h>
#include <stdatomic.h>

/* A commit or backup made here whose lock this engine holds until the job has been begun. */
struct held {
        struct held *next;
        char *id;
        int lock;
        struct buf text; /* description so far */
        bool sealed;
};

struct engine {
        const struct config *config;
        enum engine_mode mode;
        char *mountpoint; /* or NULL */
        struct staging *staging;
        int data_fd, locks_fd, mount_lock;

        pthread_mutex_t lock; /* held, poked, idle, refusal, help */
        pthread_cond_t cond;
        struct held *held;
        bool poked;
        bool idle; /* the worker has looked at everything and nothing could go on */
        struct buf refusal;
        struct buf help; /* the last help text, for a second or two */
        int64_t help_made;
        uint64_t help_changes; /* staging_changes() when it was made */
        bool help_whole;       /* it counts everything */

        struct content_service *content; /* or NULL until it is needed */
        struct keyring *keyring;
        struct agent *agent; /* only in a mount */

        pthread_t restorers[2]; /* a long fetch leaves one for the others */
        unsigned n_restorers;
        unsigned restore_news; /* under `lock`: counts what restores may want to look at */

        pthread_t worker;
        bool started;
        atomic_bool stop;
        atomic_bool news; /* poked, or stopped: what can wait gives way */

        int64_t patience_ns; /* with a store that is away; 0: no end of it */

        void (*on_change)(void *ctx, const char *id);
        void *on_change_ctx;
};

/* engine_agent.c */
void agent_open(struct engine *g);

/* engine_jobs.c */
/* -EAGAIN: somebody runs it. */
int jobs_lock(struct engine *g, const char *id, int *ret_fd, struct err *e);
void jobs_unlock(int fd);
/* The same where no program will ever look for the job again: its file goes, too. */
void jobs_over(struct engine *g, const char *id, int fd);
void jobs_poke(struct engine *g);
/* An archive is not as it was: tells engine_on_change()'s function. `ctx` is the engine. */
void jobs_changed(void *ctx, const char *id);
/* *ret NULL: the engine's own. */
int jobs_config(
        struct engine *g, struct catalog *c, const char *id, struct config **ret, struct err *e);

/* engine_rows.c: the row of a new job, and the same as JSON beside a frozen tree */
int rows_new(struct engine *g, struct catalog *c, const char *text, struct catalog_archive *ret,
        struct err *e);
char *rows_to_json(const struct catalog_archive *a);
int rows_from_json(const char *json, struct catalog_archive *ret, struct err *e);

/* engine_recover.c */
int recover_staging(struct engine *g, struct catalog *c, struct err *e);

/* engine_content.c */
void content_service_free(struct engine *g);
struct cache;
/* Borrowed for the life of the engine. */
int content_cache(struct engine *g, struct cache **ret, struct err *e);

/* engine_source.c: archives that are open for reading, kept a while since neighbours often follow
 */
struct content;
struct source {
        struct config *config; /* of its job, or NULL */
        struct catalog *catalog;
        struct store *store;
        struct catalog_archive a;
        struct content *content;
        int64_t used; /* monotonic */
};
struct sources;
/* After *stop nothing is kept any more. */
int sources_new(struct engine *g, const atomic_bool *stop, struct sources **ret, struct err *e);
void sources_free(struct sources *k);
/* The caller's until it is given back: one that has the member's block, another of that archive, or
 * a new one. */
int sources_take(struct sources *k, const char *id, const struct catalog_member *m,
        struct source **ret, struct err *e);
void sources_give(struct sources *k, struct source *s);
/* Closes those that nobody used since `before` (monotonic ns). */
void sources_drop(struct sources *k, int64_t before);

/* engine_restore.c */
#define RESTORES_LOOK_NS (5ll * 1000000000)
void restores_start(struct engine *g);
void restores_join(struct engine *g); /* after `stop` */
void restores_key_came(struct engine *g);

/* engine_held.c */
struct held *held_find(struct engine *g, const char *id); /* under the lock */
int held_add(struct engine *g, const char *id, int lock, const char *text, size_t len);
int held_take(struct engine *g, const char *id); /* its lock's descriptor, or -ENOENT */
void held_drop_all(struct engine *g);
