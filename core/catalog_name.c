#include "catalog_internal.h"

/* U+00C0 to U+017F without their accents; two letters where people write two. '\0': dropped. */
static const char *const latin[] = {
        "a", "a", "a", "a", "ae", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i",  /* C0 */
        "d", "n", "o", "o", "o", "o", "oe", "", "o", "u", "u", "u", "ue", "y", "th", "ss", /* D0 */
        "a", "a", "a", "a", "ae", "a", "ae", "c", "e", "e", "e", "e", "i", "i", "i", "i",  /* E0 */
        "d", "n", "o", "o", "o", "o", "oe", "", "o", "u", "u", "u", "ue", "y", "th", "y",  /* F0 */
        "a", "a", "a", "a", "a", "a", "c", "c", "c", "c", "c", "c", "c", "c", "d", "d",    /* 100 */
        "d", "d", "e", "e", "e", "e", "e", "e", "e", "e", "e", "e", "g", "g", "g", "g",    /* 110 */
        "g", "g", "g", "g", "h", "h", "h", "h", "i", "i", "i", "i", "i", "i", "i", "i",    /* 120 */
        "i", "i", "ij", "ij", "j", "j", "k", "k", "k", "l", "l", "l", "l", "l", "l", "l",  /* 130 */
        "l", "l", "l", "n", "n", "n", "n", "n", "n", "n", "n", "n", "o", "o", "o", "o",    /* 140 */
        "o", "o", "oe", "oe", "r", "r", "r", "r", "r", "r", "s", "s", "s", "s", "s", "s",  /* 150 */
        "s", "s", "t", "t", "t", "t", "t", "t", "u", "u", "u", "u", "u", "u", "u", "u",    /* 160 */
        "u", "u", "u", "u", "w", "w", "y", "y", "y", "z", "z", "z", "z", "z", "z", "s",    /* 170 */
};
_Static_assert(ARRAY_SIZE(latin) == 0x180 - 0xc0, "one entry a code point");

/* What the character at *p becomes: letters, or NULL for a gap, or "" for nothing. Moves *p on. */
static const char *transliterate(const char **p, char ascii[2])
{
        unsigned char c = (unsigned char)*(*p)++;
        if (c < 0x80) {
                bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
                if (c >= 'A' && c <= 'Z') {
                        c = (unsigned char)(c - 'A' + 'a');
                        letter = true;
                }
                ascii[0] = (char)c;
                ascii[1] = 0;
                return letter ? ascii : c == '\'' ? "" : NULL;
        }
        unsigned next = (unsigned char)**p;
        while (((unsigned char)**p & 0xc0) == 0x80)
                (*p)++;
        unsigned code = (c & 0xe0) == 0xc0 ? (c & 0x1fu) << 6 | (next & 0x3f) : 0;
        return code >= 0xc0 && code < 0x180 ? latin[code - 0xc0] : code == 0 ? NULL : "";
}

void catalog_slug(const char *text, char out[CATALOG_SLUG_MAX])
{
        size_t n = 0;
        bool gap = false;
        char ascii[2];
        while (*text) {
                const char *s = transliterate(&text, ascii);
                if (!s || !*s) {
                        gap = gap || !s;
                        continue;
                }
                size_t need = strlen(s) + (gap && n > 0);
                if (n + need + 1 > CATALOG_SLUG_MAX)
                        break;
                if (gap && n > 0)
                        out[n++] = '-';
                gap = false;
                memcpy(out + n, s, strlen(s));
                n += strlen(s);
        }
        out[n] = 0;
        if (n == 0)
                memcpy(out, "archive", sizeof "archive");
}
