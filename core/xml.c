#include "xml.h"

#include <expat.h>

#define DEPTH_MAX 32
#define PATH_MAX_ 1024
#define TEXT_MAX  (64u * KiB)

struct reading {
        XML_Parser parser;
        xml_fn each;
        void *ctx;
        char path[PATH_MAX_];
        size_t ends[DEPTH_MAX]; /* length of the path before each open element */
        unsigned depth;
        struct buf text;
        int result;
};

static void stop(struct reading *r, int result)
{
        r->result = result;
        XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes _unused_)
{
        struct reading *r = ctx;
        const char *colon = strrchr(name, ':');
        name = colon ? colon + 1 : name;
        size_t n = strlen(r->path);
        if (r->depth == DEPTH_MAX || n + strlen(name) + 2 > sizeof r->path) {
                stop(r, -EPROTO);
                return;
        }
        r->ends[r->depth++] = n;
        if (n > 0)
                r->path[n++] = '/';
        strcpy(r->path + n, name); /* measured above */
        buf_reset(&r->text);
}

static void on_text(void *ctx, const XML_Char *s, int len)
{
        struct reading *r = ctx;
        if (r->text.len + (size_t)len > TEXT_MAX)
                stop(r, -EPROTO);
        else
                buf_add(&r->text, s, (size_t)len);
}

static void on_end(void *ctx, const XML_Char *name _unused_)
{
        struct reading *r = ctx;
        if (r->result != 0)
                return; /* expat still ends the element that was refused at its start */
        int q = r->each(r->ctx, r->path, buf_str(&r->text));
        if (q)
                stop(r, q);
        r->path[r->ends[--r->depth]] = 0;
        buf_reset(&r->text);
}

static void on_doctype(void *ctx, const XML_Char *a _unused_, const XML_Char *b _unused_,
        const XML_Char *c _unused_, int d _unused_)
{
        stop(ctx, -EPROTO);
}

int xml_each(const void *data, size_t len, xml_fn each, void *ctx, struct err *e)
{
        struct reading r = {.parser = XML_ParserCreate(NULL), .each = each, .ctx = ctx};
        if (!r.parser)
                return err_oom(e);
        if (len > INT32_MAX) {
                XML_ParserFree(r.parser);
                return err_set(e, -EPROTO, "the answer is too long");
        }
        XML_SetUserData(r.parser, &r);
        XML_SetElementHandler(r.parser, on_start, on_end);
        XML_SetCharacterDataHandler(r.parser, on_text);
        XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
        enum XML_Status status = XML_Parse(r.parser, data, (int)len, 1);
        int q = r.result;
        if (status != XML_STATUS_OK && q == 0)
                q = err_set(e, -EPROTO, "the answer is not XML: %s",
                        XML_ErrorString(XML_GetErrorCode(r.parser)));
        else if (q == -EPROTO)
                err_set(e, q, "the answer is no XML that a service writes");
        if (buf_oom(&r.text))
                q = err_oom(e);
        XML_ParserFree(r.parser);
        buf_done(&r.text);
        return q;
}

struct wanted {
        const char *path;
        char *out;
        size_t size;
};

static int compare(void *ctx, const char *path, const char *text)
{
        const struct wanted *w = ctx;
        if (!streq(path, w->path))
                return 0;
        (void)snprintf(w->out, w->size, "%s", text); /* cut by contract */
        return 1;
}

bool xml_text(const void *data, size_t len, const char *path, char *out, size_t size)
{
        struct wanted w = {path, out, size};
        return xml_each(data, len, compare, &w, NULL) == 1;
}

void xml_add(struct buf *out, const char *text)
{
        for (; *text; text++)
                switch (*text) {
                case '&':
                        buf_adds(out, "&amp;");
                        break;
                case '<':
                        buf_adds(out, "&lt;");
                        break;
                case '>':
                        buf_adds(out, "&gt;");
                        break;
                case '"':
                        buf_adds(out, "&quot;");
                        break;
                default:
                        buf_addc(out, *text);
                }
}
