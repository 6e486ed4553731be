#include "notify.h"

#include "catalog.h"
#include "child.h"
#include "clock.h"
#include "config.h"
#include "io.h"

#include <sys/mman.h>

#define LIMIT_NS (60 * CLOCK_NSEC)

struct facts {
        char *env[6];
        int in;
};

static void facts_done(struct facts *f)
{
        for (size_t i = 0; i < ARRAY_SIZE(f->env); i++)
                free(f->env[i]);
        base_closep(&f->in);
}

static int make_env(struct facts *f, const char *event, const struct catalog_archive *a)
{
        const char *const values[][2] = {{"EVENT", event}, {"ARCHIVE", a->name}, {"ID", a->id},
                {"DESCRIPTION", a->description}, {"ERROR", a->error}};
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                if (asprintf(&f->env[i], "AUTOGLACIER_%s=%s", values[i][0],
                            values[i][1] ? values[i][1] : "") < 0) {
                        f->env[i] = NULL;
                        return -ENOMEM;
                }
        }
        return 0;
}

/* The sentence, as a file without a name: a command that does not read it cannot block us. */
static int make_input(struct facts *f, const char *event, const struct catalog_archive *a)
{
        _cleanup_free_ char *text = NULL;
        bool why = a->error && *a->error;
        if (asprintf(&text, "autoglacier: %s is %s%s%s\n", a->name, event, why ? ": " : "",
                    why ? a->error : "") < 0) {
                text = NULL;
                return -ENOMEM;
        }
        f->in = memfd_create("autoglacier", MFD_CLOEXEC);
        if (f->in < 0)
                return -errno;
        int q = io_write_full(f->in, text, strlen(text));
        return q < 0 ? q : lseek(f->in, 0, SEEK_SET) < 0 ? -errno : 0;
}

int notify_run(const struct config *config, const char *event, const struct catalog_archive *a,
        int (*tick)(void *ctx, struct err *e), void *ctx, struct err *e)
{
        if (!config->notify_command)
                return 0;
        _cleanup_(facts_done) struct facts f = {.in = -EBADF};
        int q = make_env(&f, event, a);
        if (q == 0)
                q = make_input(&f, event, a);
        if (q < 0)
                return err_errno(e, q, "cannot run NOTIFY_COMMAND");
        const char *argv[] = {"/bin/sh", "-c", config->notify_command, NULL};
        const struct child_params p = {.argv = argv,
                .env = (const char *const *)f.env,
                .in_fd = f.in,
                .limit_ns = LIMIT_NS,
                .tick = tick,
                .ctx = ctx};
        int status = 0;
        if ((q = child_run(&p, &status, e)) < 0)
                return err_prefix(e, q, "NOTIFY_COMMAND"), q;
        _cleanup_free_ char *why = child_why(status);
        return why ? err_set(e, -EIO, "NOTIFY_COMMAND %s", why) : 0;
}
