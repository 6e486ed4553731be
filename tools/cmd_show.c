#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "catalog_version.h"
#include "clock.h"
#include "config.h"
#include "keys.h"
#include "report.h"
#include "words.h"

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON; see autoglacier-json(5)", false},
        {"log", 0, NULL, "only what happened to it, one line each", false},
        {"sums", 0, NULL, "only the SHA-512 of every file, for sha512sum -c", false},
        {0},
};

static void line(const char *name, const char *text)
{
        if (*text)
                (void)printf("%-14s ", name);
        if (*text)
                cli_print(text, strlen(text));
        if (*text)
                (void)putchar('\n');
}

static void when(const char *name, int64_t t)
{
        char s[CLOCK_TEXT_MAX] = "";
        if (t != 0)
                clock_iso(t, s);
        line(name, s);
}

static void size(const char *name, uint64_t n)
{
        char s[CLOCK_TEXT_MAX];
        clock_bytes_words(n, s);
        (void)printf("%-14s %s (%s)\n", name, s, WORDS(n, "byte", NULL));
}

static void contents(const struct catalog_archive *a)
{
        (void)printf("%-14s %s, %s, %s, %s\n", "holds", WORDS(a->n_files, "file", NULL),
                WORDS(a->n_dirs, "folder", NULL), WORDS(a->n_links, "symlink", NULL),
                WORDS(a->n_hardlinks, "hard link", NULL));
        size("size", a->bytes);
        size("stored size", a->stored_bytes);
}

static void facts(const struct catalog_archive *a)
{
        line("name", a->name);
        line("id", a->id);
        line("description", a->description);
        line("state", catalog_archive_word(a));
        line("error", a->error);
        when("created", a->created);
        when("stored", a->stored);
        contents(a);
        line("compression", a->compression);
        line("store", a->store_url);
        line("class", a->storage_class);
        line("recipients", a->recipients);
        if (a->n_returned > 0)
                (void)printf("%-14s %s, named below\n", "not archived",
                        WORDS(a->n_returned, "entry", "entries"));
}

enum fit { FIT_NO, FIT_LOCKED, FIT_YES };

static enum fit fit_of(const char *path, const struct catalog_archive *a)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        int q = keys_private_load(path, NULL, NULL, &key, NULL); /* asks nobody */
        if (q == -ENOKEY && access(path, R_OK) == 0)
                return FIT_LOCKED;
        return q == 0 && strstr(a->recipients, keys_private_fingerprint(key)) ? FIT_YES : FIT_NO;
}

/* Which of the private keys that are configured here it needs. One that is locked does not tell. */
static void opened_by(const struct config *c, const struct catalog_archive *a)
{
        for (enum fit fit = FIT_YES; fit > FIT_NO; fit--) {
                bool any = false;
                for (char *const *p = c->private_keys; *p; p++)
                        if (fit_of(*p, a) == fit) {
                                (void)printf("%-14s %s%s\n", any ? "" : "opened by", *p,
                                        fit == FIT_LOCKED ? " (perhaps: it is locked)" : "");
                                any = true;
                        }
                if (any)
                        return;
        }
        line("opened by", "no private key that is here");
}

static int print_base(void *ctx _unused_, const char *base, const char *name, uint64_t files)
{
        (void)printf("%-14s %s: %s\n", "  in", *name ? name : base, WORDS(files, "file", NULL));
        return 0;
}

/* What it was made from, and what had not changed. */
static int made_from(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        _cleanup_(catalog_run_done) struct catalog_run r = {0};
        char bytes[CLOCK_TEXT_MAX];
        int q = catalog_run_get(cli->catalog, a->id, &r, e);
        if (q < 0)
                return q == -ENOENT ? 0 : q;
        line("job", r.job);
        if (!r.changed_only)
                return 0;
        clock_bytes_words(r.unchanged_bytes, bytes);
        (void)printf("%-14s %s, %s\n", "unchanged", WORDS(r.n_unchanged, "file", NULL), bytes);
        return catalog_bases_each(cli->catalog, a->id, print_base, NULL, e);
}

static int text(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        _cleanup_buf_ struct buf log = BUF_INIT;
        int q = cli_config(cli, e);
        if (q < 0)
                return q;
        facts(a);
        opened_by(cli->config, a);
        q = made_from(cli, a, e);
        if (q == 0)
                q = report_log(cli->catalog, a->id, &log, e);
        if (q == 0 && log.len > 0)
                (void)printf("\n");
        cli_print(buf_str(&log), log.len);
        return q;
}

static int print(struct cli *cli, const struct catalog_archive *a, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = 0;
        if (cli_flag(cli, "sums")) {
                (void)fflush(stdout); /* nothing is in it yet */
                uint64_t n;
                return report_sums(cli->catalog, a->id, STDOUT_FILENO, &n, e);
        }
        if (cli_flag(cli, "log"))
                q = report_log(cli->catalog, a->id, &b, e);
        else if (cli_flag(cli, "json"))
                q = report_info(cli->catalog, a, &b, e);
        else
                q = text(cli, a, e);
        cli_print(buf_str(&b), b.len);
        return q;
}

static int run(struct cli *cli)
{
        struct catalog_archive a = {0};
        struct err e = {0};
        if (cli_flag(cli, "json") + cli_flag(cli, "log") + cli_flag(cli, "sums") > 1)
                return cli_misuse(cli, "--json, --log and --sums are one or the other");
        int q = cli_archive(cli, cli->words[0], &a, &e);
        if (q == 0)
                q = print(cli, &a, &e);
        catalog_archive_done(&a);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_show = {
        .name = "show",
        .words = "ARCHIVE",
        .summary = "everything about an archive",
        .about = "Everything about an archive, what happened to it, and which of the private keys\n"
                 "that are configured here open it.",
        .options = options,
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
