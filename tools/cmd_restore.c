#include "commands.h"

#include "as_of_cli.h"
#include "catalog.h"
#include "catalog_version.h"
#include "clock.h"
#include "import.h"
#include "keyring.h"
#include "member.h"
#include "progress.h"
#include "restore.h"
#include "restore_files.h"
#include "restore_imported.h"
#include "store.h"
#include "stores.h"
#include "thawed.h"
#include "words.h"

static const struct cli_option options[] = {
        {"to", 't', "DIR", "into this folder instead of ./NAME/", false},
        {"as-of", 0, "DATE", "the paths as they were then, from all archives that hold them",
                false},
        {"overwrite", 0, NULL, "replace files that are there", false},
        {"dry-run", 'n', NULL, "only say what would be restored, how long it takes, what it costs",
                false},
        {"tier", 0, "TIER", "how fast a cold store thaws: bulk, standard or expedited", false},
        {"max", 0, "USD", "what it may cost, instead of COST_LIMIT", false},
        {"wait", 'w', NULL, "until it is there, also if a store must thaw it first", false},
        {"cancel", 0, NULL, "no longer: all restores of this archive that are on their way", false},
        {"key", 'k', "KEY", "use this private key", false},
        {0},
};

struct work {
        struct cli *cli;
        struct progress progress;
        unsigned warned;
};

static void show(void *ctx, const struct restore_progress *r)
{
        struct work *w = ctx;
        progress_show(&w->progress, r->bytes, r->todo_bytes);
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct work *w = ctx;
        w->warned++;
        progress_clear(&w->progress);
        cli_say(w->cli, "%s: %s", path, why);
}

static const char **member_paths(const struct cli *cli)
{
        size_t n = (size_t)cli->n_words;
        const char **v = calloc(n, sizeof *v);
        if (!v)
                return NULL;
        for (size_t i = 1; i < n; i++)
                v[i - 1] = member_name(cli->words[i]);
        return v;
}

/* ---- what would be done ---- */

struct asked {
        const char *const *paths; /* NULL: everything */
        bool any;
};

static int print_asked(void *ctx, const struct catalog_member *m)
{
        struct asked *k = ctx;
        bool wanted = !k->paths;
        for (size_t i = 0; k->paths && k->paths[i]; i++)
                wanted |= path_below(m->path, k->paths[i]);
        if (!wanted || m->type == 'i')
                return 0;
        k->any = true;
        member_path(m->path, '\n');
        return 0;
}

static int dry_run(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e)
{
        struct asked k = {.paths = paths};
        int q = catalog_members_each(cli->catalog, a->id, CATALOG_AS_TREE, print_asked, &k, e);
        if (q < 0)
                return q;
        if (k.any)
                (void)putchar('\n'); /* cli_flush() tells errors */
        return thawed_quote(cli, a, &(struct thawed){.paths = paths}, e);
}

/* ---- doing it ---- */

static int check_stored(const struct catalog_archive *a, struct err *e)
{
        if (archive_is_stored(a->state))
                return 0;
        return err_set(e, -EINVAL, "archive %s is not stored: it is %s%s%s", a->name,
                archive_state_name(a->state), *a->error ? ": " : "", a->error);
}

static int is_cold(struct cli *cli, const struct catalog_archive *a, bool *ret, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        int q = stores_open(cli->config, a->store_url, a->storage_class, &s, e);
        if (q == 0)
                *ret = s->traits.cold;
        return q;
}

/* From a store that must thaw first, by a record that outlives this program. A cli_status or
 * -errno.
 */
static int restore_cold(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e)
{
        const char *to = cli_value(cli, "to"), *max = cli_value(cli, "max");
        const struct thawed t = {.tier = cli_value(cli, "tier"),
                .paths = paths,
                .to = to ? to : a->name,
                .overwrite = cli_flag(cli, "overwrite"),
                .wait = cli_flag(cli, "wait"),
                .max_price = max ? strtod(max, NULL) : -1};
        int q = thawed_restore(cli, a, &t, e);
        if (q == -EDQUOT)
                err_hint(e, "here that is --max");
        if (q == -ENOENT)
                err_hint(e, "autoglacier files %s lists what is in it", a->name);
        return q;
}

/* A number that is none must not stand for nothing. */
static bool is_price(const char *text)
{
        char *end;
        return !text || (strtod(text, &end) >= 0 && end != text && !*end);
}

static int verdict(struct cli *cli, const char *to, const struct restore_progress *done, int status)
{
        char bytes[CLOCK_TEXT_MAX], fetched[CLOCK_TEXT_MAX];
        clock_bytes_words(done->bytes, bytes);
        clock_bytes_words(done->fetched, fetched);
        (void)printf("%s\n", to);
        cli_say(cli, "restored %s, %s (fetched %s)%s%s", WORDS(done->files, "file", NULL), bytes,
                fetched, status > 0 ? ", with " : "",
                status > 0 ? WORDS(done->warnings, "warning", NULL) : "");
        return status > 0 ? CLI_WARNINGS : CLI_DONE;
}

/* A cli_status or -errno, as those that follow. */
static int restore_now(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        struct keyring *keyring;
        struct work w = {.cli = cli};
        struct restore_progress done = {0};
        int q = cli_keyring(cli, cli_value(cli, "key"), &keyring, e);
        if (q == 0)
                q = cli_store(cli, a, &s, e);
        if (q < 0)
                return q;
        const char *to = cli_value(cli, "to");
        const struct restore_params p = {.paths = paths,
                .to = to ? to : a->name,
                .overwrite = cli_flag(cli, "overwrite"),
                .unwrap = keyring_unwrap,
                .unwrap_ctx = keyring,
                .progress = show,
                .warn = warn,
                .ctx = &w,
                .stop = &cli_stop};
        cli_catch_signals();
        progress_begin(&w.progress, "restoring");
        q = restore_run(cli->catalog, s, a, &p, &done, e);
        progress_clear(&w.progress);
        return q < 0 ? q : verdict(cli, p.to, &done, q);
}

/* An archive of only what changed is not all there was. */
static void say_elsewhere(struct cli *cli, const struct catalog_archive *a)
{
        struct catalog_run r = {0};
        char date[CLOCK_TEXT_MAX];
        clock_iso(a->created, date);
        if (catalog_run_get(cli->catalog, a->id, &r, NULL) == 0 && r.n_unchanged > 0)
                cli_say(cli,
                        "%s in older archives, since nothing had changed; restore --as-of %s PATH "
                        "brings all of it",
                        WORDS(r.n_unchanged, "file lies", "files lie"), date);
        catalog_run_done(&r);
}

static int restore_stored(
        struct cli *cli, const struct catalog_archive *a, const char *const *paths, struct err *e)
{
        bool cold;
        int q = is_cold(cli, a, &cold, e);
        if (q == 0)
                q = cold ? restore_cold(cli, a, paths, e) : restore_now(cli, a, paths, e);
        if (q >= 0)
                say_elsewhere(cli, a);
        return q;
}

static int restore_archive(struct cli *cli, struct err *e)
{
        _cleanup_(catalog_archive_done) struct catalog_archive a = {0};
        _cleanup_free_ const char **given = member_paths(cli);
        const char *const *paths = cli->n_words > 1 ? given : NULL;
        if (!given)
                return err_oom(e);
        int q = cli_archive(cli, cli->words[0], &a, e);
        if (q == 0)
                q = check_stored(&a, e);
        if (q < 0)
                return q;
        if (cli_flag(cli, "cancel"))
                return thawed_cancel(cli, &a, e);
        if (cli_flag(cli, "dry-run"))
                return dry_run(cli, &a, paths, e);
        return import_is_imported(&a) ? restore_imported(cli, &a, paths, e)
                                      : restore_stored(cli, &a, paths, e);
}

/* What would be passed over must not look as if it counted. */
static int check_options(const struct cli *cli)
{
        const char *tier = cli_value(cli, "tier"), *max = cli_value(cli, "max");
        if (!is_price(max))
                return cli_misuse(cli, "--max wants US dollars, not %s", max);
        if (tier && !streq(tier, "bulk") && !streq(tier, "standard") && !streq(tier, "expedited"))
                return cli_misuse(cli, "--tier is bulk, standard or expedited, not %s", tier);
        if (cli_flag(cli, "cancel") && (cli_value(cli, "as-of") || restore_files_meant(cli)))
                return cli_misuse(cli, "--cancel wants the name of an archive");
        return CLI_DONE;
}

static int run(struct cli *cli)
{
        struct err e = {0};
        if (check_options(cli) != CLI_DONE)
                return CLI_USAGE;
        int q = cli_value(cli, "as-of")    ? restore_as_of(cli, cli_value(cli, "as-of"), &e)
                : restore_files_meant(cli) ? restore_files(cli, &e)
                                           : restore_archive(cli, &e);
        if (q == -EEXIST)
                err_hint(
                        &e, cli_flag(cli, "overwrite")
                                    ? "move it away, or name another folder with --to"
                                    : "name another folder with --to, or replace with --overwrite");
        return q < 0 ? cli_fail(cli, &e) : q;
}

const struct cli_command cmd_restore = {
        .name = "restore",
        .words = "ARCHIVE|FILE… [PATH]…",
        .summary = "bring an archive, or some of it, back into a folder",
        .about =
                "Restores an archive, or the files and folders named, into ./NAME/ or the\n"
                "folder given with --to. Of a large archive only the parts that hold them are\n"
                "fetched. What is there already is never touched without --overwrite, nothing\n"
                "is written outside the folder, and a file gets its name when its SHA-512 has\n"
                "been found right.\n"
                "A store that must thaw first is asked once; without --wait the command then\n"
                "ends with status 4, and a mount, or the same command again, goes on. What costs\n"
                "more than COST_LIMIT is refused until --max allows it; --dry-run tells the price\n"
                "before anything is asked for.\n"
                "With --as-of DATE the words are paths: of each the newest version stored until\n"
                "then comes back, from as many archives as it takes, into ./as-of-DATE/; what\n"
                "was deleted by then stays away.\n"
                "A FILE is a volume that lies here (all of them, in order), or an archive of the\n"
                "program before this one; it needs the key alone.",
        .options = options,
        .min_words = 1,
        .max_words = -1,
        .run = run,
};
