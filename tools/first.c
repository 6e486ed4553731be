#include "first.h"

#include "buf.h"
#include "engine.h"
#include "keys.h"
#include "keys_sheet.h"

int first_use(struct cli *cli, struct err *e)
{
        _cleanup_free_ char *said = NULL;
        char *save = NULL;
        int q = engine_prepare(cli->engine, &said, e);
        if (q < 0 || !said)
                return q;
        for (char *line = strtok_r(said, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                cli_say(cli, "%s", line);
        return 0;
}

int first_sheet(
        struct cli *cli _unused_, const char *private_path, const char *public_path, struct err *e)
{
        _cleanup_(keys_public_freep) struct keys_public *k = NULL;
        _cleanup_buf_ struct buf sheet = BUF_INIT;
        int q = keys_public_load(public_path, &k, e);
        if (q < 0)
                return q;
        /* on paper a path is of use only if it is whole */
        _cleanup_free_ char *private_whole = realpath(private_path, NULL);
        _cleanup_free_ char *public_whole = realpath(public_path, NULL);
        keys_recovery_sheet(private_whole ? private_whole : private_path,
                public_whole ? public_whole : public_path, keys_public_fingerprint(k), &sheet);
        if (buf_oom(&sheet))
                return err_oom(e);
        cli_print(buf_str(&sheet), sheet.len);
        return 0;
}
