#include "commands.h"

#include "config.h"
#include "engine.h"
#include "io.h"
#include "mountd.h"
#include "own_mount.h"
#include "unmount.h"
#include "words.h"

#include <libgen.h>
#include <limits.h>

/* The real path of the folder that it is in, and its name: it cannot be looked at itself. */
static int path_of_dead(const char *word, char **ret, struct err *e)
{
        _cleanup_free_ char *one = strdup(word), *two = strdup(word);
        _cleanup_free_ char *folder = one ? realpath(dirname(one), NULL) : NULL;
        if (one && !folder)
                return err_errno(e, -errno, "cannot find %s", word);
        *ret = folder && two ? io_join(folder, basename(two)) : NULL;
        return *ret ? 0 : err_oom(e);
}

struct target {
        char *path;
        bool dead; /* its program was killed */
};

/* What is mounted of this set-up, or was until its program was killed. */
static int find_own(const char *data, const struct mountd *m, struct target *t, struct err *e)
{
        if (m->mountpoint)
                return (t->path = strdup(m->mountpoint)) ? 0 : err_oom(e);
        int q = mountd_find_dead(data, &t->path, e);
        t->dead = t->path != NULL;
        return q < 0 || t->dead ? q : err_set(e, -EINVAL, "nothing is mounted");
}

/* A dead mount has no real path, and is there all the same. */
static int find_named(const char *word, struct target *t, struct err *e)
{
        t->path = realpath(word, NULL);
        if (!t->path && errno != ENOTCONN)
                return err_errno(e, -errno, "cannot find %s", word);
        int q = t->path ? 0 : path_of_dead(word, &t->path, e);
        if (q < 0)
                return q;
        if (!own_mount_is_on(t->path))
                return err_set(e, -EINVAL, "%s is not an autoglacier mount", t->path);
        t->dead = own_mount_is_dead(t->path);
        return 0;
}

static void say_pending(struct cli *cli)
{
        unsigned n = 0;
        if (cli_engine(cli, CLI_LOOK, NULL) == 0 && engine_pending(cli->engine, &n, NULL) == 0 &&
                n > 0)
                cli_say(cli, "%s in the background; autoglacier status tells how far it is",
                        WORDS(n, "job goes on", "jobs go on"));
}

static int unmount(struct cli *cli, const struct mountd *m, const struct target *t, struct err *e)
{
        int q = t->dead ? unmount_dead(t->path, e) : unmount_path(t->path, e);
        if (q < 0)
                return q;
        if (t->dead)
                cli_say(cli,
                        "%s was a dead mount, whose program had been killed; it was taken away",
                        t->path);
        else if (m->mountpoint && streq(t->path, m->mountpoint) &&
                 !mountd_wait_gone(cli->config->data, 60))
                cli_say(cli, "unmounted; the program has not let go yet");
        return 0;
}

static int run(struct cli *cli)
{
        struct err e = {0};
        struct mountd m = {0};
        struct target t = {0};
        int q = cli_config(cli, &e);
        if (q == 0)
                q = mountd_find(cli->config->data, &m, &e);
        if (q == 0)
                q = cli->n_words > 0 ? find_named(cli->words[0], &t, &e)
                                     : find_own(cli->config->data, &m, &t, &e);
        if (q == 0)
                q = unmount(cli, &m, &t, &e);
        if (q == 0 && m.mountpoint && streq(t.path, m.mountpoint))
                say_pending(cli);
        free(t.path);
        mountd_done(&m);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}

const struct cli_command cmd_umount = {
        .name = "umount",
        .words = "[MOUNTPOINT]",
        .summary = "unmount; what is being archived goes on",
        .about = "Unmounts MOUNTPOINT, or what is mounted of this set-up. The program goes on\n"
                 "in the background until everything is stored; `stop` ends it, too. A mount\n"
                 "whose program was killed is taken away, also while something uses it.",
        .max_words = 1,
        .run = run,
};
