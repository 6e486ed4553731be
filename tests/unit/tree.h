/* tree.h - for tests that work on real folders: a scratch folder, shell commands, small files. */
#pragma once

#include "base.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

/* A new scratch folder, with $T set to it for tree_sh(). */
_unused_ static void tree_setup(char path[64])
{
        const char *base = getenv("TMPDIR");
        (void)snprintf(path, 64, "%s/ag-test-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
        assert_non_null(mkdtemp(path));
        assert_int_equal(chmod(path, 0755), 0);
        assert_int_equal(setenv("T", path, 1), 0);
}

/* Runs a command in sh, with the C locale's order and no umask surprises; returns its exit status.
 */
_unused_ static int tree_status(const char *command)
{
        (void)fflush(NULL);
        int status = system(command);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

_unused_ static void tree_sh(const char *command)
{
        int status = tree_status(command);
        if (status != 0)
                print_error("failed with %d: %s\n", status, command);
        assert_int_equal(status, 0);
}

_unused_ static void tree_remove(const char *path)
{
        if (path[0] == 0)
                return;
        assert_int_equal(setenv("T", path, 1), 0);
        (void)tree_status("chmod -R u+rwx \"$T\" 2>/dev/null; rm -rf \"$T\"");
}

_unused_ static bool tree_is_root(void)
{
        if (geteuid() == 0)
                return true;
        print_message("skipped: needs root\n");
        return false;
}

_unused_ static bool tree_has(const char *tool)
{
        char command[128];
        (void)snprintf(command, sizeof command, "command -v %s >/dev/null", tool);
        if (tree_status(command) == 0)
                return true;
        print_message("skipped: needs %s\n", tool);
        return false;
}
