#include "buf.h"
#include "cost.h"
#include "thaw.h"

struct scan {
        const char *p, *end;
        struct buf word;
        bool quoted; /* some of the word was */
};

void thaw_words_done(struct thaw_words *w)
{
        free(w->paths);
        *w = (struct thaw_words){0};
}

static bool is_blank(char c)
{
        return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void skip_blanks(struct scan *s, const char *text)
{
        for (; s->p < s->end; s->p++) {
                bool at_line = s->p == text || s->p[-1] == '\n';
                if (at_line && *s->p == '#') {
                        const char *nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
                        s->p = nl ? nl : s->end - 1;
                } else if (!is_blank(*s->p)) {
                        return;
                }
        }
}

static int quoted(struct scan *s, char quote, struct err *e)
{
        s->quoted = true;
        for (s->p++; s->p < s->end && *s->p != quote; s->p++) {
                if (quote == '"' && *s->p == '\\' && s->p + 1 < s->end)
                        s->p++;
                buf_addc(&s->word, *s->p);
        }
        return s->p < s->end ? 0 : err_set(e, -EINVAL, "a quote %c has no end", quote);
}

/* 1 a word, 0 no more. */
static int next_word(struct scan *s, const char *text, struct err *e)
{
        skip_blanks(s, text);
        buf_reset(&s->word);
        s->quoted = false;
        bool any = s->p < s->end;
        for (; s->p < s->end && !is_blank(*s->p); s->p++) {
                int q = 0;
                if (*s->p == '\'' || *s->p == '"')
                        q = quoted(s, *s->p, e);
                else if (*s->p == '\\' && s->p + 1 < s->end) {
                        buf_addc(&s->word, *++s->p);
                        s->quoted = true;
                } else
                        buf_addc(&s->word, *s->p);
                if (q < 0)
                        return q;
        }
        if (any && memchr(buf_str(&s->word), 0, s->word.len))
                return err_set(e, -EINVAL, "a path holds no zero byte");
        return any;
}

static const char *tier_of(const char *word)
{
        for (size_t k = 0; cost_tier(k); k++)
                if (streq(cost_tier(k), word))
                        return cost_tier(k);
        return NULL;
}

static int take(struct thaw_words *w, struct buf *paths, const struct scan *s, struct err *e)
{
        const char *word = buf_str(&s->word), *value;
        bool first = !w->tier && !w->everything && paths->len == 0;
        if (!s->quoted && (value = startswith(word, "max=")) != NULL) {
                char *end;
                w->max_price = strtod(value, &end);
                if (end == value || (*end && !streq(end, "USD")) || !(w->max_price >= 0))
                        return err_set(
                                e, -EINVAL, "%s: a price is a number of USD, like max=7.50", word);
        } else if (!s->quoted && first && tier_of(word)) {
                w->tier = tier_of(word);
        } else if (!s->quoted && streq(word, "all")) {
                w->everything = true;
        } else if (*word) {
                buf_add(paths, word, s->word.len + 1);
        } else {
                return err_set(e, -EINVAL, "a path is empty");
        }
        return 0;
}

static int finish(struct thaw_words *w, struct buf *paths, struct err *e)
{
        if (w->everything && paths->len > 0)
                return err_set(e, -EINVAL,
                        "all and a path cannot be asked for together; quote a path that is called "
                        "all");
        w->everything |= w->tier && paths->len == 0;
        if (!w->everything && paths->len == 0)
                return err_set(
                        e, -EINVAL, "nothing was named; write paths of files or folders, or all");
        w->paths_len = paths->len;
        return (w->paths = buf_steal(paths)) ? 0 : err_oom(e);
}

int thaw_words_parse(const char *text, size_t len, struct thaw_words *ret, struct err *e)
{
        struct scan s = {.p = text, .end = text + len};
        struct thaw_words w = {.max_price = -1};
        _cleanup_buf_ struct buf paths = BUF_INIT;
        int q;
        while ((q = next_word(&s, text, e)) > 0)
                if ((q = take(&w, &paths, &s, e)) < 0)
                        break;
        if (q == 0)
                q = finish(&w, &paths, e);
        buf_done(&s.word);
        if (q < 0)
                thaw_words_done(&w);
        else
                *ret = w;
        return q;
}
