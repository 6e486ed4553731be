/* job.c - a job with a configuration and a gather hook of its own, progress, and a way to stop it.
 *
 *     cc job.c $(pkg-config --cflags --libs autoglacier) -o job
 *     ./job '/home/me/bugging/bug*.sh' */
#include <autoglacier.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
        (void)sig;
        interrupted = 1;
}

/* Leaves editors' backup copies out. */
static int gather_hook(void *ctx, struct agl_list *list)
{
        (void)ctx;
        for (size_t i = agl_list_count(list); i-- > 0;) {
                const char *path = agl_list_get(list, i);
                size_t n = strlen(path);
                if (n > 0 && path[n - 1] == '~')
                        agl_list_remove(list, i);
        }
        return agl_list_count(list) > 0 ? 0 : -1; /* not 0: nothing is archived */
}

static void progress(void *ctx, const struct agl_progress *p)
{
        (void)ctx;
        fprintf(stderr, "\r%s: %llu files, %llu bytes read", p->state, (unsigned long long)p->files,
                (unsigned long long)p->read_bytes);
}

static void message(void *ctx, const char *text)
{
        (void)ctx;
        fprintf(stderr, "%s\n", text);
}

static int cancel(void *ctx)
{
        (void)ctx;
        return interrupted;
}

int main(int argc, char **argv)
{
        struct agl_error error;
        struct agl *a;
        char *name = NULL;
        if (argc < 2) {
                fprintf(stderr, "usage: job GLOB...\n");
                return 2;
        }
        signal(SIGINT, on_signal);
        if (agl_open(NULL, &a, &error) < 0) {
                fprintf(stderr, "%s\n", error.text);
                return 1;
        }
        struct agl_job job = {
                .size = sizeof job,
                .description = "scripts, without editors' copies",
                .globs = (const char *const *)argv + 1,
                .config = "{\"COMPRESSION\": \"gzip\"}",
                .flags = AGL_CHANGED,
                .gather_hook = gather_hook,
                .progress = progress,
                .message = message,
                .cancel = cancel,
        };
        int result = agl_backup(a, &job, &name, &error);
        if (result < 0)
                fprintf(stderr, "%s\n", error.text);
        else
                printf("%s\n", name);
        agl_free(name);
        agl_close(a);
        return result < 0 ? 1 : result > 0 ? 3 : 0;
}
