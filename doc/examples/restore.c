/* restore.c - lists the archives; with an archive, what is in it; with a folder too, restores it.
 *
 *     cc restore.c $(pkg-config --cflags --libs autoglacier) -o restore
 *     ./restore; ./restore latest; ./restore latest /tmp/back */
#include <autoglacier.h>
#include <stdio.h>

static int print_archive(void *ctx, const struct agl_archive *a)
{
        (void)ctx;
        printf("%s\t%s\t%llu files\t%s\n", a->name, a->state, (unsigned long long)a->files,
                a->description);
        return 0;
}

static int print_file(void *ctx, const struct agl_file *f)
{
        (void)ctx;
        printf("%c %04o %12llu %s\n", f->type, f->mode, (unsigned long long)f->size, f->path);
        return 0;
}

static void message(void *ctx, const char *text)
{
        (void)ctx;
        fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv)
{
        struct agl_error error;
        struct agl *a = NULL;
        int result = agl_open(NULL, &a, &error);
        if (result == 0 && argc < 2)
                result = agl_archives(a, print_archive, NULL, &error);
        else if (result == 0 && argc < 3)
                result = agl_files(a, argv[1], print_file, NULL, &error);
        else if (result == 0) {
                struct agl_restore r = {
                        .size = sizeof r, .archive = argv[1], .to = argv[2], .message = message};
                result = agl_restore(a, &r, &error);
        }
        if (result < 0)
                fprintf(stderr, "%s\n", error.text);
        agl_close(a);
        return result < 0 ? 1 : result > 0 ? 3 : 0;
}
