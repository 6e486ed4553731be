#include "commands.h"

#include "catalog.h"
#include "catalog_version.h"
#include "member.h"

#include <fnmatch.h>

static const struct cli_option options[] = {
        {"long", 'l', NULL, "with mode, owner, size and time", false},
        {"null", '0', NULL, "each name ended by a zero byte instead of a newline", false},
        {"json", 0, NULL, "each as a JSON object; see autoglacier-json(5)", false},
        {0},
};

struct listing {
        const char *pattern, *id;
        bool whole, null, json;
        unsigned n;
};

/* Like `find`: the whole path, or the last component where the pattern has no '/'. */
static bool matches(const char *pattern, const char *path)
{
        const char *slash = strrchr(path, '/');
        if (fnmatch(pattern, path, 0) == 0)
                return true;
        return slash && !strchr(pattern, '/') && fnmatch(pattern, slash + 1, 0) == 0;
}

/* `base`: the archive that holds it, if that is an older one. */
static int show(struct listing *l, const char *base, const struct catalog_member *m)
{
        if (m->type == 'i' || (l->pattern && !matches(l->pattern, m->path)))
                return 0;
        l->n++;
        if (l->json) {
                member_json(base ? base : l->id, NULL, m);
        } else if (!l->whole) {
                member_path(m->path, l->null ? 0 : '\n');
        } else {
                member_long(m);
                if (base)
                        (void)printf("  [in %s]", base); /* cli_flush() tells errors */
                (void)putchar(l->null ? 0 : '\n');
        }
        return ferror(stdout) ? -EPIPE : 0;
}

static int each(void *ctx, const struct catalog_member *m)
{
        return show(ctx, NULL, m);
}

/* What had not changed when the archive was made, and lies in an older one. */
static int elsewhere(void *ctx, const char *base, const struct catalog_member *m)
{
        return show(ctx, base, m);
}

static int run(struct cli *cli)
{
        struct listing l = {.pattern = cli->words[1],
                .whole = cli_flag(cli, "long"),
                .null = cli_flag(cli, "null"),
                .json = cli_flag(cli, "json")};
        struct catalog_archive a = {0};
        struct err e = {0};
        if (l.json && (l.whole || l.null))
                return cli_misuse(cli, "--json goes with neither --long nor --null");
        int q = cli_archive(cli, cli->words[0], &a, &e);
        l.id = a.id;
        if (q == 0)
                q = catalog_members_each(cli->catalog, a.id, CATALOG_AS_TREE, each, &l, &e);
        if (q == 0)
                q = catalog_unchanged_each(cli->catalog, a.id, elsewhere, &l, &e);
        int status = q < 0 && q != -EPIPE ? cli_fail(cli, &e) : CLI_DONE;
        if (status == CLI_DONE && l.pattern && l.n == 0) {
                cli_say(cli, "nothing in %s matches %s", a.name, l.pattern);
                status = CLI_FAILED;
        }
        catalog_archive_done(&a);
        return status;
}

const struct cli_command cmd_files = {
        .name = "files",
        .words = "ARCHIVE [PATTERN]",
        .summary = "what is in an archive",
        .about = "Lists what is in an archive, or what of it matches a shell pattern, from the\n"
                 "catalogue: nothing is fetched. `*` also stands for '/'; a pattern without\n"
                 "'/' is held against the last part of each path, too. An archive of only what\n"
                 "changed also lists what had not changed; --long tells in which archive it is.",
        .options = options,
        .min_words = 1,
        .max_words = 2,
        .run = run,
};
