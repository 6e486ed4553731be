/* fuzz_words.c - what is written into `.restore`, against anything.
 *
 * What is taken is either everything or a list of paths, each ended by a zero byte and none empty;
 * a price is a number; what is refused says why. */
#include "thaw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool holds)
{
        if (!holds)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct thaw_words w;
        struct err e = {0};
        if (thaw_words_parse((const char *)data, len, &w, &e) < 0) {
                must(e.code < 0 && *e.text);
                return 0;
        }
        must(w.everything == (w.paths_len == 0));
        must(w.max_price == -1 || w.max_price >= 0);
        must(w.paths_len == 0 || w.paths[w.paths_len - 1] == 0);
        size_t seen = 0;
        for (const char *p = w.paths; p < w.paths + w.paths_len; p += strlen(p) + 1) {
                must(*p != 0);
                seen += strlen(p) + 1;
        }
        must(seen == w.paths_len && seen <= len + 1);
        thaw_words_done(&w);
        return 0;
}
