#include "progress.h"

#include "clock.h"

#include <sys/ioctl.h>

#define BAR_EVERY  (CLOCK_NSEC / 5)
#define LINE_EVERY (10 * CLOCK_NSEC)
#define LINE_SIZE  256

bool progress_possible(int fd)
{
        const char *term = getenv("TERM");
        return isatty(fd) && !(term && streq(term, "dumb"));
}

void progress_begin(struct progress *p, const char *what)
{
        struct winsize w;
        *p = (struct progress){.what = what, .begun = clock_monotonic(), .columns = 80};
        p->terminal = progress_possible(STDERR_FILENO);
        if (p->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 1)
                p->columns = w.ws_col;
        /* short work needs no line */
        p->next = p->begun + (p->terminal ? BAR_EVERY : LINE_EVERY);
}

void progress_bar(uint64_t done, uint64_t todo, unsigned width, char *out, size_t size)
{
        double part = todo > 0 ? (double)MIN(done, todo) / (double)todo : 0;
        unsigned full = (unsigned)(part * width);
        size_t n = 0;
        for (unsigned i = 0; i < width + 2 && n + 1 < size; i++)
                out[n++] = i == 0 ? '[' : i == width + 1 ? ']' : i <= full ? '#' : '-';
        (void)snprintf(out + n, size - n, " %3.0f %%", 100 * part); /* cut where too long */
}

static void add(char *line, const char *sep, const char *text)
{
        size_t n = strlen(line);
        (void)snprintf(line + n, LINE_SIZE - n, "%s%s", sep, text); /* cut where too long */
}

static void words(uint64_t done, uint64_t todo, uint64_t rate, char line[LINE_SIZE])
{
        char s[CLOCK_TEXT_MAX];
        if (done == 0 && todo == 0)
                return;
        clock_bytes_words(done, s);
        add(line, " ", s);
        if (todo > 0) {
                clock_bytes_words(todo, s);
                add(line, " of ", s);
        }
        if (rate == 0)
                return;
        clock_bytes_words(rate, s);
        add(line, ", ", s);
        add(line, "/s", "");
        if (todo > done) {
                clock_words((int64_t)((todo - done) / rate) * CLOCK_NSEC, s);
                add(line, ", ", s);
                add(line, " left", "");
        }
}

static void draw(struct progress *p, const char *line)
{
        if (p->terminal)
                (void)fprintf(stderr, "\r\033[K%.*s", (int)p->columns - 1, line);
        else
                (void)fprintf(stderr, "autoglacier: %s\n", line);
        (void)fflush(stderr); /* it is only for the eye */
        p->drawn = p->terminal;
}

void progress_show_rate(struct progress *p, uint64_t done, uint64_t todo, uint64_t rate)
{
        char line[LINE_SIZE], bar[64];
        int64_t now = clock_monotonic();
        if (now < p->next)
                return;
        p->next = now + (p->terminal ? BAR_EVERY : LINE_EVERY);
        int64_t seconds = (now - p->begun) / CLOCK_NSEC;
        if (rate == 0 && seconds > 1)
                rate = done / (uint64_t)seconds;
        (void)snprintf(line, sizeof line, "%s", p->what); /* short */
        if (todo > 0 && p->terminal) {
                progress_bar(done, todo, p->columns >= 100 ? 30 : 16, bar, sizeof bar);
                add(line, " ", bar);
        }
        words(done, todo, rate, line);
        draw(p, line);
}

void progress_show(struct progress *p, uint64_t done, uint64_t todo)
{
        progress_show_rate(p, done, todo, 0);
}

void progress_clear(struct progress *p)
{
        if (p->drawn)
                (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr); /* it is only for the eye */
        p->drawn = false;
        if (p->terminal)
                p->next = 0; /* drawn again at once; plain lines stay rare */
}
