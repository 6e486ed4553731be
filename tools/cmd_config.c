#include "commands.h"

#include "buf.h"
#include "config.h"

#include <jansson.h>

static const struct cli_option options[] = {
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

static int print_key(const char *json, const char *key, struct err *e)
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
        if (!json_is_array(v)) {
                print_value(v);
                return 0;
        }
        json_array_foreach(v, i, item) print_value(item);
        return 0;
}

static int run(struct cli *cli)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *key = cli->words[0];
        struct err e = {0};
        int q = cli_config(cli, &e);
        if (q == 0 && config_print(cli->config, key || cli_flag(cli, "json"), &b) < 0)
                q = err_oom(&e);
        if (q == 0 && key)
                q = print_key(buf_str(&b), key, &e);
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
                 "the file, or a default. Secrets are not shown. With a KEY, its value alone, a\n"
                 "list one item a line.",
        .options = options,
        .max_words = 1,
        .run = run,
};
