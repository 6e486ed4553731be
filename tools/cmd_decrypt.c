#include "commands.h"

#include "ask.h"
#include "decrypt.h"
#include "keys.h"
#include "progress.h"

static const struct cli_option options[] = {
        {"key", 'k', "KEY", "the private key's file", false},
        {"output", 'o', "OUT", "the file to make; without it, the name of the first volume decides",
                false},
        {0},
};

static void show(void *ctx, uint64_t done, uint64_t todo)
{
        progress_show(ctx, done, todo);
}

/* "ID-0001.tar.xz.esdk" -> "ID.tar.xz", in the current folder. */
static char *default_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        size_t n = strlen(name);
        if (endswith(name, ".esdk"))
                n -= 5;
        const char *dot = memchr(name, '.', n);
        size_t stem = dot ? (size_t)(dot - name) : n;
        size_t tail = n - stem;
        bool numbered =
                stem > 5 && name[stem - 5] == '-' && strspn(name + stem - 4, "0123456789") == 4;
        char *s;
        if (n == strlen(name) || n == 0)
                return asprintf(&s, "%s.decrypted", name) < 0 ? NULL : s;
        if (numbered)
                stem -= 5;
        return asprintf(&s, "%.*s%.*s", (int)stem, name, (int)tail, dot ? dot : "") < 0 ? NULL : s;
}

static int run(struct cli *cli)
{
        const char *key_path = cli_value(cli, "key");
        _cleanup_free_ char *name = NULL;
        _cleanup_(keys_private_freep) struct keys_private *key = NULL;
        struct progress p;
        struct err e = {0};
        if (!key_path)
                return cli_misuse(cli, "name the private key with --key KEY");
        const char *out = cli_value(cli, "output");
        if (out && streq(out, "-"))
                return cli_misuse(cli, "-o wants a file: it gets its name when all is checked");
        if (!out)
                out = name = default_name(cli->words[0]);
        if (!out)
                return cli_fail(cli, &(struct err){.code = -ENOMEM});
        int q = keys_private_load_any(
                key_path, ask_possible() ? ask_passphrase : NULL, NULL, &key, &e);
        if (q == 0) {
                cli_catch_signals();
                progress_begin(&p, "decrypting");
                q = decrypt_run(key, (const char *const *)cli->words, out, show, &p, &cli_stop, &e);
                progress_clear(&p);
        }
        if (q < 0)
                return cli_fail(cli, &e);
        (void)printf("%s\n", out);
        return CLI_DONE;
}

const struct cli_command cmd_decrypt = {
        .name = "decrypt",
        .words = "FILE…",
        .summary = "archive volumes to one compressed tar file, with the private key alone",
        .about = "Decrypts the volumes of one archive, in their order, to one .tar.xz (or\n"
                 ".tar.zst …). Needs no catalogue, no network and no configuration. Every MiB\n"
                 "is authenticated before it is written; OUT gets its name when all is done,\n"
                 "and is never overwritten.",
        .options = options,
        .min_words = 1,
        .max_words = -1,
        .run = run,
};
