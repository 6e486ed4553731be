/* cli.h - what the subcommands share: options and words, opening things, messages, exit statuses.
 *
 * How a command is added: write cmd_NAME.c with one `const struct cli_command cmd_NAME = {…}`, name
 * it in commands.h and, where it shall stand in the help, in the table of main.c, and add the file
 * to meson.build. Its options are a table in the same file; usage, --help and parsing come from it.
 * tests/cli/test_pages.py then asks for a paragraph in doc/man/autoglacier.1.
 *
 * A command gets a struct cli, returns an exit status, and prints results to stdout (cli_flush()
 * notices a full disk) and messages to stderr. One thread. */
#pragma once

#include "base.h"
#include "err.h"

#include <stdatomic.h>

struct buf;
struct catalog;
struct catalog_archive;
struct config;
struct engine;
struct keyring;
struct store;

enum cli_status {
        CLI_DONE = 0,
        CLI_FAILED = 1,
        CLI_USAGE = 2,
        CLI_WARNINGS = 3,   /* done, with warnings, or incomplete */
        CLI_UNFINISHED = 4, /* accepted, goes on elsewhere or later */
};

struct cli_option {
        const char *name;  /* long name without "--"; NULL ends the table */
        char letter;       /* or 0 */
        const char *value; /* what stands for its value in the help; NULL: a flag */
        const char *help;  /* one line */
        bool many;         /* may be given several times */
};

struct cli;
struct cli_command {
        const char *name;
        const char *words;                /* for the usage line: "ARCHIVE [PATH…]" */
        const char *summary;              /* one line, in the list of commands */
        const char *about;                /* more, for --help; NULL allowed */
        const struct cli_option *options; /* NULL allowed */
        int min_words, max_words;         /* max -1: any number */
        int (*run)(struct cli *cli);
};

#define CLI_OPTIONS_MAX 32

struct cli {
        const struct cli_command *command;
        const char *config_file; /* --config, or NULL */
        char **words;            /* n_words of them, and a NULL */
        int n_words;
        struct {
                const struct cli_option *option;
                const char *value; /* "" for a flag */
        } * given;                 /* options in the order they were given */
        size_t n_given;

        /* Filled by the functions below, closed by main. */
        struct config *config;
        struct engine *engine;
        bool working; /* it was opened for work */
        struct catalog *catalog;
};

/* ---- options (cli_args.c) ---- */

/* Takes argv (after the command's name) apart. CLI_DONE, or CLI_USAGE after a message. */
int cli_parse(struct cli *cli, int argc, char **argv);
bool cli_flag(const struct cli *cli, const char *name);
/* The last value given, or NULL. */
const char *cli_value(const struct cli *cli, const char *name);
/* All values of an option that may be given several times: NULL-terminated, the caller frees the
 * array. NULL when out of memory. */
const char **cli_values(const struct cli *cli, const char *name);
/* "usage: autoglacier NAME …" and, with `whole`, its options. */
void cli_usage(const struct cli_command *c, FILE *f, bool whole);
/* Says what is wrong with the command line; returns CLI_USAGE. */
int cli_misuse(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);

/* ---- messages (cli.c) ---- */

/* "autoglacier: COMMAND: sentence" to stderr; returns CLI_FAILED. */
int cli_fail(const struct cli *cli, const struct err *e);
/* The same for something that does not end the command. */
void cli_say(const struct cli *cli, const char *fmt, ...) _printf_(2, 3);
/* One line of a list that cli_say() has begun, indented. */
void cli_detail(const char *fmt, ...) _printf_(1, 2);
/* Writes out what was printed to stdout; `status`, or CLI_FAILED if that could not be written. */
int cli_flush(const struct cli *cli, int status);
/* Prints text that others wrote: on a terminal without control characters. */
void cli_print(const char *text, size_t len);

/* Becomes true at SIGINT, SIGTERM or SIGHUP, after cli_catch_signals(). A second one ends the
 * program at once. */
extern atomic_bool cli_stop;
void cli_catch_signals(void);

/* ---- opening (cli_open.c) ---- */

/* Each opens what it needs before it, once; 0 or -errno with words. The struct cli owns all. */
int cli_config(struct cli *cli, struct err *e);
enum cli_use {
        CLI_LOOK, /* -ENOENT when nothing has been archived yet */
        CLI_WORK, /* the data folder may be made, and jobs run */
};
/* One that was opened to look is opened anew for work, the catalogue with it. Who orders a job and
 * runs it opens both at once: when the last connection is closed, SQLite writes its log into the
 * database and syncs both, and the next one begins a log anew. */
int cli_engine(struct cli *cli, enum cli_use use, struct err *e);
int cli_catalog(struct cli *cli, enum cli_use use, struct err *e);
/* The archive that a word names. The caller calls catalog_archive_done(). */
int cli_archive(struct cli *cli, const char *word, struct catalog_archive *ret, struct err *e);
/* Its store, checked to be the one it was stored in. The caller closes it. */
int cli_store(struct cli *cli, const struct catalog_archive *a, struct store **ret, struct err *e);
/* The engine's keyring, which asks on the terminal; with `key` (NULL allowed) that file alone. */
int cli_keyring(struct cli *cli, const char *key, struct keyring **ret, struct err *e);
void cli_close(struct cli *cli);
