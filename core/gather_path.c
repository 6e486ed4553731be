#include "gather_path.h"

#include "buf.h"
#include "gather.h"

int gather_order(const char *a, const char *b)
{
        while (*a && *a == *b) {
                a++;
                b++;
        }
        /* '/' comes before every other byte, so that what is in "a" stands before "a!" */
        int x = *a == 0 ? 0 : *a == '/' ? 1 : 1 + (unsigned char)*a;
        int y = *b == 0 ? 0 : *b == '/' ? 1 : 1 + (unsigned char)*b;
        return x - y;
}

bool gather_path_below(const char *path, const char *folder)
{
        size_t n = strlen(folder);
        if (n == 0)
                return true;
        return strncmp(path, folder, n) == 0 && (path[n] == 0 || path[n] == '/');
}

/* The next component of *p, which moves behind it; NULL at the end. */
static const char *component(const char **p, size_t *ret_len)
{
        while (**p == '/')
                (*p)++;
        const char *start = *p;
        *ret_len = strcspn(start, "/");
        *p += *ret_len;
        return *ret_len > 0 ? start : NULL;
}

static bool is_dots(const char *s, size_t len, size_t dots)
{
        return len == dots && memcmp(s, "..", dots) == 0;
}

static void go_up(struct buf *b)
{
        while (b->len > 0 && b->data[--b->len] != '/')
                ;
        if (b->data)
                b->data[b->len] = 0;
}

char *gather_path_clean(const char *path)
{
        _cleanup_buf_ struct buf out = BUF_INIT;
        size_t len;
        for (const char *c; (c = component(&path, &len));) {
                if (is_dots(c, len, 2)) {
                        go_up(&out);
                } else if (!is_dots(c, len, 1)) {
                        buf_addc(&out, '/');
                        buf_add(&out, c, len);
                }
        }
        if (out.len == 0)
                buf_addc(&out, '/');
        return buf_steal(&out);
}

/* Moves *p behind the ".." that leaves the folder in which the text begins; false if none does. */
static bool leads_out(const char **p)
{
        size_t depth = 0, len;
        for (const char *c; (c = component(p, &len));) {
                if (!is_dots(c, len, 2))
                        depth += !is_dots(c, len, 1);
                else if (depth-- == 0)
                        return true;
        }
        return false;
}

static char *beside(const char *mountpoint, const char *rest)
{
        const char *slash = strrchr(mountpoint, '/');
        size_t len = slash ? (size_t)(slash - mountpoint) : 0;
        char *path;
        return asprintf(&path, "%.*s/%s", (int)len, mountpoint, rest) < 0 ? NULL : path;
}

int gather_path_resolve(const char *mountpoint, const char *text, char **ret, bool *ret_inside)
{
        bool mounted = mountpoint && *mountpoint;
        bool absolute = text[0] == '/';
        const char *rest = text;
        bool inside = !absolute && (!leads_out(&rest) || !mounted);
        _cleanup_free_ char *path = absolute || inside ? strdup(text) : beside(mountpoint, rest);
        _cleanup_free_ char *clean = path ? gather_path_clean(path) : NULL;
        if (!clean)
                return -ENOMEM;
        *ret_inside = inside || (mounted && gather_path_below(clean, mountpoint));
        *ret = steal(path);
        return 0;
}

static size_t components(const char *path)
{
        size_t n = 0, len;
        while (component(&path, &len))
                n++;
        return n;
}

bool gather_path_leaves(const char *path, const char *text, size_t keep)
{
        if (text[0] == '/')
                return true;
        size_t depth = components(path) - 1; /* of the folder that holds the link */
        size_t len;
        for (const char *c; (c = component(&text, &len));) {
                if (is_dots(c, len, 2)) {
                        if (depth <= keep)
                                return true;
                        depth--;
                } else if (!is_dots(c, len, 1)) {
                        depth++;
                }
        }
        return false;
}
