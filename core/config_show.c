#include "config_internal.h"

#include "buf.h"
#include "compress.h"

/* Adds to what was noted before: a job's file lies over the configuration. */
int config_note_sources(struct config *c, const json_t *file, const char *from)
{
        json_auto_t *o = c->effective ? json_loads(c->effective, 0, NULL) : json_object();
        const char *key;
        json_t *value;
        if (!o)
                return -ENOMEM;
        if (json_object_get(file, "VAULT") || json_object_get(file, "VAULT_NAME")) {
                (void)json_object_del(o, "VAULT"); /* one takes the place of the other */
                (void)json_object_del(o, "VAULT_NAME");
        }
        json_object_foreach((json_t *)file, key, value)
        {
                if (json_object_set_new(o, key, json_string(from)) < 0)
                        return -ENOMEM;
        }
        free(c->effective);
        c->effective = json_dumps(o, JSON_COMPACT);
        return c->effective ? 0 : -ENOMEM;
}

static json_t *list_value(char *const *v)
{
        json_t *a = json_array();
        for (size_t i = 0; v && v[i]; i++)
                if (json_array_append_new(a, json_string(v[i])) < 0)
                        break; /* a text that is not UTF-8 cannot come out of JSON */
        return a;
}

static json_t *value_of(const struct config *c, const struct config_key *k)
{
        const void *slot = (const char *)c + k->offset;
        switch (k->type) {
        case KEY_PATHS:
        case KEY_STRINGS:
                return list_value(*(char **const *)slot);
        case KEY_COMPRESSION:
                return json_string(compress_name(*(const enum compress_kind *)slot));
        case KEY_LEVEL:
                return *(const int *)slot < 0 ? json_null() : json_integer(*(const int *)slot);
        case KEY_UNSIGNED:
                return json_integer(*(const unsigned *)slot);
        case KEY_BYTES:
                return json_integer((json_int_t) * (const uint64_t *)slot);
        case KEY_REAL:
                return json_real(*(const double *)slot);
        case KEY_BOOL:
                return json_boolean(*(const bool *)slot);
        default: /* the texts */
                break;
        }
        const char *s = *(char *const *)slot;
        if (s && k->flags & CONFIG_SECRET)
                s = "********";
        return s ? json_string(s) : json_null();
}

int config_print(const struct config *c, bool json, struct buf *ret)
{
        size_t n;
        const struct config_key *keys = config_keys(&n);
        json_auto_t *sources = json_loads(c->effective, 0, NULL);
        json_auto_t *all = json_object();
        if (!sources || !all)
                return -ENOMEM;
        if (!json)
                buf_addf(ret, "# %s%s\n# data: %s\n", c->file,
                        c->exists ? "" : " (not there: defaults)", c->data);
        for (size_t i = 0; i < n; i++) {
                const char *from = json_string_value(json_object_get(sources, keys[i].name));
                from = from ? from : "default";
                json_auto_t *v = value_of(c, &keys[i]);
                if (json) {
                        json_t *row = json_pack("{s:O, s:s}", "value", v, "from", from);
                        if (json_object_set_new(all, keys[i].name, row) < 0)
                                return -ENOMEM;
                        continue;
                }
                _cleanup_free_ char *text =
                        json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
                if (!text)
                        return -ENOMEM;
                buf_addf(ret, "%-28s %-40s # %s\n", keys[i].name, text, from);
        }
        if (json) {
                _cleanup_free_ char *text =
                        json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
                if (!text)
                        return -ENOMEM;
                buf_addf(ret, "%s\n", text);
        }
        return buf_oom(ret) ? -ENOMEM : 0;
}
