/* daemon.h - going to the background: the parent waits until the mount is there, or says why not.
 *
 * The main thread only, before any other thread, lock or socket exists. */
#pragma once

#include "base.h"
#include "err.h"

/* Forks. In the child: 0. In the parent: 1 when the mount is ready, or the child's error. Later
 * messages of the child go to DATA/log (0600). */
int daemon_start(const char *data, struct err *e);
/* In the child, or in a program that stayed in the foreground: the mount is there. Also tells
 * systemd (sd_notify(3), NOTIFY_SOCKET). */
void daemon_ready(void);
/* Something that whoever started us should read. */
void daemon_say(const char *text);
void daemon_failed(const struct err *e);
