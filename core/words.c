#include "words.h"

#include <inttypes.h>

/* 1234567 -> 1,234,567; a comma for every three digits from the right. */
static size_t add_grouped(uint64_t n, char *out, size_t cap)
{
        char digits[24];
        int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
        size_t at = 0;
        for (int i = 0; i < len && at + 2 < cap; i++) {
                if (i > 0 && (len - i) % 3 == 0)
                        out[at++] = ',';
                out[at++] = digits[i];
        }
        out[at] = 0;
        return at;
}

const char *words_count(uint64_t n, const char *one, const char *many, char out[WORDS_MAX])
{
        size_t at = add_grouped(n, out, WORDS_MAX);
        const char *noun = n == 1 || !many ? one : many;
        (void)snprintf(out + at, WORDS_MAX - at, " %s%s", noun, n != 1 && !many ? "s" : "");
        return out;
}
