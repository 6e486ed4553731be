/* find_glob.c - prints what a pattern finds, each name ended by a zero byte: find_glob PATTERN...
 */
#include "glob.h"

static int print(void *ctx, const char *path, struct err *e)
{
        (void)ctx;
        (void)e;
        return fwrite(path, strlen(path) + 1, 1, stdout) == 1 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++)
                if (glob_each(argv[i], print, NULL, NULL, NULL) < 0 || fputs("\n", stdout) < 0)
                        return 1;
        return fflush(stdout) == 0 ? 0 : 1;
}
