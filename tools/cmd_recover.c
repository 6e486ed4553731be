#include "commands.h"

#include "ask.h"
#include "clock.h"
#include "config.h"
#include "keyring.h"
#include "keys.h"
#include "progress.h"
#include "recover.h"
#include "store.h"
#include "stores.h"
#include "words.h"

static const struct cli_option options[] = {
        {"key", 'k', "KEY", "the private key's file", false},
        {0},
};

struct work {
        struct cli *cli;
        struct progress progress;
};

static void show(void *ctx, uint64_t done, uint64_t todo)
{
        struct work *w = ctx;
        progress_show(&w->progress, done, todo);
}

static void told(void *ctx, const struct recover_archive *r)
{
        struct work *w = ctx;
        const char *name = r->name ? r->name : r->id;
        progress_clear(&w->progress);
        switch (r->result) {
        case RECOVER_KNOWN:
                break;
        case RECOVER_FOUND:
                (void)printf("%s\n", name);
                break;
        case RECOVER_MENDED:
                (void)printf("%s\n", name);
                cli_say(w->cli, "%s: %s", name, r->why);
                break;
        case RECOVER_FOREIGN:
                cli_say(w->cli, "%s is not ours: %s", r->id, r->why);
                break;
        case RECOVER_DAMAGED:
                cli_say(w->cli, "%s is damaged: %s", name, r->why);
                break;
        case RECOVER_BUSY:
                cli_say(w->cli, "%s was left alone: %s", name, r->why);
                break;
        }
}

static void waiting(void *ctx, const char *what)
{
        struct work *w = ctx;
        progress_clear(&w->progress);
        cli_say(w->cli,
                "waiting for %s. Interrupt it and repeat it later at will: it goes on, and nothing "
                "is asked for twice",
                what);
}

/* A key that cannot be read at all would make every archive a foreign one. */
static int try_key(struct cli *cli, const char *path, struct keyring **ret, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        int q = cli_keyring(cli, path, ret, e);
        if (q == 0)
                q = keys_private_load(path, NULL, NULL, &key, e);
        bool locked = q == -ENOKEY && access(path, R_OK) == 0;
        return locked && (ask_possible() || cli->config->passphrase_file) ? 0 : q;
}

static int open_store(struct cli *cli, struct store **ret, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = stores_open(cli->config, cli->config->vault, cli->config->storage_class, &s, e);
        if (q == 0)
                q = store_check_readable(s, NULL, NULL, e);
        if (q == 0)
                *ret = steal(s);
        return q;
}

static int recover(struct cli *cli, const char *key, struct recover_counts *counts, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        struct keyring *keyring = NULL;
        struct work w = {.cli = cli};
        int q = cli_catalog(cli, CLI_WORK, e);
        if (q == 0)
                q = try_key(cli, key, &keyring, e);
        if (q == 0)
                q = open_store(cli, &s, e);
        if (q < 0)
                return q;
        const struct recover_params p = {.data = cli->config->data,
                .unwrap = keyring_unwrap,
                .unwrap_ctx = keyring,
                .told = told,
                .progress = show,
                .waiting = waiting,
                .ctx = &w,
                .stop = &cli_stop};
        cli_catch_signals();
        progress_begin(&w.progress, "recovering");
        q = recover_run(cli->catalog, s, &p, counts, e);
        progress_clear(&w.progress);
        return q;
}

static int run(struct cli *cli)
{
        const char *key = cli_value(cli, "key");
        struct recover_counts n = {0};
        char date[CLOCK_TEXT_MAX];
        struct err e = {0};
        if (!key)
                return cli_misuse(cli, "name the private key with --key KEY");
        int q = recover(cli, key, &n, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_say(cli, "%s recovered, %u known already, %u not ours, %u damaged",
                WORDS(n.found + n.mended, "archive", NULL), n.known, n.foreign, n.damaged);
        if (n.mended > 0)
                cli_say(cli,
                        "autoglacier verify --repair writes manifests again that are missing; with "
                        "--data also damaged ones");
        if (n.listed) {
                clock_iso(n.listed, date);
                cli_say(cli,
                        "what the store holds is known as of its inventory of %s; what was stored "
                        "or deleted since then shows when a later one is fetched: recover again in "
                        "a day or two",
                        date);
        }
        return n.damaged + n.mended + n.busy > 0 ? CLI_WARNINGS : CLI_DONE;
}

const struct cli_command cmd_recover = {
        .name = "recover",
        .words = "",
        .summary = "the machine is gone: rebuild the catalogue from the store and the key",
        .about = "Reads what every archive in the store says of itself, and lists it again as\n"
                 "it was. Needs the configuration that names the store, and the private key.\n"
                 "An archive without its manifest is read from its own end; damaged ones are\n"
                 "named, and the others kept. Archives sealed for other keys are not ours.\n"
                 "Repeat it at will: what is known already is left alone.",
        .options = options,
        .max_words = 0,
        .run = run,
};
