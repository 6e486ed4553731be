#include "report_internal.h"

#include "io.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DISKS_MAX 32
#define DEPTH_MAX 8

/* Names of whole disks ("sda"), as /sys has them. */
struct disks {
        char name[DISKS_MAX][NAME_MAX + 1];
        size_t n;
};

static void add_disk(struct disks *d, const char *name)
{
        if (d->n < DISKS_MAX)
                (void)snprintf(
                        d->name[d->n++], sizeof d->name[0], "%s", name); /* a file's name: fits */
}

/* A mapped or joined device (LUKS, LVM, RAID) lies on its slaves, a partition on the disk that its
 * folder is in. */
static void collect(const char *folder, unsigned depth, struct disks *ret)
{
        char real[PATH_MAX], below[PATH_MAX + 32];
        bool slaves = false;
        if (depth > DEPTH_MAX || !realpath(folder, real))
                return;
        (void)snprintf(below, sizeof below, "%s/slaves", real); /* fits */
        DIR *d = opendir(below);
        for (const struct dirent *i; d && (i = readdir(d));) {
                if (i->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *slave = io_join(below, i->d_name);
                slaves = true;
                if (slave)
                        collect(slave, depth + 1, ret);
        }
        if (d)
                (void)closedir(d);                                 /* only read */
        (void)snprintf(below, sizeof below, "%s/partition", real); /* fits */
        char *slash = strrchr(real, '/');
        if (!slaves && access(below, F_OK) == 0 && slash) {
                *slash = 0;
                slash = strrchr(real, '/');
        }
        if (!slaves && slash)
                add_disk(ret, slash + 1);
}

/* Filesystems with devices of their own making (btrfs) are found by what is mounted. */
static dev_t behind_mount(const char *mounts, dev_t dev)
{
        _cleanup_fclose_ FILE *f = fopen(mounts, "re");
        _cleanup_free_ char *line = NULL;
        size_t room = 0;
        while (f && getline(&line, &room, f) > 0) {
                unsigned high, low;
                char source[PATH_MAX];
                struct stat st;
                const char *dash = strstr(line, " - ");
                if (!dash || sscanf(line, "%*u %*u %u:%u", &high, &low) != 2 ||
                        makedev(high, low) != dev)
                        continue;
                if (sscanf(dash + 3, "%*s %4095s", source) == 1 && stat(source, &st) == 0 &&
                        S_ISBLK(st.st_mode))
                        return st.st_rdev;
        }
        return dev;
}

static void disks_of(const char *root, dev_t dev, struct disks *ret)
{
        char path[PATH_MAX];
        (void)snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
        dev = behind_mount(path, dev);
        (void)snprintf(path, sizeof path, "%s/sys/dev/block/%u:%u", root, major(dev), minor(dev));
        collect(path, 0, ret);
}

bool report_same_disk(const char *root, dev_t a, dev_t b)
{
        if (a == b)
                return true;
        struct disks *d = calloc(2, sizeof *d);
        if (!d)
                return false;
        disks_of(root, a, &d[0]);
        disks_of(root, b, &d[1]);
        bool same = false;
        for (size_t i = 0; i < d[0].n; i++)
                for (size_t k = 0; k < d[1].n; k++)
                        same = same || streq(d[0].name[i], d[1].name[k]);
        free(d);
        return same;
}
