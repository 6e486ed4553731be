#include "config_internal.h"

#include <inttypes.h>
#include <libgen.h>

static char *folder_of(const struct config *c)
{
        _cleanup_free_ char *copy = strdup(c->file);
        return copy ? strdup(dirname(copy)) : NULL;
}

static int replace(char **slot, char *value)
{
        if (!value)
                return -ENOMEM;
        free(*slot);
        *slot = value;
        return 0;
}

static int set_string(char **slot, const json_t *v, struct err *e)
{
        const char *s = json_is_null(v) ? "" : json_string_value(v);
        if (!s)
                return err_set(e, -EINVAL, "must be a text in quotes");
        if (*s == 0) {
                free(*slot);
                *slot = NULL; /* an empty text is as good as none */
                return 0;
        }
        return replace(slot, strdup(s)) < 0 ? err_oom(e) : 0;
}

static int set_path(const struct config *c, char **slot, const json_t *v, struct err *e)
{
        int q = set_string(slot, v, e);
        if (q < 0 || !*slot)
                return q;
        _cleanup_free_ char *base = folder_of(c);
        return !base || replace(slot, config_expand(*slot, base)) < 0 ? err_oom(e) : 0;
}

static int set_list(
        const struct config *c, char ***slot, const json_t *v, bool paths, struct err *e)
{
        size_t n = json_is_array(v) ? json_array_size(v) : 1;
        if (!json_is_array(v) && !json_is_string(v))
                return err_set(e, -EINVAL, "must be a text in quotes or a list of them");
        char **list = calloc(n + 1, sizeof *list);
        if (!list)
                return err_oom(e);
        int q = n == 0 && paths ? err_set(e, -EINVAL, "must name at least one") : 0;
        for (size_t i = 0; q == 0 && i < n; i++) {
                const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;
                q = paths ? set_path(c, &list[i], item, e) : set_string(&list[i], item, e);
                if (q == 0 && !list[i])
                        q = err_set(e, -EINVAL, "an entry is empty");
        }
        if (q < 0) {
                for (size_t i = 0; i < n; i++)
                        free(list[i]);
                free(list);
                return q;
        }
        for (size_t i = 0; *slot && (*slot)[i]; i++)
                free((*slot)[i]);
        free(*slot);
        *slot = list;
        return 0;
}

static int set_compression(enum compress_kind *slot, const json_t *v, struct err *e)
{
        const char *s = json_string_value(v);
        if (!s || compress_parse(s, slot) < 0)
                return err_set(
                        e, -EINVAL, "must be \"lzma\", \"gzip\", \"bzip2\", \"zstd\" or \"none\"");
        return 0;
}

static int set_number(
        const json_t *v, json_int_t min, json_int_t max, json_int_t *ret, struct err *e)
{
        if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
                return err_set(e, -EINVAL, "must be a whole number from %" PRId64 " to %" PRId64,
                        (int64_t)min, (int64_t)max);
        *ret = json_integer_value(v);
        return 0;
}

static uint64_t unit_of(const char *s)
{
        static const struct {
                const char *name;
                uint64_t factor;
        } units[] = {{"", 1}, {"B", 1}, {"kB", 1000}, {"KB", 1000}, {"MB", 1000000},
                {"GB", 1000000000}, {"TB", 1000000000000}, {"K", KiB}, {"KiB", KiB}, {"M", MiB},
                {"MiB", MiB}, {"G", GiB}, {"GiB", GiB}, {"T", 1024 * GiB}, {"TiB", 1024 * GiB}};
        while (*s == ' ')
                s++;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (streq(s, units[i].name))
                        return units[i].factor;
        return 0;
}

static int set_bytes(uint64_t *slot, const json_t *v, struct err *e)
{
        if (json_is_integer(v) && json_integer_value(v) >= 0) {
                *slot = (uint64_t)json_integer_value(v);
                return 0;
        }
        const char *s = json_string_value(v);
        char *end = NULL;
        errno = 0;
        unsigned long long n = s && *s >= '0' && *s <= '9' ? strtoull(s, &end, 10) : 0;
        uint64_t unit = end ? unit_of(end) : 0, product;
        if (!end || errno || unit == 0 || __builtin_mul_overflow((uint64_t)n, unit, &product) ||
                product > INT64_MAX)
                return err_set(e, -EINVAL,
                        "must be a number of bytes, or a text like \"8GiB\" or \"500MB\"");
        *slot = product;
        return 0;
}

static int check_vault(const char *s, struct err *e)
{
        const char *rest;
        if ((rest = startswith(s, "dir:")) && *rest == '/')
                return 0;
        if (((rest = startswith(s, "s3://")) || (rest = startswith(s, "glacier://"))) && *rest &&
                *rest != '/')
                return 0;
#ifdef CRASH_POINTS
        if (startswith(s, "cold:")) /* a simulated store, for tests */
                return 0;
#endif
        return err_set(e, -EINVAL,
                "must be \"dir:/absolute/path\", \"s3://bucket/prefix\" or \"glacier://vault\"");
}

static int set_vault(const struct config *c, char **slot, const json_t *v, struct err *e)
{
        int q = set_string(slot, v, e);
        if (q < 0 || !*slot)
                return q;
        const char *path = startswith(*slot, "dir:");
        if (path && (*path == '~' || *path == '$')) {
                _cleanup_free_ char *base = folder_of(c);
                _cleanup_free_ char *full = base ? config_expand(path, base) : NULL;
                char *url = NULL;
                if (!full || asprintf(&url, "dir:%s", full) < 0 || replace(slot, url) < 0)
                        return err_oom(e);
        }
        return check_vault(*slot, e);
}

static int set_choice(char **slot, const json_t *v, struct err *e)
{
        int q = set_string(slot, v, e);
        if (q < 0 || !*slot || streq(*slot, "bulk") || streq(*slot, "standard") ||
                streq(*slot, "expedited"))
                return q;
        return err_set(e, -EINVAL, "must be \"bulk\", \"standard\" or \"expedited\"");
}

static int set_window(char **slot, const json_t *v, struct err *e)
{
        unsigned a, b, c, d;
        char more;
        int q = set_string(slot, v, e);
        if (q < 0 || !*slot)
                return q;
        if (sscanf(*slot, "%2u:%2u-%2u:%2u%c", &a, &b, &c, &d, &more) != 4 || a > 23 || b > 59 ||
                c > 23 || d > 59)
                return err_set(e, -EINVAL, "must be a span of the day like \"22:00-06:00\"");
        return 0;
}

static int set_real(double *slot, const json_t *v, struct err *e)
{
        if (!json_is_number(v) || json_number_value(v) < 0)
                return err_set(e, -EINVAL, "must be a number, not below zero");
        *slot = json_number_value(v);
        return 0;
}

static int set_bool(bool *slot, const json_t *v, struct err *e)
{
        if (!json_is_boolean(v))
                return err_set(e, -EINVAL, "must be true or false");
        *slot = json_is_true(v);
        return 0;
}

static void note_configured(struct config *c, const struct config_key *k)
{
        if (k->offset == offsetof(struct config, public_keys))
                c->public_keys_configured = c->public_keys != NULL;
        if (k->offset == offsetof(struct config, private_keys))
                c->private_keys_configured = c->private_keys != NULL;
}

int config_set(struct config *c, const struct config_key *k, const json_t *v, struct err *e)
{
        void *slot = (char *)c + k->offset;
        json_int_t n = 0;
        int q = 0;
        switch (k->type) {
        case KEY_STRING:
                return set_string(slot, v, e);
        case KEY_PATH:
                q = set_path(c, slot, v, e);
                break;
        case KEY_VAULT:
                return set_vault(c, slot, v, e);
        case KEY_TIER:
                return set_choice(slot, v, e);
        case KEY_WINDOW:
                return set_window(slot, v, e);
        case KEY_PATHS:
        case KEY_STRINGS:
                q = set_list(c, slot, v, k->type == KEY_PATHS, e);
                break;
        case KEY_COMPRESSION:
                return set_compression(slot, v, e);
        case KEY_LEVEL:
                n = -1;
                if (json_is_null(v) || (q = set_number(v, 0, 19, &n, e)) == 0)
                        *(int *)slot = (int)n;
                return q;
        case KEY_UNSIGNED:
                if ((q = set_number(v, k->flags & CONFIG_POSITIVE ? 1 : 0, 10000, &n, e)) == 0)
                        *(unsigned *)slot = (unsigned)n;
                return q;
        case KEY_BYTES:
                q = set_bytes(slot, v, e);
                if (q == 0 && *(uint64_t *)slot == 0 && k->flags & CONFIG_POSITIVE)
                        return err_set(e, -EINVAL, "must be more than zero");
                return q;
        case KEY_REAL:
                return set_real(slot, v, e);
        case KEY_BOOL:
                return set_bool(slot, v, e);
        }
        if (q == 0)
                note_configured(c, k);
        return q;
}
