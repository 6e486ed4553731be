#include "commands.h"

#include "catalog.h"
#include "clock.h"
#include "member.h"

#include <inttypes.h>

static const struct cli_option options[] = {
        {"null", '0', NULL, "each line ended by a zero byte instead of a newline", false},
        {"json", 0, NULL, "each as a JSON object; see autoglacier-json(5)", false},
        {0},
};

struct finding {
        bool null, json;
        unsigned n;
};

static bool is_there(const struct catalog_archive *a)
{
        return a->state != ARCHIVE_DELETED && a->state != ARCHIVE_PREPARED;
}

static int each(void *ctx, const struct catalog_archive *a, const struct catalog_member *m)
{
        struct finding *f = ctx;
        char at[CLOCK_TEXT_MAX];
        if (!is_there(a) || m->type == 'i')
                return 0;
        f->n++;
        if (f->json) {
                member_json(a->id, a->name, m);
                return ferror(stdout) ? -EPIPE : 0;
        }
        clock_iso(m->mtime, at);
        (void)printf("%s  %12" PRIu64 " %s ", a->name, m->size, at);
        member_path(m->path, f->null ? 0 : '\n');
        return ferror(stdout) ? -EPIPE : 0;
}

static int run(struct cli *cli)
{
        struct err e = {0};
        struct finding f = {.null = cli_flag(cli, "null"), .json = cli_flag(cli, "json")};
        if (f.json && f.null)
                return cli_misuse(cli, "--json and --null are one or the other");
        int q = cli_catalog(cli, CLI_LOOK, &e);
        if (q == 0)
                q = catalog_find(cli->catalog, cli->words[0], each, &f, &e);
        if (q < 0 && q != -EPIPE)
                return cli_fail(cli, &e);
        if (f.n == 0) {
                cli_say(cli, "no archive holds anything that matches %s", cli->words[0]);
                return CLI_FAILED;
        }
        return CLI_DONE;
}

const struct cli_command cmd_find = {
        .name = "find",
        .words = "PATTERN",
        .summary = "in which archives something is, and which versions of it",
        .about = "Looks for a shell pattern in all archives and prints archive, size, time and\n"
                 "path of each match, oldest archive first. `*` also stands for '/'; a pattern\n"
                 "without '/' is held against the last part of each path, too. Nothing is\n"
                 "fetched. Exit status 1 if nothing matches.",
        .options = options,
        .min_words = 1,
        .max_words = 1,
        .run = run,
};
