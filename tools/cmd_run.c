#include "commands.h"

#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "first.h"
#include "job.h"
#include "order.h"

static const struct cli_option options[] = {
        {"message", 'm', "TEXT", "a description in place of the job's", false},
        {"detach", 'd', NULL, "return when it is queued; a mount, or the next command, does it",
                false},
        ORDER_OPTIONS,
        {"list", 'l', NULL, "only print the names of the saved jobs", false},
        {0},
};

static int print_name(void *ctx _unused_, const char *name, struct err *e _unused_)
{
        (void)printf("%s\n", name);
        return 0;
}

static int list(struct cli *cli)
{
        struct err e = {0};
        int q = cli_config(cli, &e);
        if (q == 0)
                q = job_each(cli->config, print_name, NULL, &e);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

/* The engine works under the job's own configuration, which the command owns from here on. */
static int begin(struct cli *cli, char **ret_id, struct err *e)
{
        _cleanup_(job_freep) struct job *job = NULL;
        int q = job_load(cli->words[0], cli->config_file, &job, e);
        if (q < 0)
                return q;
        cli->config = steal(job->config);
        if ((q = cli_catalog(cli, CLI_WORK, e)) < 0 || (q = first_use(cli, e)) < 0)
                return q;
        return engine_job(cli->engine, job, cli_value(cli, "message"), ret_id, e);
}

struct same {
        const struct catalog_archive *as;
        unsigned n;
};

static int count_same(void *ctx, const struct catalog_archive *a)
{
        struct same *k = ctx;
        bool waits = a->state == ARCHIVE_QUEUED || a->state == ARCHIVE_WAITING ||
                     a->state == ARCHIVE_GATHERING || a->state == ARCHIVE_UPLOADING;
        k->n += waits && !a->abort_wanted && streq(a->spec, k->as->spec);
        return 0;
}

/* A store that stays away gets one more each night. */
static void say_waiting(struct cli *cli, const char *id)
{
        struct err e = {0};
        struct catalog_archive a = {0};
        struct same k = {.as = &a};
        if (cli_catalog(cli, CLI_WORK, &e) < 0 || catalog_archive_get(cli->catalog, id, &a, &e) < 0)
                return; /* what matters has been said */
        if (catalog_archive_each(cli->catalog, count_same, &k, &e) >= 0 && k.n > 1)
                cli_say(cli,
                        "%u archives of this job wait now, and each will be stored; one that is "
                        "not wanted is given up with: autoglacier abort ARCHIVE",
                        k.n);
        catalog_archive_done(&a);
}

static int run(struct cli *cli)
{
        struct err e = {0};
        _cleanup_free_ char *id = NULL;
        if (cli_flag(cli, "list") && cli->n_given + (size_t)cli->n_words > 1)
                return cli_misuse(cli, "--list only prints names, and stands alone");
        if (cli_flag(cli, "list"))
                return list(cli);
        if (cli->n_words == 0)
                return cli_misuse(cli, "name a job, or its file; --list tells the names");
        if (order_check(cli) != CLI_DONE)
                return CLI_USAGE;
        if (begin(cli, &id, &e) < 0)
                return cli_fail(cli, &e);
        if (cli_flag(cli, "detach"))
                return order_detach(cli, id);
        int status = order_run(cli, id);
        if (status == CLI_UNFINISHED)
                say_waiting(cli, id);
        return status;
}

const struct cli_command cmd_run = {
        .name = "run",
        .words = "JOB",
        .summary = "run a saved job: its files, globs and hook, under its own configuration",
        .about = "JOB is the name of a file in the folder jobs/ beside CONFIG.json, without\n"
                 ".json, or a path to such a file: see autoglacier-job(5). Prints the\n"
                 "archive's name and ends when the store has confirmed every byte. A job whose\n"
                 "gather hook fails archives nothing.",
        .options = options,
        .min_words = 0,
        .max_words = 1,
        .run = run,
};
