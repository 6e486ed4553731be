#include "cli.h"

#include <assert.h>
#include <stdarg.h>

/* ---- help ---- */

static const struct cli_option everywhere[] = {
        {"config", 0, "FILE", "another configuration", false},
        {"help", 'h', NULL, "this text", false},
        {0},
};

static void option_line(FILE *f, const struct cli_option *o)
{
        char left[64];
        (void)snprintf(left, sizeof left, "%s%c%s --%s%s%s", o->letter ? "-" : " ",
                o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name, o->value ? " " : "",
                o->value ? o->value : ""); /* names are short */
        (void)fprintf(f, "  %-28s %s%s\n", left, o->help, o->many ? "; may be repeated" : "");
}

static void option_lines(FILE *f, const struct cli_option *o)
{
        for (; o && o->name; o++)
                option_line(f, o);
}

void cli_usage(const struct cli_command *c, FILE *f, bool whole)
{
        (void)fprintf(f, "usage: autoglacier %s%s%s%s\n", c->name, c->options ? " [OPTIONS]" : "",
                *c->words ? " " : "", c->words);
        if (!whole)
                return;
        (void)fprintf(f, "\n%s\n\n", c->about ? c->about : c->summary);
        option_lines(f, c->options);
        option_lines(f, everywhere);
}

int cli_misuse(const struct cli *cli, const char *fmt, ...)
{
        char text[ERR_TEXT_MAX];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        cli_say(cli, "%s", text);
        cli_usage(cli->command, stderr, false);
        (void)fprintf(stderr, "autoglacier %s --help tells more\n", cli->command->name);
        return CLI_USAGE;
}

/* ---- parsing ---- */

static const struct cli_option *by_name(const struct cli_option *o, const char *name, size_t len)
{
        for (; o && o->name; o++)
                if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
                        return o;
        return NULL;
}

static const struct cli_option *by_letter(const struct cli_option *o, char letter)
{
        for (; o && o->name; o++)
                if (o->letter == letter)
                        return o;
        return NULL;
}

static int give(struct cli *cli, const struct cli_option *o, const char *value)
{
        if (o == &everywhere[0]) {
                cli->config_file = value;
                return CLI_DONE;
        }
        void *v = reallocarray(cli->given, cli->n_given + 1, sizeof *cli->given);
        if (!v)
                return cli_fail(cli, &(struct err){.code = -ENOMEM});
        cli->given = v;
        cli->given[cli->n_given].option = o;
        cli->given[cli->n_given++].value = value;
        return CLI_DONE;
}

/* The arguments that are still to be looked at. */
struct rest {
        int n;
        char **v;
};

static const char *next(struct rest *r)
{
        if (r->n == 0)
                return NULL;
        r->n--;
        return *r->v++;
}

static int parse_long(struct cli *cli, const char *arg, struct rest *r)
{
        size_t len = strcspn(arg, "=");
        const struct cli_option *o = by_name(cli->command->options, arg, len);
        if (!o)
                o = by_name(everywhere, arg, len);
        if (!o)
                return cli_misuse(cli, "unknown option --%.*s", (int)len, arg);
        if (!o->value)
                return arg[len] ? cli_misuse(cli, "--%s takes no value", o->name)
                                : give(cli, o, "");
        const char *value = arg[len] ? arg + len + 1 : next(r);
        if (!value)
                return cli_misuse(cli, "--%s needs a value: %s", o->name, o->value);
        return give(cli, o, value);
}

/* -m TEXT, -mTEXT, -ab */
static int parse_letters(struct cli *cli, const char *arg, struct rest *r)
{
        int q = CLI_DONE;
        for (; q == CLI_DONE && *arg; arg++) {
                const struct cli_option *o = by_letter(cli->command->options, *arg);
                if (!o)
                        return cli_misuse(cli, "unknown option -%c", *arg);
                if (!o->value) {
                        q = give(cli, o, "");
                        continue;
                }
                const char *value = arg[1] ? arg + 1 : next(r);
                if (!value)
                        return cli_misuse(cli, "-%c needs a value: %s", o->letter, o->value);
                return give(cli, o, value);
        }
        return q;
}

int cli_parse(struct cli *cli, int argc, char **argv)
{
        struct rest r = {argc, argv};
        bool options_over = false;
        cli->words = calloc((size_t)argc + 1, sizeof *cli->words);
        if (!cli->words)
                return cli_fail(cli, &(struct err){.code = -ENOMEM});
        for (const char *arg; (arg = next(&r));) {
                int q = CLI_DONE;
                if (options_over || arg[0] != '-' || !arg[1])
                        cli->words[cli->n_words++] = (char *)arg;
                else if (streq(arg, "--"))
                        options_over = true;
                else if (arg[1] == '-')
                        q = parse_long(cli, arg + 2, &r);
                else
                        q = parse_letters(cli, arg + 1, &r);
                if (q != CLI_DONE)
                        return q;
        }
        const struct cli_command *c = cli->command;
        if (cli->n_words < c->min_words)
                return cli_misuse(cli, "something is missing: %s", c->words);
        if (c->max_words >= 0 && cli->n_words > c->max_words)
                return cli_misuse(cli, "too many arguments: %s", cli->words[c->max_words]);
        return CLI_DONE;
}

/* ---- looking ---- */

const char *cli_value(const struct cli *cli, const char *name)
{
        assert(by_name(cli->command->options, name, strlen(name))); /* the table has it */
        for (size_t i = cli->n_given; i > 0; i--)
                if (streq(cli->given[i - 1].option->name, name))
                        return cli->given[i - 1].value;
        return NULL;
}

bool cli_flag(const struct cli *cli, const char *name)
{
        return cli_value(cli, name) != NULL;
}

const char **cli_values(const struct cli *cli, const char *name)
{
        const char **v = calloc(cli->n_given + 1, sizeof *v);
        size_t n = 0;
        for (size_t i = 0; v && i < cli->n_given; i++)
                if (streq(cli->given[i].option->name, name))
                        v[n++] = cli->given[i].value;
        return v;
}
