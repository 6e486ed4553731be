#include "order.h"

#include "catalog.h"
#include "clock.h"
#include "engine.h"
#include "follow.h"
#include "words.h"

#define PATIENCE "10m"

static int64_t patience(const struct cli *cli)
{
        const char *time = cli_value(cli, "patience");
        int64_t seconds;
        return clock_parse_duration(time ? time : PATIENCE, &seconds) < 0 ? -1 : seconds;
}

int order_check(struct cli *cli)
{
        if (patience(cli) > 0)
                return CLI_DONE;
        return cli_misuse(cli, "--patience wants a time like 90s, 15m, 8h or 2d, not %s",
                cli_value(cli, "patience"));
}

static int say_stored(struct cli *cli, const char *id, int result, struct err *e)
{
        struct catalog_archive a = {0};
        int q = cli_catalog(cli, CLI_WORK, e);
        if (q == 0)
                q = catalog_archive_get(cli->catalog, id, &a, e);
        if (q < 0)
                return q;
        char bytes[CLOCK_TEXT_MAX], stored[CLOCK_TEXT_MAX];
        clock_bytes_words(a.bytes, bytes);
        clock_bytes_words(a.stored_bytes, stored);
        (void)printf("%s\n", a.name);
        cli_say(cli, "%s: %s, %s, stored as %s", archive_state_name(a.state),
                WORDS(a.n_files + a.n_hardlinks, "file", NULL), bytes, stored);
        if (result > 0)
                cli_say(cli, "%s; see: autoglacier show %s", WORDS(a.n_warnings, "warning", NULL),
                        a.name);
        catalog_archive_done(&a);
        return 0;
}

/* Every program that runs jobs runs those whose maker is gone, too. */
static void adopt_others(struct cli *cli)
{
        unsigned n = 0;
        if (engine_ready(cli->engine, &n, NULL) < 0 || n == 0)
                return;       /* somebody else takes them up another time */
        (void)fflush(stdout); /* who waits for our result has it now; cli_flush() tells errors */
        cli_say(cli, "going on with %s that no program works on; Ctrl-C leaves %s",
                WORDS(n, "other archive", NULL), n == 1 ? "it" : "them");
        if (engine_start(cli->engine, NULL) == 0)
                engine_drain(cli->engine, &cli_stop);
}

/* It may not be the newest: several run at once, and `retry` takes any. */
static int say_kept(struct cli *cli, const char *id, const char *how)
{
        struct catalog_archive a = {0};
        bool named = cli_archive(cli, id, &a, NULL) == 0;
        cli_say(cli, "%s: autoglacier retry %s", how, named ? a.name : id);
        catalog_archive_done(&a);
        return CLI_UNFINISHED;
}

static int run_one(struct cli *cli, const char *id)
{
        struct err e = {0};
        struct follow *f;
        int q = follow_begin(cli->engine, id, &f, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        q = engine_run(cli->engine, id, &e);
        follow_end(f);
        if (q == -ECANCELED && atomic_load(&cli_stop))
                return say_kept(cli, id, "stopped; it is kept, and goes on with a mount, or with");
        if (q == -EAGAIN) {
                cli_say(cli, "it waits: %s", e.text);
                return say_kept(cli, id,
                        "it is kept, and any mount or the next backup goes on with it, or now");
        }
        struct err say = {0};
        if (q < 0)
                return cli_fail(cli, &e);
        if (say_stored(cli, id, q, &say) < 0)
                return cli_fail(cli, &say);
        return q > 0 ? CLI_WARNINGS : CLI_DONE;
}

int order_run(struct cli *cli, const char *id)
{
        cli_catch_signals();
        engine_set_patience(cli->engine, patience(cli) * CLOCK_NSEC);
        int status = run_one(cli, id);
        if (!atomic_load(&cli_stop))
                adopt_others(cli);
        return status;
}

int order_detach(struct cli *cli, const char *id)
{
        struct err e = {0};
        struct catalog_archive a = {0};
        int q = engine_detach(cli->engine, id, &e);
        if (q == 0)
                q = cli_archive(cli, id, &a, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        (void)printf("%s\n", a.name);
        catalog_archive_done(&a);
        return CLI_UNFINISHED;
}
