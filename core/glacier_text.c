#include "glacier_text.h"

#include "buf.h"
#include "bytes.h"
#include "clock.h"

#include <jansson.h>
#include <time.h>

#define MARK       "autoglacier:"
#define RECORD_MAX (64u * KiB) /* of one archive in the inventory: ids and a description */

/* ---- descriptions ---- */

static bool stands_for_itself(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               strchr("_.-~/", c);
}

/* Bytes of the UTF-8 character at s; 1 for what is none. */
static size_t character(const char *s)
{
        unsigned char c = (unsigned char)*s;
        size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        for (size_t i = 1; i < n; i++)
                if (((unsigned char)s[i] & 0xc0) != 0x80)
                        return 1;
        return n;
}

static size_t encode(const char *s, size_t n, char out[13])
{
        size_t len = 0;
        for (size_t i = 0; i < n; i++)
                if (stands_for_itself(s[i]))
                        out[len++] = s[i];
                else
                        len += (size_t)snprintf(out + len, 4, "%%%02X", (unsigned char)s[i]);
        return len;
}

/* Appends what fits of `s`; false if that is not all. */
static bool add_encoded(char *out, size_t *at, const char *s)
{
        while (*s) {
                char piece[13];
                size_t bytes = character(s), len = encode(s, bytes, piece);
                if (*at + len > GLACIER_DESCRIPTION_MAX)
                        return false;
                memcpy(out + *at, piece, len);
                *at += len;
                s += bytes;
        }
        return true;
}

int glacier_description(const char *name, const char *text, char ret[GLACIER_DESCRIPTION_MAX + 1])
{
        size_t at = strlen(MARK);
        memcpy(ret, MARK, at);
        if (!add_encoded(ret, &at, name))
                return -ENAMETOOLONG;
        if (text && *text && at < GLACIER_DESCRIPTION_MAX) {
                ret[at++] = ' ';
                (void)add_encoded(ret, &at, text); /* the rest is in the catalogue */
        }
        ret[at] = 0;
        return 0;
}

bool glacier_description_name(const char *description, char *ret, size_t size)
{
        const char *p = startswith(description, MARK);
        size_t n = 0;
        for (; p && *p && *p != ' '; p++, n++) {
                char hex[3] = {0};
                if (n + 1 >= size)
                        return false;
                ret[n] = *p;
                if (*p != '%')
                        continue;
                memcpy(hex, p + 1, strnlen(p + 1, 2));
                if (bytes_unhex(hex, &ret[n], 1) < 0 || ret[n] == 0)
                        return false;
                p += 2;
        }
        if (n > 0)
                ret[n] = 0;
        return n > 0;
}

int64_t glacier_time(const char *s)
{
        struct tm tm = {0};
        const char *end = strptime(s, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!end)
                return 0;
        int64_t ns = 0;
        if (*end == '.') {
                int64_t unit = CLOCK_NSEC / 10;
                for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
                        ns += (*end - '0') * unit;
        }
        return *end == 'Z' ? clock_of(timegm(&tm), ns) : 0;
}

/* ---- inventories ---- */

/* The document is an object whose "ArchiveList" holds flat objects: those at depth 2 are records,
 * what is outside of them is the frame, which without its records is small. */
struct glacier_inventory {
        glacier_listed_fn each;
        void *ctx;
        struct buf record, frame;
        unsigned depth; /* of braces */
        bool in_string, escaped, begun;
};

int glacier_inventory_new(
        glacier_listed_fn each, void *ctx, struct glacier_inventory **ret, struct err *e)
{
        struct glacier_inventory *i = calloc(1, sizeof *i);
        if (!i)
                return err_oom(e);
        i->each = each;
        i->ctx = ctx;
        *ret = i;
        return 0;
}

void glacier_inventory_free(struct glacier_inventory *i)
{
        if (!i)
                return;
        buf_done(&i->record);
        buf_done(&i->frame);
        free(i);
}

static int broken(struct err *e)
{
        return err_set(e, -EPROTO, "the vault's inventory is not as it should be");
}

static const char *member(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "";
}

static int take_record(struct glacier_inventory *i, struct err *e)
{
        if (buf_oom(&i->record))
                return err_oom(e);
        json_auto_t *o = json_loadb(i->record.data, i->record.len, 0, NULL);
        buf_reset(&i->record);
        const json_t *size = json_object_get(o, "Size");
        struct glacier_listed l = {
                .archive = member(o, "ArchiveId"),
                .description = member(o, "ArchiveDescription"),
                .size = (uint64_t)json_integer_value(size),
                .created = glacier_time(member(o, "CreationDate")),
        };
        if (!*l.archive || !json_is_integer(size) || json_integer_value(size) < 0 ||
                bytes_unhex(member(o, "SHA256TreeHash"), l.tree_hash, sizeof l.tree_hash) < 0)
                return broken(e);
        return i->each(i->ctx, &l, e);
}

/* Commas and blanks would be all that is left of a long list. */
static bool is_between_records(const struct glacier_inventory *i, char c)
{
        if (i->in_string)
                return false;
        return strchr(" \t\r\n", c) ||
               (c == ',' && i->frame.len > 0 && i->frame.data[i->frame.len - 1] == '[');
}

static int take_byte(struct glacier_inventory *i, char c, struct err *e)
{
        bool closes = false;
        if (i->in_string) {
                if (i->escaped)
                        i->escaped = false;
                else if (c == '\\')
                        i->escaped = true;
                else if (c == '"')
                        i->in_string = false;
        } else if (c == '"') {
                i->in_string = true;
        } else if (c == '{') {
                i->depth++;
                i->begun = true;
        } else if (c == '}') {
                if (i->depth == 0)
                        return broken(e);
                closes = i->depth-- == 2;
        }
        bool inside = i->depth >= 2 || closes;
        struct buf *b = inside ? &i->record : &i->frame;
        if (inside || !is_between_records(i, c))
                buf_addc(b, c);
        if (b->len > RECORD_MAX)
                return broken(e);
        return closes ? take_record(i, e) : 0;
}

int glacier_inventory_feed(struct glacier_inventory *i, const void *data, size_t len, struct err *e)
{
        const char *p = data;
        int q = 0;
        for (size_t k = 0; q == 0 && k < len; k++)
                q = take_byte(i, p[k], e);
        return q;
}

int glacier_inventory_end(struct glacier_inventory *i, int64_t *ret_date, struct err *e)
{
        if (!i->begun || i->depth != 0 || i->in_string)
                return err_set(e, -EPROTO, "the vault's inventory was cut short");
        if (buf_oom(&i->frame))
                return err_oom(e);
        json_auto_t *o = json_loadb(i->frame.data, i->frame.len, 0, NULL);
        int64_t date = glacier_time(member(o, "InventoryDate"));
        if (!o || date == 0 || !json_is_array(json_object_get(o, "ArchiveList")))
                return broken(e);
        *ret_date = date;
        return 0;
}
