/* fuzz_untar.c - the writer of tar members against anything.
 *
 * A tar in an archive may be anybody's who has the public key. Whatever it holds: nothing outside
 * the target changes, nothing half written stays under any name, no device is made. */
#include "base.h"
#include "io.h"
#include "untar.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct input {
        const uint8_t *p;
        size_t left;
};

static ssize_t pull(void *ctx, void *data, size_t len, _unused_ struct err *e)
{
        struct input *in = ctx;
        size_t n = MIN(MIN(in->left, len), (size_t)1000);
        if (n > 0)
                memcpy(data, in->p, n);
        in->p += n;
        in->left -= n;
        return (ssize_t)n;
}

static int check(_unused_ void *ctx, const struct untar_result *r, _unused_ struct err *e)
{
        if (!*r->path || *r->path == '/' || !strchr("fdlh", r->type))
                abort();
        return 0;
}

/* No device, and nothing that was not finished; links are not followed. */
static void look_below(int dir, const char *name)
{
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        for (struct dirent *x; d && (x = readdir(d));) {
                struct stat st;
                if (x->d_name[0] == '.' && (!x->d_name[1] || streq(x->d_name, "..")))
                        continue;
                if (fstatat(fd, x->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        abort();
                bool ours = startswith(x->d_name, ".autoglacier-") != NULL;
                if (ours || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode)))
                        abort();
                if (S_ISDIR(st.st_mode))
                        look_below(fd, x->d_name);
        }
        if (d)
                (void)closedir(d); /* only read */
}

/* Beside the target there is what was there before. */
static void look_beside(int root)
{
        struct stat st;
        DIR *d = fdopendir(openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        unsigned n = 0;
        while (d && readdir(d))
                n++;
        if (!d || n != 4 || fstatat(root, "beside", &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                st.st_size != 0 || (st.st_mode & 07777) != 0600 || st.st_nlink != 1)
                abort();
        (void)closedir(d); /* only read */
}

static void run(const char *to, enum untar_clash clash, const uint8_t *data, size_t len)
{
        struct input in = {data, len};
        const struct untar_params p = {.to = to, .clash = clash, .check = check, .no_sums = true};
        _cleanup_(untar_freep) struct untar *u = NULL;
        struct err e = {0};
        if (untar_new(&p, &u, &e) < 0)
                abort();
        int q = untar_run(u, pull, &in, &e);
        if (q == 0)
                q = untar_finish(u, &e);
        if (q < 0 && (e.code != q || !*e.text))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        char dir[] = "/tmp/ag-fuzz-untar-XXXXXX";
        _cleanup_free_ char *to = mkdtemp(dir) ? io_join(dir, "to") : NULL;
        _cleanup_free_ char *beside = io_join(dir, "beside");
        if (!to || !beside)
                abort();
        _cleanup_close_ int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _cleanup_close_ int file = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (root < 0 || file < 0)
                abort();
        run(to, UNTAR_REFUSE, data, len);
        look_below(root, "to");
        run(to, UNTAR_OVERWRITE, data, len); /* over what is there */
        look_below(root, "to");
        look_beside(root);
        if (io_remove_tree(AT_FDCWD, dir, NULL) < 0)
                abort();
        return 0;
}
