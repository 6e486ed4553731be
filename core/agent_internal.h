/* agent_internal.h - the messages of the agent, shared by its two ends and nobody else. */
#pragma once

#include "agent.h"

#include <sys/socket.h>
#include <sys/un.h>

#define AGENT_VERSION     1
#define AGENT_MESSAGE_MAX (8u * KiB)
#define AGENT_PATIENCE_S  10 /* for a peer that connects and says nothing */

enum agent_operation {
        AGENT_UNLOCK = 1,
        AGENT_LOCK = 2,
        AGENT_UNWRAP = 3,
};

/* An address for DATA/agent.sock that is never too long: through a descriptor of DATA. */
int agent_address(int data_fd, struct sockaddr_un *ret);
/* The peer is a program of this user. */
bool agent_is_ours(int fd);
