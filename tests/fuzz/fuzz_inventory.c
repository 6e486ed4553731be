/* fuzz_inventory.c - inventories and descriptions of a vault against anything.
 *
 * Anybody who may write to the vault writes descriptions. An inventory must read the same in pieces
 * of any size, and a name that was read from a description must come back from one made of it. */
#include "base.h"
#include "buf.h"
#include "glacier_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int take(void *ctx, const struct glacier_listed *l, struct err *e _unused_)
{
        buf_addf(ctx, "%s %s %llu %lld %u\n", l->archive, l->description,
                (unsigned long long)l->size, (long long)l->created, l->tree_hash[31]);
        return 0;
}

static int read_in_pieces(const uint8_t *data, size_t len, size_t step, struct buf *out)
{
        _cleanup_(glacier_inventory_freep) struct glacier_inventory *i = NULL;
        int64_t date = 0;
        int q = glacier_inventory_new(take, out, &i, NULL);
        for (size_t at = 0; q == 0 && at < len; at += step)
                q = glacier_inventory_feed(i, data + at, MIN(step, len - at), NULL);
        if (q == 0)
                q = glacier_inventory_end(i, &date, NULL);
        buf_addf(out, "%d %lld\n", q, (long long)date);
        return q;
}

static void check_name(const uint8_t *data, size_t len)
{
        _cleanup_free_ char *text = strndup((const char *)data, len);
        char name[256], again[256], description[GLACIER_DESCRIPTION_MAX + 1];
        if (!text || !glacier_description_name(text, name, sizeof name))
                return;
        if (glacier_description(name, text, description) < 0 ||
                strlen(description) > GLACIER_DESCRIPTION_MAX ||
                !glacier_description_name(description, again, sizeof again) || !streq(name, again))
                abort();
        for (const char *p = description; *p; p++)
                if (*p < 0x20 || *p > 0x7e)
                        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        _cleanup_buf_ struct buf whole = BUF_INIT;
        _cleanup_buf_ struct buf pieces = BUF_INIT;
        if (read_in_pieces(data, len, len + 1, &whole) != read_in_pieces(data, len, 3, &pieces) ||
                !streq(buf_str(&whole), buf_str(&pieces)))
                abort();
        check_name(data, len);
        return 0;
}
