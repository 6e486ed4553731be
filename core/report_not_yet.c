#include "report_internal.h"

#include "config.h"
#include "keys.h"

#include <sys/stat.h>

/* ---- where things lie ---- */

/* The device of a path, or of the nearest folder above it that is there. */
static bool device_of(const char *path, dev_t *ret)
{
        _cleanup_free_ char *p = strdup(path);
        struct stat st;
        while (p && stat(p, &st) < 0) {
                char *slash = strrchr(p, '/');
                if (!slash || (errno != ENOENT && errno != ENOTDIR))
                        return false;
                slash[slash == p] = 0;
                if (slash == p && stat(p, &st) < 0)
                        return false;
        }
        if (!p)
                return false;
        *ret = st.st_dev;
        return true;
}

/* What the store is to protect: what is staged, and what is linked to, which mostly lies at home.
 */
static bool shares_disk(const struct config *config, const char *store)
{
        const char *const places[] = {config->data, getenv("HOME")};
        dev_t there, here;
        if (!device_of(store, &there))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (places[i] && *places[i] && device_of(places[i], &here) &&
                        report_same_disk("", here, there))
                        return true;
        return false;
}

static void add_disk(const struct config *config, struct buf *b)
{
        const char *store = startswith(config->vault, "dir:");
        if (!store || !shares_disk(config, store))
                return;
        buf_addf(b,
                " The store %s lies on the same disk as what it is to protect: when that disk is "
                "gone, both are. "
                "Set \"VAULT\": \"dir:/a/folder/on/another/disk\" in %s.",
                store, config->file);
}

/* ---- the private key ---- */

static bool has_word(const char *words, const char *word)
{
        size_t n = strlen(word);
        for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
                if ((p == words || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
                        return true;
        return false;
}

/* One recipient whose private key has been shown to be kept elsewhere is enough to get everything
 * back. */
static bool is_proven(const struct config *config, const char *proven)
{
        for (char *const *path = config->public_keys; path && *path; path++) {
                _cleanup_(keys_public_freep) struct keys_public *k = NULL;
                if (keys_public_load(*path, &k, NULL) == 0 &&
                        has_word(proven, keys_public_fingerprint(k)))
                        return true;
        }
        return false;
}

static int add_key(struct catalog *c, const struct config *config, struct buf *b, struct err *e)
{
        _cleanup_free_ char *proven = NULL;
        int q = catalog_get(c, "key_proven", &proven, e);
        if (q < 0 || (proven && is_proven(config, proven)))
                return q;
        buf_adds(b, b->len > 0 ? " And no" : " No");
        buf_adds(b, " copy of the private key has been proven: without the key nobody can read "
                    "what is stored. "
                    "Copy ");
        buf_adds(b, config->private_keys[0]);
        buf_adds(b, " to another place, and show it with autoglacier verify --key COPY.");
        return 0;
}

int report_not_yet(struct catalog *c, const struct config *config, struct buf *ret, struct err *e)
{
        _cleanup_buf_ struct buf why = BUF_INIT;
        add_disk(config, &why);
        int q = add_key(c, config, &why, e);
        if (q < 0)
                return q;
        if (why.len > 0)
                buf_addf(ret, "NOT YET A BACKUP:%s", buf_str(&why));
        return buf_oom(ret) || buf_oom(&why) ? err_oom(e) : 0;
}
