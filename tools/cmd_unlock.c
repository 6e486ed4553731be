#include "commands.h"

#include "agent.h"
#include "ask.h"
#include "clock.h"
#include "config.h"
#include "secret.h"

#define DEFAULT_TIME "8h"

static const struct cli_option options[] = {
        {"for", 0, "TIME", "how long: 90s, 15m, 8h, 2d; 0 is until the mount ends; 8h if not said",
                false},
        {"passphrase-file", 0, "FILE", "take it from the first line of FILE (- is stdin)", false},
        {"lock", 0, NULL, "forget it now", false},
        {0},
};

static int get(const struct cli *cli, struct secret **ret, struct err *e)
{
        const char *file = cli_value(cli, "passphrase-file");
        return file ? ask_file(file, ret, e)
                    : ask_passphrase(NULL, cli->config->private_keys[0], 0, ret, e);
}

static int unlock(struct cli *cli, int64_t seconds, struct err *e)
{
        _cleanup_secret_ struct secret *s = NULL;
        int q = get(cli, &s, e);
        if (q == 0)
                q = agent_unlock(cli->config->data, s, seconds, e);
        if (q < 0)
                return q;
        char words[CLOCK_TEXT_MAX];
        clock_words(seconds * CLOCK_NSEC, words);
        if (seconds > 0)
                cli_say(cli, "unlocked for %s", words);
        else
                cli_say(cli, "unlocked until the mount ends");
        return 0;
}

static int run(struct cli *cli)
{
        const char *time = cli_value(cli, "for");
        int64_t seconds;
        struct err e = {0};
        if (clock_parse_duration(time ? time : DEFAULT_TIME, &seconds) < 0)
                return cli_misuse(cli, "--for wants a time like 90s, 15m, 8h or 2d, not %s", time);
        int q = cli_config(cli, &e);
        if (q == 0 && cli_flag(cli, "lock"))
                q = agent_lock(cli->config->data, &e);
        else if (q == 0)
                q = unlock(cli, seconds, &e);
        if (q == -EALREADY) {
                cli_say(cli, "%s", e.text);
                return CLI_DONE;
        }
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_unlock = {
        .name = "unlock",
        .words = "",
        .summary = "give the running program the private key's passphrase, for some time",
        .about = "Asks for the passphrase of the private key and gives it to the mount, which\n"
                 "keeps it in locked memory for the time and unwraps data keys with it: for\n"
                 "itself, and for other commands of the same user. Without it, restores that\n"
                 "need the key wait.",
        .options = options,
        .max_words = 0,
        .run = run,
};
