/* one_call.c - archives what it is given, under the configuration at the default place.
 *
 *     cc one_call.c $(pkg-config --cflags --libs autoglacier) -o one_call
 *     ./one_call "shell scripts archive" '/home/me/scripts/?*.sh' /home/me/login.sh */
#include <autoglacier.h>
#include <stdio.h>

int main(int argc, char **argv)
{
        struct agl_error error;
        if (argc < 3) {
                fprintf(stderr, "usage: one_call DESCRIPTION GLOB [FILE]...\n");
                return 2;
        }
        const char *globs[] = {argv[2], NULL};
        const char *const *files = (const char *const *)argv + 3; /* argv ends with NULL */
        int result = agl_auto_glacier(files, globs, argv[1], &error);
        if (result < 0) {
                fprintf(stderr, "%s\n", error.text);
                return 1;
        }
        return result > 0 ? 3 : 0; /* stored; with warnings */
}
