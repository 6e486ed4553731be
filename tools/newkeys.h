/* newkeys.h - making a key pair as a command does it: with a passphrase or not, and with the sheet.
 */
#pragma once

#include "cli.h"

/* The options that genkeys and init share; they end the table of each. */
#define NEWKEYS_OPTIONS                                                                            \
        {"passphrase", 'p', NULL, "ask for a passphrase that the private key is locked with",      \
                false},                                                                            \
                {"passphrase-file", 0, "FILE", "take it from the first line of FILE (- is stdin)", \
                        false},                                                                    \
        {                                                                                          \
                "bits", 0, "N", "size of the RSA key, 2048 to 8192; 3072 if not said", false       \
        }

/* Was any of them given? */
bool newkeys_asked(const struct cli *cli);
/* Makes both files (their folders too) as the options say, and prints the recovery sheet. A status.
 */
int newkeys_make(struct cli *cli, const char *private_path, const char *public_path);
