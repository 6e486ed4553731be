#include "cli.h"

#include "ask.h"
#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "keyring.h"
#include "store.h"
#include "stores.h"

/* A file that was named and is not there is a mistake; -ENOENT means that there is no data folder.
 */
int cli_config(struct cli *cli, struct err *e)
{
        int q = cli->config ? 0 : config_load(cli->config_file, &cli->config, e);
        if (q == -ENOENT)
                e->code = q = -EINVAL;
        return q;
}

static void close_engine(struct cli *cli)
{
        catalog_close(cli->catalog);
        engine_close(cli->engine);
        cli->catalog = NULL;
        cli->engine = NULL;
}

int cli_engine(struct cli *cli, enum cli_use use, struct err *e)
{
        bool work = use == CLI_WORK;
        if (cli->engine && (cli->working || !work))
                return 0;
        close_engine(cli);
        cli->working = work;
        int q = cli_config(cli, e);
        if (q < 0)
                return q;
        q = engine_open(cli->config, work ? ENGINE_WORK : ENGINE_READ, NULL, &cli->engine, e);
        if (q == -ENOENT && !work)
                q = err_set(e, q, "nothing has been archived yet: there is no data folder %s",
                        cli->config->data);
        return q;
}

int cli_catalog(struct cli *cli, enum cli_use use, struct err *e)
{
        int q = cli_engine(cli, use, e);
        return q < 0 || cli->catalog ? q : engine_catalog(cli->engine, &cli->catalog, e);
}

/* The shell's completion makes "~/glacier/archives/NAME/" of a name: that will do, too. */
static char *last_part(const char *word)
{
        size_t n = strlen(word);
        while (n > 0 && word[n - 1] == '/')
                n--;
        const char *slash = memrchr(word, '/', n);
        const char *from = slash ? slash + 1 : word;
        return strndup(from, (size_t)(word + n - from));
}

int cli_archive(struct cli *cli, const char *word, struct catalog_archive *ret, struct err *e)
{
        _cleanup_free_ char *name = last_part(word);
        int q = name ? cli_catalog(cli, CLI_LOOK, e) : err_oom(e);
        return q < 0 ? q : catalog_archive_resolve(cli->catalog, name, ret, e);
}

int cli_store(struct cli *cli, const struct catalog_archive *a, struct store **ret, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = cli_config(cli, e);
        if (q == 0)
                q = stores_open(cli->config, a->store_url, a->storage_class, &s, e);
        if (q == 0)
                q = store_check_readable(s, *a->store_id ? a->store_id : NULL, NULL, e);
        if (q == 0)
                *ret = steal(s);
        return q;
}

int cli_keyring(struct cli *cli, const char *key, struct keyring **ret, struct err *e)
{
        int q = cli_engine(cli, CLI_LOOK, e);
        if (q < 0)
                return q;
        struct keyring *k = engine_keyring(cli->engine);
        if (key && (q = keyring_only(k, key, e)) < 0)
                return q;
        keyring_use_agent(k, !key);
        if (ask_possible())
                keyring_ask_with(k, ask_passphrase, NULL);
        *ret = k;
        return 0;
}

void cli_close(struct cli *cli)
{
        close_engine(cli);
        config_free(cli->config);
        free(cli->given);
        free(cli->words);
}
