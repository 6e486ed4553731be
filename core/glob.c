#include "glob.h"

#include "buf.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

/* ---- one name ---- */

/* The set that begins behind '[', or NULL if it is none: then '[' stands for itself. */
static const char *set_end(const char *p)
{
        if (*p == '!')
                p++;
        if (*p == ']')
                p++;
        return strchr(p, ']');
}

static bool in_set(const char *p, const char *end, unsigned char c)
{
        bool no = *p == '!', found = false;
        for (p += no; p < end; p++) {
                unsigned char lo = (unsigned char)*p, hi = lo;
                if (p + 2 < end && p[1] == '-') {
                        hi = (unsigned char)p[2];
                        p += 2;
                }
                found |= lo <= c && c <= hi;
        }
        return found != no;
}

/* What stands at *p against one byte; moves *p behind it. */
static bool match_one(const char **p, char c)
{
        const char *end = **p == '[' ? set_end(*p + 1) : NULL;
        if (end) {
                bool yes = in_set(*p + 1, end, (unsigned char)c);
                *p = end + 1;
                return yes;
        }
        return *(*p)++ == c;
}

/* In UTF-8 a character is what `?` and a set stand for. */
static size_t char_len(const char *s)
{
        size_t n = 1;
        while ((unsigned char)*s >= 0xc0 && ((unsigned char)s[n] & 0xc0) == 0x80 && n < 4)
                n++;
        return n;
}

bool glob_match(const char *p, const char *s)
{
        const char *star = NULL, *retry = NULL; /* behind the last '*', and where it ends so far */
        while (*s) {
                const char *next = p;
                if (*p == '*') {
                        star = ++p;
                        retry = s;
                } else if (*p == '?') {
                        p++;
                        s += char_len(s);
                } else if (*p && match_one(&next, *s)) {
                        bool negated = *p == '[' && p[1] == '!' && set_end(p + 1);
                        p = next;
                        s += negated ? char_len(s) : 1;
                } else if (star) {
                        p = star;
                        retry += char_len(retry);
                        s = retry;
                } else {
                        return false;
                }
        }
        while (*p == '*')
                p++;
        return *p == 0;
}

/* Without, it is a plain name. */
static bool is_pattern(const char *s)
{
        return strpbrk(s, "*?[") != NULL;
}

/* ---- folders ---- */

struct search {
        int (*each)(void *ctx, const char *path, struct err *e);
        void *ctx;
        struct err *e;
        struct buf path; /* of what is being looked at; "" for the working directory */
        uint64_t n;
        const struct above *above;
};

/* The folders that a `**` has come through, so that links make no circle. */
struct above {
        dev_t dev;
        ino_t ino;
        const struct above *next;
};

struct names {
        struct name {
                char *text;
                unsigned char type; /* DT_* */
        } * v;
        size_t n;
};

static void names_done(struct names *l)
{
        for (size_t i = 0; i < l->n; i++)
                free(l->v[i].text);
        free(l->v);
}

static int by_bytes(const void *a, const void *b)
{
        const struct name *x = a, *y = b;
        return strcmp(x->text, y->text);
}

/* The names in the folder s->path that are not hidden, or all; what cannot be listed has none. */
static int read_names(struct search *s, bool hidden, struct names *ret)
{
        DIR *d = opendir(s->path.len > 0 ? buf_str(&s->path) : ".");
        size_t cap = 0;
        bool oom = false;
        for (struct dirent *de; d && !oom && (de = readdir(d));) {
                const char *name = de->d_name;
                if (streq(name, ".") || streq(name, "..") || (*name == '.' && !hidden))
                        continue;
                if (ret->n == cap) {
                        cap = MAX((size_t)64, cap * 2);
                        struct name *v = reallocarray(ret->v, cap, sizeof *v);
                        oom = v == NULL;
                        ret->v = v ? v : ret->v;
                }
                if (oom)
                        break;
                ret->v[ret->n] = (struct name){strdup(name), de->d_type};
                oom = !ret->v[ret->n].text;
                ret->n += !oom;
        }
        if (d)
                (void)closedir(d); /* only read */
        if (oom)
                return err_oom(s->e);
        if (ret->n > 1)
                qsort(ret->v, ret->n, sizeof *ret->v, by_bytes);
        return 0;
}

static void cut(struct search *s, size_t len)
{
        s->path.len = len;
        if (s->path.data)
                s->path.data[len] = 0;
}

static void append(struct search *s, const char *name, size_t len)
{
        if (s->path.len > 0 && s->path.data[s->path.len - 1] != '/')
                buf_addc(&s->path, '/');
        buf_add(&s->path, name, len);
}

static bool is_folder(const struct search *s)
{
        struct stat st;
        return stat(s->path.len > 0 ? buf_str(&s->path) : ".", &st) == 0 && S_ISDIR(st.st_mode);
}

static int tell(struct search *s)
{
        if (s->path.len == 0)
                return 0;
        if (buf_oom(&s->path))
                return err_oom(s->e);
        s->n++;
        return s->each(s->ctx, buf_str(&s->path), s->e);
}

static int look(struct search *s, const char *rest);

/* Whether it may be one, as far as listing its folder has told: most names need not be asked for.
 */
static bool may_be_folder(const struct name *n)
{
        return n->type == DT_DIR || n->type == DT_LNK || n->type == DT_UNKNOWN;
}

/* s->path has come to its end, or the pattern goes on behind a '/'. */
static int go_on(struct search *s, const char *rest)
{
        struct stat st;
        while (*rest == '/' && rest[1] == '/')
                rest++;
        if (*rest == 0)
                return lstat(buf_str(&s->path), &st) == 0 ? tell(s) : 0;
        if (!is_folder(s))
                return 0;
        if (rest[1] == 0) {
                buf_addc(&s->path, '/');
                return tell(s);
        }
        return look(s, rest + 1);
}

static int look_matching(struct search *s, const char *part, const char *rest)
{
        _cleanup_(names_done) struct names l = {0};
        size_t len = s->path.len;
        int q = read_names(s, *part == '.', &l);
        for (size_t i = 0; q == 0 && i < l.n; i++) {
                if (!glob_match(part, l.v[i].text) || (*rest && !may_be_folder(&l.v[i])))
                        continue;
                append(s, l.v[i].text, strlen(l.v[i].text));
                q = *rest ? go_on(s, rest) : tell(s);
                cut(s, len);
        }
        return q;
}

/* What `**` stands for here: s->path itself, and all below it. As the last part, files too. */
static int look_below(struct search *s, const char *rest, bool first)
{
        struct stat st;
        bool there = stat(s->path.len > 0 ? buf_str(&s->path) : ".", &st) == 0;
        if (!there || !S_ISDIR(st.st_mode)) /* a link that leads nowhere is a name all the same */
                return *rest == 0 && (there || !first) ? tell(s) : 0;
        for (const struct above *a = s->above; a; a = a->next)
                if (a->dev == st.st_dev && a->ino == st.st_ino)
                        return 0;
        size_t len = s->path.len;
        int q = 0;
        if (*rest == 0 && first && len > 0 && s->path.data[len - 1] != '/')
                buf_addc(&s->path, '/'); /* as Python names the folder where it begins */
        if (*rest == 0)
                q = tell(s);
        else
                q = len > 0 ? go_on(s, rest) : rest[1] ? look(s, rest + 1) : 0;
        cut(s, len);
        _cleanup_(names_done) struct names l = {0};
        const struct above here = {st.st_dev, st.st_ino, s->above};
        s->above = &here;
        if (q == 0)
                q = read_names(s, false, &l);
        for (size_t i = 0; q == 0 && i < l.n; i++) {
                bool plain = !may_be_folder(&l.v[i]);
                if (plain && *rest)
                        continue;
                append(s, l.v[i].text, strlen(l.v[i].text));
                q = plain ? tell(s) : look_below(s, rest, false);
                cut(s, len);
        }
        s->above = here.next;
        return q;
}

/* `rest` begins with a part, behind any '/'. s->path is a folder. */
static int look(struct search *s, const char *rest)
{
        size_t n = strcspn(rest, "/"), len = s->path.len;
        _cleanup_free_ char *part = strndup(rest, n);
        if (!part)
                return err_oom(s->e);
        if (streq(part, "**")) {
                while (startswith(rest + n, "/**/") || streq(rest + n, "/**"))
                        n += 3; /* twice in a row is once */
                return look_below(s, rest + n, true);
        }
        if (is_pattern(part))
                return look_matching(s, part, rest + n);
        append(s, part, n);
        int q = go_on(s, rest + n);
        cut(s, len);
        return q;
}

int glob_each(const char *pattern, int (*each)(void *ctx, const char *path, struct err *e),
        void *ctx, uint64_t *ret_n, struct err *e)
{
        struct search s = {.each = each, .ctx = ctx, .e = e};
        int q = 0;
        if (*pattern == '/')
                buf_addc(&s.path, '/');
        pattern += strspn(pattern, "/");
        if (*pattern)
                q = look(&s, pattern);
        else if (s.path.len > 0)
                q = tell(&s);
        buf_done(&s.path);
        if (ret_n)
                *ret_n = s.n;
        return q;
}
