#include "exclude.h"

#include <fnmatch.h>

bool exclude_is_litter(const char *name)
{
        static const char *const whole[] = {".DS_Store", ".directory", "Thumbs.db",
                /* beside `.commit`, by editors that have it open */
                ".commit~", ".commit.un~", "#.commit#", ".#.commit",
                /* by KIO when it was refused */
                ".commit.part"};
        static const char *const begin[] = {".Trash-", ".goutputstream-", ".commit.sw"};
        for (size_t i = 0; i < ARRAY_SIZE(whole); i++)
                if (streq(name, whole[i]))
                        return true;
        for (size_t i = 0; i < ARRAY_SIZE(begin); i++)
                if (startswith(name, begin[i]))
                        return true;
        return false;
}

/* The component that begins at `s`, without its '/'. */
static size_t component(const char *s, size_t len)
{
        const char *slash = memchr(s, '/', len);
        return slash ? (size_t)(slash - s) : len;
}

/* One component of a pattern against one of a path. Both are copied for fnmatch(3), which wants
 * terminated strings; a component longer than NAME_MAX cannot be a name and matches nothing. */
static bool component_matches(const char *pat, size_t plen, const char *name, size_t nlen)
{
        char p[1024], n[256];
        if (plen >= sizeof p || nlen >= sizeof n)
                return false;
        memcpy(p, pat, plen);
        p[plen] = 0;
        memcpy(n, name, nlen);
        n[nlen] = 0;
        return fnmatch(p, n, 0) == 0;
}

/* Components are matched from the left; on a mismatch the last "**" takes one more component of the
 * path. Like the usual matching of '*' in a string, one level up: linear memory, no recursion. */
static bool path_matches(const char *pat, size_t plen, const char *path, size_t len)
{
        const char *pend = pat + plen, *end = path + len;
        const char *retry_pat = NULL, *retry_path = NULL;
        while (path <= end) {
                size_t n = component(path, (size_t)(end - path));
                size_t p = pat <= pend ? component(pat, (size_t)(pend - pat)) : 0;
                if (pat <= pend && p == 2 && memcmp(pat, "**", 2) == 0) {
                        pat += 3;
                        if (pat > pend)
                                return true;
                        retry_pat = pat;
                        retry_path = path;
                        continue;
                }
                if (pat <= pend && component_matches(pat, p, path, n)) {
                        pat += p + 1;
                        path += n + 1;
                        continue;
                }
                if (!retry_pat)
                        return false;
                retry_path += component(retry_path, (size_t)(end - retry_path)) + 1;
                pat = retry_pat;
                path = retry_path;
        }
        return pat > pend;
}

static bool one_matches(const char *pattern, const char *path)
{
        size_t plen = strlen(pattern), len = strlen(path);
        while (plen > 1 && pattern[plen - 1] == '/')
                plen--;
        if (memchr(pattern, '/', plen)) {
                size_t lead = pattern[0] == '/'; /* archive names have no leading '/' */
                return path_matches(pattern + lead, plen - lead, path, len);
        }
        const char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        return component_matches(pattern, plen, name, strlen(name));
}

bool exclude_matches(const char *const *patterns, const char *path)
{
        for (; patterns && *patterns; patterns++)
                if (**patterns && one_matches(*patterns, path))
                        return true;
        return false;
}
