#include "newkeys.h"

#include "ask.h"
#include "first.h"
#include "io.h"
#include "keys.h"
#include "secret.h"

#include <libgen.h>
#include <limits.h>

bool newkeys_asked(const struct cli *cli)
{
        return cli_flag(cli, "passphrase") || cli_flag(cli, "passphrase-file") ||
               cli_flag(cli, "bits");
}

static int passphrase(const struct cli *cli, const char *path, struct secret **ret, struct err *e)
{
        const char *file = cli_value(cli, "passphrase-file");
        if (file)
                return ask_file(file, ret, e);
        return cli_flag(cli, "passphrase") ? ask_new_passphrase(path, ret, e) : 0;
}

static int bits(const struct cli *cli, unsigned *ret, struct err *e)
{
        const char *text = cli_value(cli, "bits");
        char *end = NULL;
        unsigned long n = text ? strtoul(text, &end, 10) : KEYS_DEFAULT_BITS;
        if ((text && (*end || end == text)) || n < 2048 || n > 8192)
                return err_set(
                        e, -EINVAL, "--bits must be a number from 2048 to 8192, not %s", text);
        *ret = (unsigned)n;
        return 0;
}

static int make_folder(const char *path, struct err *e)
{
        _cleanup_free_ char *copy = strdup(path);
        return copy ? io_mkdir_p(dirname(copy), 0700, e) : err_oom(e);
}

int newkeys_make(struct cli *cli, const char *private_path, const char *public_path)
{
        _cleanup_secret_ struct secret *s = NULL;
        unsigned n = 0;
        struct err e = {0};
        int q = bits(cli, &n, &e);
        if (q < 0) {
                (void)cli_fail(cli, &e);
                return CLI_USAGE;
        }
        if ((q = passphrase(cli, private_path, &s, &e)) == 0 &&
                (q = make_folder(private_path, &e)) == 0 &&
                (q = make_folder(public_path, &e)) == 0 &&
                (q = keys_generate(n, private_path, public_path, s, &e)) == 0)
                q = first_sheet(cli, private_path, public_path, &e);
        return q < 0 ? cli_fail(cli, &e) : CLI_DONE;
}
