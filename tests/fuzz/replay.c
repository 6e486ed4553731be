/* replay.c - runs a fuzz target over files: fuzz_X_replay FILE_OR_FOLDER…
 *
 * So the corpus is a test in every build, with any compiler; a failure is a crash. */
#include "base.h"
#include "buf.h"
#include "io.h"

#include <dirent.h>
#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int run_file(const char *path, unsigned *seen)
{
        _cleanup_buf_ struct buf content = BUF_INIT;
        struct err e = {0};
        if (io_read_file(AT_FDCWD, path, 16 * MiB, &content, &e) < 0) {
                (void)fprintf(stderr, "%s\n", e.text);
                return 1;
        }
        /* a copy of exactly this size: a sanitizer then sees the first byte read behind it */
        _cleanup_free_ uint8_t *data = malloc(MAX(content.len, 1u));
        if (!data)
                return 1;
        memcpy(data, buf_str(&content), content.len);
        (void)LLVMFuzzerTestOneInput(data, content.len); /* always 0 */
        ++*seen;
        return 0;
}

static int run_folder(const char *path, unsigned *seen)
{
        DIR *folder = opendir(path);
        if (!folder)
                return run_file(path, seen);
        int r = 0;
        for (struct dirent *d; r == 0 && (d = readdir(folder));) {
                if (d->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *file = io_join(path, d->d_name);
                r = file ? run_file(file, seen) : 1;
        }
        (void)closedir(folder); /* only read */
        return r;
}

int main(int argc, char **argv)
{
        unsigned seen = 0;
        int r = 0;
        for (int i = 1; i < argc && r == 0; i++)
                r = run_folder(argv[i], &seen);
        if (r == 0 && seen == 0) {
                (void)fprintf(stderr, "no input: %s FILE_OR_FOLDER...\n", argv[0]);
                r = 1;
        }
        if (r == 0)
                (void)printf("%u inputs\n", seen);
        return r;
}
