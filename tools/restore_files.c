#include "restore_files.h"

#include "ask.h"
#include "config.h"
#include "decrypt.h"
#include "keys.h"
#include "progress.h"
#include "words.h"

#include <sys/stat.h>

static bool is_file(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool restore_files_meant(const struct cli *cli)
{
        return is_file(cli->words[0]);
}

/* The first word, and those that follow as long as they are volumes. */
static size_t count_files(const struct cli *cli)
{
        size_t n = 1;
        while (n < (size_t)cli->n_words && endswith(cli->words[n], ".esdk") &&
                is_file(cli->words[n]))
                n++;
        return n;
}

/* "ID-0001.tar.xz.esdk" -> "ID", "photos.tar.gz" -> "photos" */
static char *default_folder(const char *path)
{
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        const char *tar = strstr(name, ".tar");
        size_t n = tar && tar > name ? (size_t)(tar - name) : strlen(name);
        if (n > 5 && name[n - 5] == '-' && strspn(name + n - 4, "0123456789") >= 4)
                n -= 5;
        char *s;
        return asprintf(&s, "%.*s%s", (int)n, name, n == strlen(name) ? ".restored" : "") < 0 ? NULL
                                                                                              : s;
}

static int load_key(struct cli *cli, struct keys_private **ret, struct err *e)
{
        const char *path = cli_value(cli, "key");
        if (!path) {
                int q = cli_config(cli, e);
                if (q < 0)
                        return q;
                path = cli->config->private_keys[0];
        }
        return keys_private_load_any(path, ask_possible() ? ask_passphrase : NULL, NULL, ret, e);
}

struct work {
        struct cli *cli;
        struct progress progress;
};

static void show(void *ctx, uint64_t done, uint64_t todo)
{
        struct work *w = ctx;
        progress_show(&w->progress, done, todo);
}

static void warn(void *ctx, const char *path, const char *why)
{
        struct work *w = ctx;
        progress_clear(&w->progress);
        cli_say(w->cli, "%s: %s", path, why);
}

static int restore(struct cli *cli, const char *to, const char *const *files,
        const char *const *paths, uint64_t *ret_files, struct err *e)
{
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        struct work w = {.cli = cli};
        int q = load_key(cli, &key, e);
        if (q < 0)
                return q;
        const struct decrypt_restore r = {.key = key,
                .files = files,
                .to = to,
                .paths = paths,
                .overwrite = cli_flag(cli, "overwrite"),
                .progress = show,
                .warn = warn,
                .ctx = &w,
                .stop = &cli_stop};
        cli_catch_signals();
        progress_begin(&w.progress, "restoring");
        q = decrypt_restore(&r, ret_files, e);
        progress_clear(&w.progress);
        return q;
}

int restore_files(struct cli *cli, struct err *e)
{
        size_t n = count_files(cli);
        _cleanup_free_ const char **files = calloc(n + 1, sizeof *files);
        _cleanup_free_ char *folder = default_folder(cli->words[0]);
        const char *to = cli_value(cli, "to");
        uint64_t done = 0;
        if (!files || !folder)
                return err_oom(e);
        if (cli_flag(cli, "dry-run"))
                return cli_misuse(cli, "--dry-run is for archives in the catalogue");
        for (size_t i = 0; i < n; i++)
                files[i] = cli->words[i];
        const char *const *paths = (const char *const *)cli->words + n;
        to = to ? to : folder;
        int q = restore(cli, to, files, *paths ? paths : NULL, &done, e);
        if (q < 0)
                return q;
        (void)printf("%s\n", to);
        cli_say(cli, "restored %s", WORDS(done, "file", NULL));
        return q > 0 ? CLI_WARNINGS : CLI_DONE;
}
