/* dispatch.h - sends each request to who answers for the node. */
#pragma once

#include "mount.h"

/* What the session is made with; userdata is a struct mount. */
extern const struct fuse_lowlevel_ops dispatch_ops;
