#include "commands.h"

#include "ask.h"
#include "buf.h"
#include "clock.h"
#include "config.h"
#include "engine.h"
#include "first.h"
#include "io.h"
#include "newkeys.h"
#include "reach.h"
#include "report.h"
#include "store.h"
#include "stores.h"

#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>

#define TRIES 5u /* somebody sits before it */

static const struct cli_option options[] = {
        {"vault", 0, "URL", "where archives go: dir:/path, s3://bucket/prefix, glacier://vault",
                false},
        {"genkeys", 0, NULL, "make a key pair where the configuration wants it", false},
        NEWKEYS_OPTIONS,
        {0},
};

/* ---- the configuration file ---- */

/* Where it is a link, what that leads to. */
static int write_config(const char *name, json_t *o, struct err *e)
{
        _cleanup_free_ char *text = json_dumps(o, JSON_INDENT(4));
        _cleanup_free_ char *real = realpath(name, NULL);
        const char *file = real ? real : name;
        _cleanup_free_ char *copy = strdup(file);
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!text || !copy)
                return err_oom(e);
        buf_addf(&b, "%s\n", text);
        if (buf_oom(&b))
                return err_oom(e);
        int q = io_mkdir_p(dirname(copy), 0700, e);
        return q < 0 ? q : io_write_file(AT_FDCWD, file, 0600, buf_str(&b), b.len, e);
}

/* Keeps every other key of the file. */
static int set_vault(struct cli *cli, const char *url, struct err *e)
{
        const struct config *c = cli->config;
        _cleanup_buf_ struct buf old = BUF_INIT;
        int q = c->exists ? io_read_file(AT_FDCWD, c->file, 1 * MiB, &old, e) : 0;
        if (q < 0)
                return q;
        json_auto_t *o = c->exists ? json_loadb(buf_str(&old), old.len, 0, NULL) : json_object();
        if (!o || json_object_set_new(o, "VAULT", json_string(url)) < 0)
                return err_set(e, -EINVAL, "%s is not UTF-8", url);
        /* what was written must be one that can be read: look before the old one is replaced */
        _cleanup_free_ char *text = json_dumps(o, JSON_COMPACT);
        struct config *check = NULL;
        if (!text)
                return err_oom(e);
        if ((q = config_parse(text, strlen(text), c->file, &check, e)) < 0)
                return err_prefix(e, q, "--vault %s", url);
        config_free(check);
        if ((q = write_config(c->file, o, e)) < 0)
                return q;
        cli_say(cli, "wrote VAULT to %s", c->file);
        config_free(cli->config);
        cli->config = NULL;
        return cli_config(cli, e);
}

/* A first configuration, to be edited: what counts anyway, so that it says nothing new. */
static int write_first(struct cli *cli, struct err *e)
{
        const struct config *c = cli->config;
        json_auto_t *o = json_pack("{s:s, s:s, s:[]}", "VAULT", c->vault, "COMPRESSION",
                compress_name(c->compression), "EXCLUDE");
        if (!o)
                return err_oom(e);
        int q = write_config(c->file, o, e);
        if (q < 0)
                return q;
        cli_say(cli, "wrote %s; autoglacier.conf(5) tells what may stand in it", c->file);
        config_free(cli->config);
        cli->config = NULL;
        return cli_config(cli, e);
}

/* "/a", "./a", "../a", "~/a"; a word alone may be meant for a bucket. */
static bool is_path(const char *url)
{
        return *url == '/' || startswith(url, "./") || startswith(url, "../") ||
               startswith(url, "~/");
}

/* "dir:relative" and "dir:~" are for people; in the file stands the whole path. */
static int whole_url(const char *url, char **ret, struct err *e)
{
        const char *path = startswith(url, "dir:");
        if (!path && is_path(url))
                path = url;
        if (!path)
                return (*ret = strdup(url)) ? 0 : err_oom(e);
        bool whole = strchr("/~$", *path);
        _cleanup_free_ char *cwd = whole ? NULL : getcwd(NULL, 0);
        while (!whole && path[0] == '.' && path[1] == '/')
                path += 2;
        if (asprintf(ret, "dir:%s%s%s", cwd ? cwd : "", cwd ? "/" : "", path) < 0) {
                *ret = NULL;
                return err_oom(e);
        }
        return 0;
}

/* ---- the store ---- */

static void say_check(void *ctx _unused_, enum reach_result r, const char *text)
{
        (void)printf("%s %s\n", r == REACH_OK ? "checked      " : "but          ", text);
        (void)fflush(stdout); /* a slow network: what is done is seen */
}

static void say_waiting(void *ctx, const struct err *why, unsigned tries, int64_t wait_ns)
{
        if (tries == 2 || wait_ns > 1 * CLOCK_NSEC)
                cli_say(ctx, "waiting: %s", why->text);
}

/* init is the wish itself; but where somebody sits before it, a vault with a slip in its name is
 * not made. */
static int make_in_account(struct cli *cli, struct store *s, struct err *e)
{
        char question[600];
        struct err why = {0};
        int q = store_check(s, NULL, NULL, &why);
        if (q != -ENODEV)
                return q < 0 ? err_set(e, q, "%s", why.text) : 0;
        (void)snprintf(question, sizeof question, "%s is not there. Make it? [y/N] ", s->url);
        if (ask_possible() && !ask_yes(question))
                return err_set(e, q, "%s is not there, and was not made", s->url);
        if ((q = store_init(s, e)) == 0)
                cli_say(cli, "made the store %s", s->url);
        return q;
}

static int make_store(struct cli *cli, struct err *e)
{
        const struct config *c = cli->config;
        _cleanup_(store_closep) struct store *s = NULL;
        const char *dir = startswith(c->vault, "dir:");
        int q = 0;
        if (dir)
                q = io_mkdir_p(dir, 0700, e);
        if (q == 0)
                q = stores_open(c, c->vault, c->storage_class, &s, e);
        if (q < 0)
                return q;
        store_set_control(
                s, &(struct store_control){
                           .stop = &cli_stop, .waiting = say_waiting, .ctx = cli, .tries = TRIES});
        if (s->traits.asks && (q = make_in_account(cli, s, e)) < 0)
                return q;
        if ((q = reach_check(s, say_check, NULL, e)) < 0 || store_check(s, NULL, NULL, NULL) == 0)
                return q;
        if ((q = store_init(s, e)) == 0 && (q = store_check(s, NULL, NULL, e)) == 0)
                cli_say(cli, "made the store %s", c->vault);
        return q;
}

static int say_policy(struct cli *cli, struct err *e)
{
        static const char buckets[] =
                ", and the bucket versioning and Object Lock: then nothing that is stored can be\n"
                "lost there.";
        static const char vaults[] = ": it can add, and cannot remove.";
        _cleanup_buf_ struct buf all = BUF_INIT;
        _cleanup_buf_ struct buf add = BUF_INIT;
        int q = reach_policy(cli->config, false, &all, e);
        if (q == 0)
                q = reach_policy(cli->config, true, &add, e);
        if (q < 0)
                return q == -ENOTSUP ? 0 : q;
        (void)printf(
                "\nThis IAM policy is enough for the user whose keys are used here:\n\n%s\n"
                "This one is enough for backups alone. On a machine that somebody else may come "
                "to control, give\nthe user this one%s\n\n%s",
                buf_str(&all), startswith(cli->config->vault, "glacier:") ? vaults : buckets,
                buf_str(&add));
        return 0;
}

static int prepare(struct cli *cli, struct err *e)
{
        int q = cli_engine(cli, CLI_WORK, e);
        if (q == 0 && (q = make_store(cli, e)) == -EACCES)
                (void)say_policy(cli, NULL); /* what is missing is in it */
        return q < 0 ? q : first_use(cli, e);
}

static int say_result(struct cli *cli, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = cli_catalog(cli, CLI_WORK, e);
        if (q == 0)
                q = report_not_yet(cli->catalog, cli->config, &b, e);
        if (q < 0)
                return q;
        (void)printf("data folder   %s\nconfiguration %s%s\nstore         %s\npublic key    %s\n",
                cli->config->data, cli->config->file,
                cli->config->exists ? "" : " (not needed so far)", cli->config->vault,
                cli->config->public_keys[0]);
        if (b.len > 0)
                (void)printf("\n%s\n", buf_str(&b));
        return 0;
}

static int run(struct cli *cli)
{
        const char *url = cli_value(cli, "vault");
        _cleanup_free_ char *whole = NULL;
        struct err e = {0};
        if (url && (!*url || streq(url, "dir:")))
                return cli_misuse(
                        cli, "--vault wants dir:/path, s3://bucket/prefix or glacier://vault");
        if (newkeys_asked(cli) && !cli_flag(cli, "genkeys"))
                return cli_misuse(cli, "what a new key is to be like goes with --genkeys");
        int q = cli_config(cli, &e);
        if (q == 0 && url && (q = whole_url(url, &whole, &e)) == 0)
                q = set_vault(cli, whole, &e);
        if (q == 0 && !cli->config->exists)
                q = write_first(cli, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        if (cli_flag(cli, "genkeys")) {
                int status = newkeys_make(
                        cli, cli->config->private_keys[0], cli->config->public_keys[0]);
                if (status != CLI_DONE)
                        return status;
                (void)putchar('\n');
        }
        q = prepare(cli, &e);
        if (q == 0)
                q = say_result(cli, &e);
        if (q == 0)
                q = say_policy(cli, &e);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_init = {
        .name = "init",
        .words = "",
        .summary = "make the data folder and the store, and say whether all is in order",
        .about = "Makes the data folder and the store that the configuration names, or that\n"
                 "--vault names, which is then written to the configuration. In a bucket it\n"
                 "tries everything that will be needed, names the right that is missing, and\n"
                 "prints policies that are enough. Makes keys with --genkeys, or where none\n"
                 "are configured and nothing has been archived yet. Harmless when repeated.",
        .options = options,
        .max_words = 0,
        .run = run,
};
