#include "commands.h"

#include "ask.h"
#include "buf.h"
#include "catalog.h"
#include "catalog_version.h"
#include "clock.h"
#include "config.h"
#include "cost.h"
#include "delete.h"
#include "import.h"
#include "store.h"
#include "words.h"

static const struct cli_option options[] = {
        {"yes", 'y', NULL, "do not ask", false},
        {0},
};

/* ---- what would be lost with it ---- */

#define NAMED_MAX 20

struct lost {
        struct cli *cli;
        unsigned n;
};

static int name_lost(void *ctx, const struct catalog_member *m, const char *later)
{
        struct lost *l = ctx;
        if (l->n++ == 0)
                cli_say(l->cli, "no other archive holds these:");
        if (l->n > NAMED_MAX)
                return 1;
        cli_detail("%s%s%s", m->path, later ? ", as it is listed in " : "", later ? later : "");
        return 0;
}

static int tell_lost(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        struct lost l = {.cli = cli};
        if (!archive_is_stored(a->state))
                return 0;
        int q = catalog_only_here(cli->catalog, a->id, name_lost, &l, e);
        if (l.n > NAMED_MAX)
                cli_detail("and more");
        return q < 0 ? q : 0;
}

/* Cold classes bill the rest of their least time: that is said before, and not only afterwards. */
static void say_price(const struct cli *cli, const struct catalog_archive *a)
{
        _cleanup_(cost_freep) struct cost_prices *prices = NULL;
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *cls = cost_class(a->store_url, a->storage_class);
        _cleanup_free_ struct catalog_volume *v = NULL;
        struct cost_sum sum;
        size_t n = 0;
        if (!cls || cost_load(cli->config->file, &prices, NULL) < 0 ||
                catalog_volumes(cli->catalog, a->id, &v, &n, NULL) < 0 ||
                cost_early(prices, cls, n, a->stored_bytes, clock_now() - a->stored, &sum) < 0 ||
                sum.usd <= 0)
                return; /* an estimate that cannot be made is not said */
        cost_words(&b, &sum);
        cli_say(cli, "deleting it now costs about %s: the rest of the class's least time",
                buf_str(&b));
}

static bool is_meant(const struct cli *cli, const struct catalog_archive *a)
{
        char question[ERR_TEXT_MAX], bytes[CLOCK_TEXT_MAX];
        say_price(cli, a);
        if (cli_flag(cli, "yes"))
                return true;
        clock_bytes_words(a->bytes, bytes);
        (void)snprintf(question, sizeof question,
                "Delete %s (%s, %s) from %s? It cannot be brought back. [y/N] ", a->name,
                WORDS(a->n_files, "file", NULL), bytes, a->store_url); /* cut where too long */
        return ask_yes(question);
}

static int remove_it(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        if (import_is_imported(a))
                return import_delete(cli->config, cli->catalog, a, e);
        _cleanup_(store_closep) struct store *s = NULL;
        int q = cli_store(cli, a, &s, e);
        return q < 0 ? q : delete_run(cli->catalog, s, a, e);
}

static int run(struct cli *cli)
{
        struct catalog_archive a = {0};
        struct err e = {0};
        int status = CLI_DONE;
        int q = cli_archive(cli, cli->words[0], &a, &e);
        if (q == 0)
                q = tell_lost(cli, &a, &e);
        if (q == 0 && !is_meant(cli, &a)) {
                cli_say(cli, "nothing was deleted%s",
                        ask_possible() ? "" : "; say --yes to delete");
                status = CLI_FAILED;
        } else if (q == 0) {
                q = remove_it(cli, &a, &e);
        }
        if (q == 0 && status == CLI_DONE)
                (void)printf("deleted %s\n", a.name);
        catalog_archive_done(&a);
        return q < 0 ? cli_fail(cli, &e) : status;
}

const struct cli_command cmd_delete = {
        .name = "delete",
        .words = "ARCHIVE",
        .summary = "remove an archive from the store, for good",
        .about = "Removes an archive's objects from the store after asking, and after naming the\n"
                 "files that no other archive holds. It stays known as\n"
                 "`deleted` in the catalogue, and is listed no more. Cold classes bill what is\n"
                 "deleted early as if it had stayed for the least time: 90 or 180 days.",
        .options = options,
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
