/* commands.h - the subcommands, one a file. The table that orders them is in main.c. */
#pragma once

#include "cli.h"

extern const struct cli_command cmd_abort;
extern const struct cli_command cmd_backup;
extern const struct cli_command cmd_config;
extern const struct cli_command cmd_cost;
extern const struct cli_command cmd_decrypt;
extern const struct cli_command cmd_delete;
extern const struct cli_command cmd_files;
extern const struct cli_command cmd_find;
extern const struct cli_command cmd_genkeys;
extern const struct cli_command cmd_import;
extern const struct cli_command cmd_init;
extern const struct cli_command cmd_list;
extern const struct cli_command cmd_mount;
extern const struct cli_command cmd_recover;
extern const struct cli_command cmd_restore;
extern const struct cli_command cmd_retry;
extern const struct cli_command cmd_run;
extern const struct cli_command cmd_show;
extern const struct cli_command cmd_status;
extern const struct cli_command cmd_stop;
extern const struct cli_command cmd_stored;
extern const struct cli_command cmd_umount;
extern const struct cli_command cmd_unlock;
extern const struct cli_command cmd_verify;
