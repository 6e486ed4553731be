#include "manifest_internal.h"

#include <inttypes.h>
#include <jansson.h>

/* ---- times ---- */

void manifest_time_write(int64_t t, char out[MANIFEST_TIME_MAX])
{
        uint64_t u = t < 0 ? -(uint64_t)t : (uint64_t)t;
        (void)snprintf(out, MANIFEST_TIME_MAX, "%s%" PRIu64 ".%09" PRIu64, t < 0 ? "-" : "",
                u / 1000000000, u % 1000000000); /* fits */
}

static bool digits(const char **p, unsigned min, unsigned max, uint64_t *ret)
{
        unsigned n = 0;
        uint64_t v = 0;
        for (; n < max && **p >= '0' && **p <= '9'; n++, (*p)++)
                v = v * 10 + (uint64_t)(**p - '0');
        *ret = v;
        return n >= min;
}

bool manifest_time_parse(const char *s, int64_t *ret)
{
        bool negative = *s == '-';
        uint64_t seconds, ns;
        s += negative;
        if (!digits(&s, 1, 10, &seconds) || *s++ != '.' || !digits(&s, 9, 9, &ns) || *s)
                return false;
        if (seconds > (uint64_t)INT64_MAX / 1000000000 - 1)
                return false;
        int64_t t = (int64_t)(seconds * 1000000000 + ns);
        *ret = negative ? -t : t;
        return true;
}

/* ---- base64 ---- */

static int sextet(char c)
{
        static const char alphabet[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *p = c ? strchr(alphabet, c) : NULL;
        return p ? (int)(p - alphabet) : -1;
}

bool manifest_base64_parse(const char *s, char **ret)
{
        size_t len = strlen(s), n = 0;
        if (len % 4 != 0)
                return false;
        size_t pad = endswith(s, "==") ? 2 : endswith(s, "=") ? 1 : 0;
        _cleanup_free_ char *out = malloc(len / 4 * 3 + 1);
        if (!out)
                return false;
        uint32_t bits = 0;
        for (size_t i = 0; i < len; i++) {
                int v = i >= len - pad ? 0 : sextet(s[i]);
                if (v < 0)
                        return false;
                bits = bits << 6 | (uint32_t)v;
                if (i % 4 != 3)
                        continue;
                for (int shift = 16; shift >= 0; shift -= 8)
                        out[n++] = (char)(bits >> shift & 0xff);
                bits = 0;
        }
        n -= MIN(pad, n);
        out[n] = 0;
        if (strlen(out) != n)
                return false;
        *ret = steal(out);
        return true;
}

/* ---- the locator ---- */

void manifest_locator_write(const struct manifest_locator *l, char out[MANIFEST_RECORD])
{
        char text[MANIFEST_RECORD];
        int n = snprintf(text, sizeof text,
                "{\"manifest_locator\":1,\"offset\":%" PRIu64 ",\"size\":%" PRIu64
                ",\"volume\":%u,\"plain_offset\":%" PRIu64 ",\"block_offset\":%" PRIu64 "}",
                l->tar_offset, l->size, l->volume, l->plain_offset, l->block_tar_offset); /* fits */
        memset(out, ' ', MANIFEST_RECORD);
        memcpy(out, text, (size_t)n);
        out[MANIFEST_RECORD - 1] = '\n';
}

static bool number(const json_t *o, const char *key, uint64_t *ret)
{
        const json_t *v = json_object_get(o, key);
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return false;
        *ret = (uint64_t)json_integer_value(v);
        return true;
}

int manifest_locator_parse(
        const char in[MANIFEST_RECORD], struct manifest_locator *ret, struct err *e)
{
        struct manifest_locator l = {0};
        uint64_t version, volume;
        _cleanup_(json_decrefp) json_t *o =
                json_loadb(in, MANIFEST_RECORD, JSON_REJECT_DUPLICATES, NULL);
        if (!o || !number(o, "manifest_locator", &version))
                return err_set(
                        e, -EPROTO, "there is no locator of a manifest at the end of the archive");
        if (version != 1)
                return err_set(e, -EPROTONOSUPPORT,
                        "the locator of the manifest is of version %" PRIu64
                        ", which is newer than this program",
                        version);
        if (!number(o, "offset", &l.tar_offset) || !number(o, "size", &l.size) ||
                !number(o, "volume", &volume) || !number(o, "plain_offset", &l.plain_offset) ||
                !number(o, "block_offset", &l.block_tar_offset) || volume > UINT32_MAX)
                return err_set(e, -EPROTO, "the locator of the manifest is broken");
        l.volume = (unsigned)volume;
        *ret = l;
        return 0;
}
