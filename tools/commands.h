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

/* `autoglacier SOURCE MOUNTPOINT -o OPTIONS`: so mount(8) calls us for the type fuse.autoglacier
 * and for lines of fstab(5). */
bool mount8_asks(int argc, char *const *argv);
/* Becomes the mount program with these words; an exit status when it cannot. */
int mount8_run(char **argv);
