/* ask.h - questions on the terminal: passphrases without echo, yes or no.
 *
 * Uses /dev/tty, so that input and output may be pipes. Not here: passphrases from files. One
 * thread. */
#pragma once

#include "base.h"
#include "err.h"

struct secret;

/* There is a terminal to ask on. */
bool ask_possible(void);
/* A keys_passphrase_fn. -ENOKEY: an empty answer, or no terminal. The typed letters go straight
 * into locked memory. */
int ask_passphrase(
        void *ctx, const char *path, unsigned attempt, struct secret **ret, struct err *e);
/* For a new key: asked twice, until both are alike. */
int ask_new_passphrase(const char *path, struct secret **ret, struct err *e);
/* The first line of a file that only its owner can read, or of stdin ("-"). */
int ask_file(const char *path, struct secret **ret, struct err *e);
/* True for "y" or "yes". False without a terminal. */
bool ask_yes(const char *question);
