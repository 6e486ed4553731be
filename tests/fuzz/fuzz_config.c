/* fuzz_config.c - the reader of CONFIG.json against anything.
 *
 * What is accepted keeps the promises of config.h and can be printed without its secrets; what is
 * refused says why. */
#include "base.h"
#include "buf.h"
#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void need(bool good)
{
        if (!good)
                abort();
}

static void look_at(const struct config *c)
{
        need(c->file && c->data && c->tmp_dir && c->private_keys && c->private_keys[0] &&
                c->vault && c->mountpoint);
        need(c->public_keys && c->public_keys[0] && c->exclude && c->restore_tier);
        need(c->data[0] == '/' && c->mountpoint[0] == '/');
        need(c->volume_size > 0 && c->spool_limit > 0 && c->upload_concurrency > 0);
        need(c->cost_limit >= 0);
        for (int json = 0; json < 2; json++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                need(config_print(c, json, &b) == 0 && b.len > 0);
                const char *secret = c->aws_secret_access_key;
                if (secret && strlen(secret) > 12) /* shorter ones may stand there by chance */
                        need(!strstr(buf_str(&b), secret));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct err e = {0};
        struct config *c = NULL;
        int q = config_parse((const char *)data, len, "CONFIG.json", &c, &e);
        if (q == 0)
                look_at(c);
        else
                need(!c && e.code == q && e.text[0]);
        config_free(c);
        return 0;
}
