#include "config_internal.h"

#include "bytes.h"

/* What people write who know dictionaries from elsewhere. */
static const char *habit(const char *text, size_t len, const json_error_t *why)
{
        size_t at = why->position > 0 ? (size_t)why->position - 1 : 0;
        char c = at < len ? text[at] : 0;
        if (!bytes_is_utf8(text, len))
                return "it is not UTF-8 text";
        if (startswith(text, "\xef\xbb\xbf"))
                return "it begins with a byte order mark; save it as plain UTF-8";
        if (strspn(text, " \t\r\n") == len)
                return "it is empty; without any keys it is {}";
        if (c == '\'')
                return "JSON wants \"double quotes\"";
        if (strstr(why->text, "near '#") || strstr(why->text, "near '/"))
                return "JSON has no comments";
        while (at > 0 && strchr(" \t\r\n", text[at - 1]))
                at--;
        if ((c == '}' || c == ']') && at > 0 && text[at - 1] == ',')
                return "JSON has no comma after the last entry";
        return NULL;
}

int config_json(const char *text, size_t len, const char *name, json_t **ret, struct err *e)
{
        json_error_t why;
        json_t *o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
        if (o) {
                *ret = o;
                return 0;
        }
        const char *words = habit(text, len, &why);
        if (json_error_code(&why) == json_error_out_of_memory)
                return err_oom(e);
        if (words)
                return err_set(e, -EINVAL, "%s:%d: %s", name, why.line, words);
        if (json_error_code(&why) == json_error_duplicate_key)
                return err_set(e, -EINVAL, "%s:%d: a key stands there twice: %s", name, why.line,
                        why.text);
        return err_set(
                e, -EINVAL, "%s:%d:%d: it is not JSON: %s", name, why.line, why.column, why.text);
}
