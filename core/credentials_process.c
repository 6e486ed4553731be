#include "credentials_internal.h"

#include "child.h"
#include "clock.h"
#include "secret.h"

#define OUTPUT_MAX 65536
#define PATIENCE   (60 * CLOCK_NSEC)

struct output {
        struct secret *text;
        size_t len;
        char said[200]; /* the beginning of what it says on stderr */
};

static int take_output(void *ctx, const char *data, size_t len, struct err *e)
{
        struct output *o = ctx;
        if (len > OUTPUT_MAX - o->len)
                return err_set(e, -EFBIG, "credential_process says more than keys");
        memcpy(o->text->data + o->len, data, len);
        o->len += len;
        return 0;
}

static int take_words(void *ctx, const char *data, size_t len, struct err *e _unused_)
{
        struct output *o = ctx;
        size_t n = strlen(o->said);
        (void)snprintf(
                o->said + n, sizeof o->said - n, "%.*s", (int)MIN(len, sizeof o->said), data);
        return 0;
}

/* A command line as people write it in a shell: quotes, variables and all. */
static int run(const char *command, struct output *o, struct err *e)
{
        const char *const argv[] = {"/bin/sh", "-c", command, NULL};
        const struct child_params p = {.argv = argv,
                .in_fd = -EBADF,
                .limit_ns = PATIENCE,
                .out = take_output,
                .err = take_words,
                .ctx = o};
        int status = 0;
        int q = child_run(&p, &status, e);
        if (q == -ETIME)
                return err_set(e, -EAGAIN, "credential_process did not come to an end");
        if (q < 0)
                return err_prefix(e, q, "credential_process");
        _cleanup_free_ char *why = child_why(status);
        if (!why)
                return 0;
        o->said[strcspn(o->said, "\n")] = 0;
        return err_set(e, -EAGAIN, "credential_process %s%s%s", why, *o->said ? ": " : "", o->said);
}

int credentials_from_process(
        const struct credentials_params *p, struct credentials_keys *ret, struct err *e)
{
        char command[4096];
        if (!credentials_setting(
                    credentials_profile(p->profile), "credential_process", command, sizeof command))
                return -ENOENT;
        struct output o = {0};
        if (secret_new(OUTPUT_MAX, &o.text) < 0)
                return err_oom(e);
        int q = run(command, &o, e);
        if (q == 0)
                q = credentials_from_json(
                        ret, (const char *)o.text->data, o.len, "credential_process", e);
        secret_free(o.text);
        return q;
}
