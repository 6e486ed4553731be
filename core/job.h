/* job.h - saved jobs: what to archive, how it is picked, under which configuration.
 *
 * Floor 4. A job is a JSON file, jobs/NAME.json beside CONFIG.json or anywhere, of these keys, all
 * optional but `files` or `list_of_globs` or a hook must be there (autoglacier-job(5)):
 *
 *   CONFIG             a dictionary laid over the configuration, whole or in part
 *   files              list of paths; "~", "$HOME"; relative ones begin where the job's file lies
 *   list_of_globs      list of patterns (glob.h); one that finds nothing is a warning
 *   description        text with the % dates of strftime(3); the job's name if there is none
 *   gather_hook        a program, or a list of it and its arguments (job_hook.h)
 *   gather_hook_limit  its time limit, seconds or "10m"; 10 minutes
 *   changed_only, checksum   true: only what changed since it was stored (changed.h)
 *
 * Every mistake is named with file, line and key. Not here: running a job (engine.h). A job is
 * immutable once loaded; threads may share it. */
#pragma once

#include "base.h"
#include "err.h"

struct buf;
struct config;

struct job {
        char *name; /* "photos" of photos.json */
        char *file; /* absolute */
        struct config *config;
        char **files; /* absolute; NULL-terminated, never NULL */
        char **globs; /* likewise */
        char *description;
        char **hook; /* argv, NULL-terminated; NULL: none */
        int64_t hook_limit_ns;
        bool changed_only, checksum;
};

/* `what` is a name (jobs/WHAT.json), or a file if it holds a '/' or ends in ".json". `config_file`
 * as in config_load(). */
int job_load(const char *what, const char *config_file, struct job **ret, struct err *e);
/* The job that an archive was made from, read again: `spec` and `config_file` of its row. *ret is
 * NULL if it was made from none. */
int job_load_again(const char *spec, const char *config_file, struct job **ret, struct err *e);
/* What an archive's row has to say of it. The caller frees it. NULL when out of memory. */
char *job_spec(const struct job *j);
void job_free(struct job *j);
DEFINE_CLEANUP(job_free, struct job *)

/* The names of the jobs in the folder of jobs, sorted. No folder, no jobs. */
int job_each(const struct config *config, int (*each)(void *ctx, const char *name, struct err *e),
        void *ctx, struct err *e);

/* The description for an archive of `now`: dates filled in; 1,024 bytes at most. */
int job_description(const struct job *j, int64_t now, struct buf *ret, struct err *e);

/* What the job picks, one after the other, unsorted: files and what the globs find, without the
 * hook. `warn`: a pattern that found nothing. Stops at what a callback returns. */
struct job_visitor {
        int (*path)(void *ctx, const char *path, struct err *e);
        int (*warn)(void *ctx, const char *text, struct err *e);
        void *ctx;
};
int job_pick(const struct job *j, const struct job_visitor *v, struct err *e);

/* Picks, lets the hook change the list, and keeps the result as the list of archive `id`
 * (spec.h). -EINVAL and the like with words when the hook failed; -ENODATA nothing was picked; then
 * there is no list. `log`: what the hook said, a line a time. `tick` as in child.h. */
struct job_gather {
        const char *data; /* data folder */
        const char *id;
        int (*warn)(void *ctx, const char *text, struct err *e);
        int (*log)(void *ctx, const char *text, struct err *e);
        int (*tick)(void *ctx, struct err *e);
        void *ctx;
};
int job_gather(const struct job *j, const struct job_gather *g, struct err *e);
