#include "commands.h"

#include "buf.h"
#include "config.h"
#include "job.h"

#include <jansson.h>

static const struct cli_option options[] = {
        {"job", 'j', "JOB", "what holds for this saved job", false},
        {"json", 0, NULL, "as JSON; see autoglacier-json(5)", false},
        {0},
};

/* Text without its quotes, so that a script can use it. */
static void print_value(const json_t *v)
{
        const char *text = json_string_value(v);
        char *other = text || json_is_null(v)
                              ? NULL
                              : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
        text = text ? text : other ? other : "";
        cli_print(text, strlen(text));
        (void)putchar('\n'); /* cli_flush() tells errors */
        free(other);
}

static int print_key(const char *json, const char *key, bool as_json, struct err *e)
{
        size_t i;
        const json_t *item;
        json_auto_t *all = json_loads(json, 0, NULL);
        const json_t *row = json_object_get(all, key);
        const json_t *v = json_object_get(row, "value");
        if (!all)
                return err_oom(e);
        if (!row)
                return err_set(e, -ENOENT,
                        "there is no key %s; without one, autoglacier config lists all", key);
        if (as_json) {
                json_auto_t *one = json_pack("{s:O}", key, row);
                print_value(one);
        } else if (!json_is_array(v)) {
                print_value(v);
        } else {
                json_array_foreach(v, i, item) print_value(item);
        }
        return 0;
}

/* A job's own CONFIG lies over that of the program. */
static int print(struct cli *cli, bool json, struct buf *ret, struct err *e)
{
        const char *name = cli_value(cli, "job");
        _cleanup_(job_freep) struct job *job = NULL;
        int q = name ? job_load(name, cli->config_file, &job, e) : cli_config(cli, e);
        if (q < 0)
                return q;
        if (job && !json)
                buf_addf(ret, "# job: %s\n", job->file);
        return config_print(job ? job->config : cli->config, json, ret) < 0 ? err_oom(e) : 0;
}

static int run(struct cli *cli)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *key = cli->words[0];
        struct err e = {0};
        int q = print(cli, key || cli_flag(cli, "json"), &b, &e);
        if (q == 0 && key)
                q = print_key(buf_str(&b), key, cli_flag(cli, "json"), &e);
        if (q < 0)
                return cli_fail(cli, &e);
        if (!key)
                cli_print(buf_str(&b), b.len);
        return CLI_DONE;
}

const struct cli_command cmd_config = {
        .name = "config",
        .words = "[KEY]",
        .summary = "the configuration that holds, and where each value comes from",
        .about = "Prints every key of the configuration with its value and where it comes from:\n"
                 "the file, the job with --job, or a default. Secrets are not shown. With a KEY,\n"
                 "its value alone, a list one item a line.",
        .options = options,
        .max_words = 1,
        .run = run,
};
