/* keys_sheet.h - the recovery sheet: what the owner of a key pair has to keep, and where.
 *
 * Floor 2. Text only; nothing secret is in it, so it can be printed and put into a folder. Any
 * thread. */
#pragma once

#include "base.h"

struct buf;

/* Appends the sheet to `ret`: plain text, lines of at most 78 characters unless a path is longer.
 * `fingerprint` is the public key's (64 hex digits). Out of memory shows in buf_oom(ret). */
void keys_recovery_sheet(const char *private_path, const char *public_path, const char *fingerprint,
        struct buf *ret);
