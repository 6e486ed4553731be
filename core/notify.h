/* notify.h - NOTIFY_COMMAND: tells the user's own program what happened.
 *
 * Floor 3. The command is run by /bin/sh, with the facts in its environment and a sentence on its
 * standard input:
 *
 *     AUTOGLACIER_EVENT        stored, incomplete, failed, ready
 *     AUTOGLACIER_ARCHIVE      the archive's name
 *     AUTOGLACIER_ID           its id
 *     AUTOGLACIER_DESCRIPTION  its description
 *     AUTOGLACIER_ERROR        why it failed, or nothing
 *
 * It has a minute. What it prints goes nowhere. Any thread; blocks as long as it runs. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog_archive;
struct config;

/* 0, also if there is no command. Otherwise the words are for the archive's log: nothing depends on
 * it. `tick` as in child.h, NULL allowed. */
int notify_run(const struct config *config, const char *event, const struct catalog_archive *a,
        int (*tick)(void *ctx, struct err *e), void *ctx, struct err *e);
