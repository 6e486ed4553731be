/* options.h - the command line of autoglacierfs: ours, and the form that mount(8) and fstab use. */
#pragma once

#include "base.h"
#include "err.h"

struct options {
        char *mountpoint;  /* or NULL: the configuration's */
        char *config_file; /* or NULL: the default */
        bool foreground;
        bool help, version;
        bool allow_other;
        bool make; /* the mountpoint may be made (the default one) */
};

/*   autoglacierfs [--config FILE] [-f] [MOUNTPOINT] [-o OPTIONS]
 *   autoglacierfs SOURCE MOUNTPOINT -o OPTIONS        (mount -t fuse.autoglacier, fstab)
 * SOURCE is a configuration file, or any word. Options: config=FILE, allow_other, and the generic
 * ones of mount(8), which are ignored. -EINVAL in words. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);
void options_done(struct options *o);
void options_usage(FILE *f);
