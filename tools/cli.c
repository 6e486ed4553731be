#include "cli.h"

#include <signal.h>
#include <stdarg.h>

/* ---- messages ---- */

static void tell(const struct cli *cli, const char *text)
{
        (void)fflush(stdout); /* what was printed before stands before; cli_flush() tells errors */
        (void)fprintf(stderr, "autoglacier: %s: %s\n", cli->command->name, text);
}

int cli_fail(const struct cli *cli, const struct err *e)
{
        tell(cli, *e->text ? e->text : err_words(e->code));
        return CLI_FAILED;
}

void cli_say(const struct cli *cli, const char *fmt, ...)
{
        char text[2 * ERR_TEXT_MAX];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        tell(cli, text);
}

int cli_flush(const struct cli *cli, int status)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        cli_say(cli, "cannot write the output: %s", err_words(errno));
        return CLI_FAILED;
}

static bool is_control(char c)
{
        return ((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

void cli_print(const char *text, size_t len)
{
        static int terminal = -1;
        if (terminal < 0)
                terminal = isatty(STDOUT_FILENO);
        for (size_t i = 0; i < len; i++)
                (void)putchar(terminal && is_control(text[i]) ? '?' : text[i]); /* cli_flush() */
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
