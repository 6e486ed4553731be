#include "commands.h"

#include "buf.h"
#include "config.h"

#include <jansson.h>

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON", false},
        {0},
};

/* Only the value of one key, as a script wants it. */
static int one(const struct cli *cli, const char *json, const char *key)
{
        json_t *all = json_loads(json, 0, NULL); /* we made it */
        const json_t *value = json_object_get(json_object_get(all, key), "value");
        int status = CLI_DONE;
        if (!value)
                status = cli_misuse(cli, "there is no key %s", key);
        else if (json_is_string(value))
                (void)puts(json_string_value(value)); /* cli_flush() tells errors */
        else if (!json_is_null(value)) {
                (void)json_dumpf(value, stdout, JSON_ENCODE_ANY);
                (void)putchar('\n');
        }
        json_decref(all);
        return status;
}

static int run(struct cli *cli)
{
        const char *key = cli->n_words ? cli->words[0] : NULL;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct err e = {0};
        int q = cli_config(cli, &e);
        if (q == 0 && config_print(cli->config, key || cli_flag(cli, "json"), &b) < 0)
                q = err_oom(&e);
        if (q < 0)
                return cli_fail(cli, &e);
        if (key)
                return one(cli, buf_str(&b), key);
        cli_print(buf_str(&b), b.len);
        return CLI_DONE;
}

const struct cli_command cmd_config = {
        .name = "config",
        .words = "[KEY]",
        .summary = "the configuration that holds, and where each value comes from",
        .about = "Prints every key of the configuration with its value and where it comes\n"
                 "from: the file, or a default. With KEY only its value. Secrets are not\n"
                 "shown.",
        .options = options,
        .max_words = 1,
        .run = run,
};
