#include "member.h"

#include "catalog.h"
#include "cli.h"
#include "clock.h"

#include <inttypes.h>

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
