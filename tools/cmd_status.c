#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "catalog_restore.h"
#include "config.h"
#include "mountd.h"
#include "progress.h"
#include "report.h"

#include <time.h>

static const struct cli_option options[] = {
        {"json", 0, NULL, "as JSON; see autoglacier-json(5)", false},
        {"watch", 'w', NULL, "again and again, until nothing goes on any more", false},
        {0},
};

struct look {
        struct buf text;
        bool failed;
        unsigned going; /* jobs and restores that are not over */
};

struct bars {
        struct buf *out;
        unsigned going;
};

/* One line a job that is being read, for --watch. */
static int bar(void *ctx, const struct catalog_archive *a)
{
        struct bars *b = ctx;
        char line[96];
        bool over = archive_is_stored(a->state) || a->state == ARCHIVE_FAILED ||
                    a->state == ARCHIVE_DELETED;
        b->going += !over || a->restoring == 1;
        if (a->state != ARCHIVE_GATHERING || a->todo_bytes == 0)
                return 0;
        progress_bar(a->read_bytes, a->todo_bytes, 50, line, sizeof line);
        buf_addf(b->out, "%s %s\n", line, a->name);
        return 0;
}

static int restoring(void *ctx, const struct catalog_restore *r)
{
        struct bars *b = ctx;
        b->going += restore_is_active(r->state);
        return 0;
}

static int look(struct cli *cli, struct look *l, struct err *e)
{
        bool json = cli_flag(cli, "json"), with_bars = cli_flag(cli, "watch") && !json;
        _cleanup_buf_ struct buf lines = BUF_INIT;
        struct bars b = {.out = &lines};
        buf_reset(&l->text);
        l->failed = false;
        int q = report_status(cli->catalog, cli->config, json, &l->text, &l->failed, e);
        if (q == 0)
                q = catalog_archive_each(cli->catalog, bar, &b, e);
        if (q == 0)
                q = catalog_restore_each(cli->catalog, NULL, restoring, &b, e);
        if (with_bars && lines.len > 0)
                buf_addf(&l->text, "\n%s", buf_str(&lines));
        l->going = b.going;
        return q < 0 ? q : 0;
}

static void show(const struct look *l, bool again)
{
        if (again && progress_possible(STDOUT_FILENO))
                (void)fputs("\033[H\033[J", stdout);
        cli_print(buf_str(&l->text), l->text.len);
        (void)fflush(stdout); /* cli_flush() tells errors */
}

static int watch(struct cli *cli, struct look *l, struct err *e)
{
        const struct timespec second = {.tv_sec = 1};
        int64_t seen = -1, now = 0;
        cli_catch_signals();
        do {
                int q = catalog_version(cli->catalog, &now, e);
                if (q == 0)
                        q = look(cli, l, e);
                if (q < 0)
                        return q;
                /* rates and times move on a terminal even where nothing else does */
                if (now != seen || progress_possible(STDOUT_FILENO))
                        show(l, true);
                seen = now;
        } while (l->going > 0 && !atomic_load(&cli_stop) && !ferror(stdout) &&
                 (nanosleep(&second, NULL) == 0 || !atomic_load(&cli_stop)));
        return 0;
}

/* Where people would look in vain, and what to do. Not worth failing for. */
static void say_dead(struct cli *cli)
{
        _cleanup_free_ char *at = NULL;
        if (mountd_find_dead(cli->config->data, &at, NULL) == 0 && at)
                cli_say(cli,
                        "%s is a dead mount: its program was killed. autoglacier mount mounts it "
                        "again, autoglacier umount takes it away",
                        at);
}

static int run(struct cli *cli)
{
        struct look l = {.text = BUF_INIT};
        struct err e = {0};
        int q = cli_catalog(cli, CLI_LOOK, &e);
        if (q == -ENOENT) /* nothing yet: an empty catalogue says so, and looking makes no folder */
                q = catalog_open(NULL, &cli->catalog, &e);
        if (q == 0)
                say_dead(cli);
        if (q == 0 && cli_flag(cli, "watch"))
                q = watch(cli, &l, &e);
        else if (q == 0 && (q = look(cli, &l, &e)) == 0)
                show(&l, false);
        buf_done(&l.text);
        if (q < 0)
                return cli_fail(cli, &e);
        return l.failed ? CLI_WARNINGS : CLI_DONE;
}

const struct cli_command cmd_status = {
        .name = "status",
        .words = "",
        .summary = "what is going on, what waits, what failed, and whether it is a backup yet",
        .about = "Tells of every archive that is not stored yet: step, bytes, speed, time\n"
                 "left, and the last error; then of the one that was stored last. Begins with\n"
                 "NOT YET A BACKUP, and the remedy, as long as that is so. Exit status 3 while\n"
                 "anything has failed.",
        .options = options,
        .max_words = 0,
        .run = run,
};
