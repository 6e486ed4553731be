#include "cli.h"

#include <signal.h>
#include <stdarg.h>

/* ---- messages ---- */

/* Names that others have given may be in it: a message is one line, and moves no cursor. */
static void tell(const char *before, const char *fmt, va_list ap)
{
        char text[2 * ERR_TEXT_MAX];
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        err_tame(text);
        (void)fflush(stdout); /* what was printed before stands before; cli_flush() tells errors */
        (void)fprintf(stderr, "%s%s\n", before, text);
}

void cli_say(const struct cli *cli, const char *fmt, ...)
{
        char before[64];
        (void)snprintf(before, sizeof before, "autoglacier: %s: ", cli->command->name); /* fits */
        va_list ap;
        va_start(ap, fmt);
        tell(before, fmt, ap);
        va_end(ap);
}

void cli_detail(const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        tell("  ", fmt, ap);
        va_end(ap);
}

int cli_fail(const struct cli *cli, const struct err *e)
{
        cli_say(cli, "%s", *e->text ? e->text : err_words(e->code));
        return CLI_FAILED;
}

int cli_flush(const struct cli *cli, int status)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        cli_say(cli, "cannot write the output: %s", err_words(errno));
        return CLI_FAILED;
}

/* Lines and tabs are no harm in results. */
static bool is_control(const char *s, size_t len)
{
        unsigned char c = (unsigned char)*s;
        return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ||
               (c == 0xc2 && len > 1 && ((unsigned char)s[1] & 0xe0) == 0x80);
}

void cli_print(const char *text, size_t len)
{
        static int terminal = -1;
        if (terminal < 0)
                terminal = isatty(STDOUT_FILENO);
        for (size_t i = 0; i < len; i++) {
                bool control = terminal && is_control(text + i, len - i);
                (void)putchar(control ? '?' : text[i]); /* cli_flush() tells errors */
                i += control && (unsigned char)text[i] == 0xc2;
        }
}

/* ---- signals ---- */

atomic_bool cli_stop;

static void on_signal(int sig)
{
        if (atomic_exchange(&cli_stop, true)) {
                (void)signal(sig, SIG_DFL); /* the user means it */
                (void)raise(sig);
        }
}

void cli_catch_signals(void)
{
        static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
        struct sigaction sa = {.sa_handler = on_signal};
        sigemptyset(&sa.sa_mask);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
                (void)sigaction(signals[i], &sa, NULL); /* valid signals */
}
