#include "gather_names.h"

#include <dirent.h>

void gather_names_done(struct gather_names *n)
{
        free(n->text);
        free(n->at);
        *n = (struct gather_names){0};
}

static int reserve(struct gather_names *n, size_t more)
{
        if (n->len + more > n->cap) {
                size_t cap = MAX(n->cap * 2, n->len + more + 1024);
                char *p = realloc(n->text, cap);
                if (!p)
                        return -ENOMEM;
                n->text = p;
                n->cap = cap;
        }
        if (n->n == n->room) {
                size_t room = MAX(n->room * 2, (size_t)64);
                uint32_t *p = reallocarray(n->at, room, sizeof *p);
                if (!p)
                        return -ENOMEM;
                n->at = p;
                n->room = room;
        }
        return n->len + more > UINT32_MAX ? -E2BIG : 0;
}

static int add(struct gather_names *n, const char *name, unsigned char type)
{
        if (streq(name, ".") || streq(name, ".."))
                return 0;
        size_t len = strlen(name) + 1;
        int r = reserve(n, len + 1);
        if (r < 0)
                return r;
        n->at[n->n++] = (uint32_t)n->len;
        n->text[n->len] = (char)type;
        memcpy(n->text + n->len + 1, name, len);
        n->len += len + 1;
        return 0;
}

static int compare(const void *a, const void *b, void *text)
{
        const char *t = text;
        return strcmp(t + *(const uint32_t *)a + 1, t + *(const uint32_t *)b + 1);
}

static int read_all(struct gather_names *n, int fd)
{
        _Alignas(struct dirent64) char block[32768];
        for (;;) {
                ssize_t got = getdents64(fd, block, sizeof block);
                if (got <= 0)
                        return got == 0 ? 0 : -errno;
                const struct dirent64 *d;
                for (ssize_t at = 0; at < got; at += d->d_reclen) {
                        d = (const struct dirent64 *)(const void *)(block + at);
                        int r = add(n, d->d_name, d->d_type);
                        if (r < 0)
                                return r;
                }
        }
}

int gather_names_read(struct gather_names *n, int fd)
{
        *n = (struct gather_names){0};
        int r = read_all(n, fd);
        if (r < 0) {
                gather_names_done(n);
                return r;
        }
        if (n->n > 1)
                qsort_r(n->at, n->n, sizeof *n->at, compare, n->text);
        return 0;
}

const char *gather_names_get(const struct gather_names *n, size_t i, unsigned char *ret_type)
{
        const char *p = n->text + n->at[i];
        *ret_type = (unsigned char)*p;
        return p + 1;
}
