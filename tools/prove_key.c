#include "prove_key.h"

#include "ask.h"
#include "catalog.h"
#include "cli.h"
#include "config.h"
#include "keys.h"
#include "store.h"
#include "verify.h"

#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
        struct stat x, y;
        return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A copy that is the file itself proves nothing. */
static int refuse_own(const struct config *c, const char *key, struct err *e)
{
        for (char *const *p = c->private_keys; *p; p++)
                if (same_file(*p, key))
                        return err_set(e, -EINVAL,
                                "%s is the private key of this set-up itself; a proof takes the "
                                "copy that you keep elsewhere",
                                key);
        return 0;
}

static int newest(void *ctx, const struct catalog_archive *a)
{
        char **id = ctx;
        if (!archive_is_stored(a->state))
                return 0;
        free(*id);
        return (*id = strdup(a->id)) ? 0 : -ENOMEM;
}

static int which_archive(struct cli *cli, struct catalog_archive *ret, struct err *e)
{
        _cleanup_free_ char *id = NULL;
        if (cli->n_words > 0)
                return cli_archive(cli, cli->words[0], ret, e);
        int q = catalog_archive_each(cli->catalog, newest, &id, e);
        return q == 0 && id ? catalog_archive_get(cli->catalog, id, ret, e) : q;
}

/* A key can be told without the store, too. NULL: it cannot be reached, which is told. */
static int reach(
        struct cli *cli, const struct catalog_archive *a, struct store **ret, struct err *e)
{
        int q = cli_store(cli, a, ret, e);
        if (q != -ENODEV && q != -EAGAIN && q != -EBUSY && q != -EACCES && q != -EPERM)
                return q;
        cli_say(cli, "%s", e->text);
        *ret = NULL;
        return 0;
}

static int prove(struct cli *cli, struct keys_private *key, struct err *e)
{
        struct catalog_archive a = {0};
        _cleanup_(store_closep) struct store *s = NULL;
        const char *public = cli->config->public_keys[0];
        int q = which_archive(cli, &a, e);
        if (q == 0 && a.id)
                q = reach(cli, &a, &s, e);
        if (q == 0)
                q = verify_key(cli->catalog, s, a.id ? &a : NULL, key, public, e);
        if (q == 1)
                (void)printf("this private key is the one that archive %s was sealed for; what is "
                             "in the store could not be read now\n",
                        a.name);
        else if (q == 0 && a.id)
                (void)printf("this private key opens archive %s\n", a.name);
        else if (q == 0)
                (void)printf("this private key is the other half of %s\n", public);
        catalog_archive_done(&a);
        return MIN(q, 0);
}

int prove_key(struct cli *cli, const char *path)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        struct err e = {0};
        int q = cli_catalog(cli, CLI_WORK, &e);
        if (q == 0)
                q = refuse_own(cli->config, path, &e);
        if (q == 0)
                q = keys_private_load(path, ask_possible() ? ask_passphrase : NULL, NULL, &key, &e);
        if (q == 0)
                q = prove(cli, key, &e);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}
