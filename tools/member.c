#include "member.h"

#include "buf.h"
#include "bytes.h"
#include "catalog.h"
#include "cli.h"
#include "clock.h"

#include <inttypes.h>

const char *member_name(const char *word)
{
        while (*word == '/' || (word[0] == '.' && (word[1] == '/' || word[1] == 0)))
                word++;
        return word;
}

void member_path(const char *path, char end)
{
        cli_print(path, strlen(path));
        (void)putchar(end); /* cli_flush() tells errors */
}

static void mode_words(const struct catalog_member *m, char out[11])
{
        static const char bits[] = "rwxrwxrwx";
        out[0] = m->type == 'd' ? 'd' : m->type == 'l' ? 'l' : '-';
        for (int i = 0; i < 9; i++)
                out[i + 1] = m->mode & (0400u >> i) ? bits[i] : '-';
        if (m->mode & 04000)
                out[3] = m->mode & 0100 ? 's' : 'S';
        if (m->mode & 02000)
                out[6] = m->mode & 0010 ? 's' : 'S';
        if (m->mode & 01000)
                out[9] = m->mode & 0001 ? 't' : 'T';
        out[10] = 0;
}

void member_long(const struct catalog_member *m)
{
        char mode[11], at[CLOCK_TEXT_MAX];
        mode_words(m, mode);
        clock_iso(m->mtime, at);
        (void)printf("%s %5u %5u %12" PRIu64 " %s ", mode, m->uid, m->gid, m->size, at);
        cli_print(m->path, strlen(m->path));
        if (m->link && (m->type == 'l' || m->type == 'h')) {
                (void)fputs(m->type == 'l' ? " -> " : " = ", stdout);
                cli_print(m->link, strlen(m->link));
        }
}

/* ---- for scripts ---- */

void member_json_bytes(struct buf *b, const char *key, const char *s)
{
        size_t n = strlen(s);
        _cleanup_free_ char *base64 = bytes_is_utf8(s, n) ? NULL : malloc(BYTES_BASE64_LEN(n));
        buf_addf(b, ", \"%s\": ", key);
        buf_add_json(b, s, n);
        if (!base64)
                return;
        bytes_base64(s, n, base64);
        buf_addf(b, ", \"%s_base64\": \"%s\"", key, base64);
}

void member_json(const char *id, const char *name, const struct catalog_member *m)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        char at[CLOCK_TEXT_MAX], sum[129];
        buf_addf(&b, "{\"archive\": \"%s\"", id);
        if (name)
                member_json_bytes(&b, "name", name);
        member_json_bytes(&b, "path", m->path);
        clock_iso_ns(m->mtime, at);
        buf_addf(&b,
                ", \"type\": \"%c\", \"mode\": \"%04o\", \"uid\": %u, \"gid\": %u, \"mtime\": "
                "\"%s\", \"size\": %" PRIu64,
                m->type, m->mode, m->uid, m->gid, at, m->size);
        if (m->sha512) {
                bytes_hex(m->sha512, 64, sum);
                buf_addf(&b, ", \"sha512\": \"%s\"", sum);
        }
        if (m->link)
                member_json_bytes(&b, "link", m->link);
        buf_adds(&b, "}\n");
        (void)fwrite(buf_str(&b), 1, b.len, stdout); /* cli_flush() tells errors */
}
