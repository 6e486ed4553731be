/* powercut.c - a library to be preloaded: keeps a copy of what would be on the disk after a power
 * cut.
 *
 * Below POWERCUT_ROOT, a file's bytes count as written only when the file was synced (fsync(2),
 * fdatasync(2), syncfs(2)), and a name only when its folder was. What was there when the program
 * began is on the disk. POWERCUT_DISK gets one file for each file or folder that was synced, named
 * by inode number and time of birth (numbers are used again): KEY holds the bytes of a file; KEY.d
 * lists a folder, for each entry: key, type, name, target of a link, each ended by a zero byte.
 * Both have the mode, the times and the user's xattrs of the original. tests/mount/powercut.py puts
 * a tree together again from that. Stricter than any filesystem in use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int disk = -1;
static char root[4096];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int syncfs(int fd);

static bool key_of(int fd, const char *name, int flags, char key[80])
{
        struct statx st;
        if (statx(fd, name, flags, STATX_INO | STATX_BTIME, &st) < 0)
                return false;
        (void)snprintf(key, 80, "%llx-%llx-%x", (unsigned long long)st.stx_ino,
                (unsigned long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec); /* fits */
        return true;
}

static void copy_attributes(int from, int to)
{
        struct stat st;
        char names[4096], value[4096];
        ssize_t n = flistxattr(from, names, sizeof names);
        for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
                ssize_t len =
                        strncmp(p, "user.", 5) == 0 ? fgetxattr(from, p, value, sizeof value) : -1;
                if (len >= 0)
                        (void)fsetxattr(to, p, value, (size_t)len, 0);
        }
        if (fstat(from, &st) < 0)
                return;
        (void)fchmod(to, st.st_mode & 07777);
        (void)futimens(to, (struct timespec[]){st.st_atim, st.st_mtim});
}

static void copy_bytes(int from, int to)
{
        char chunk[65536];
        off_t at = 0;
        for (ssize_t n; (n = pread(from, chunk, sizeof chunk, at)) > 0; at += n)
                if (write(to, chunk, (size_t)n) != n)
                        abort(); /* a wrong copy would prove nothing */
}

static void list_folder(int from, int to)
{
        int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        FILE *f = fdopen(dup(to), "w");
        struct dirent *de;
        while (d && f && (de = readdir(d)) != NULL) {
                char key[80], target[4096];
                if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0 ||
                        !key_of(fd, de->d_name, AT_SYMLINK_NOFOLLOW, key))
                        continue;
                ssize_t n = readlinkat(fd, de->d_name, target, sizeof target - 1);
                target[n < 0 ? 0 : n] = 0;
                (void)fprintf(f, "%s%c%c%c%s%c%s%c", key, 0, "?pc?d?b?f?l?s"[de->d_type], 0,
                        de -> d_name, 0, target, 0);
        }
        if (f)
                (void)fclose(f);
        if (d)
                (void)closedir(d);
}

/* One file or folder reaches the disk, whole or not at all. */
static void keep(int fd)
{
        struct stat st;
        char key[80], name[96], tmp[96];
        if (fstat(fd, &st) < 0 || !key_of(fd, "", AT_EMPTY_PATH, key))
                return;
        bool folder = S_ISDIR(st.st_mode);
        if (!folder && !S_ISREG(st.st_mode))
                return;
        (void)snprintf(name, sizeof name, "%s%s", key, folder ? ".d" : "");
        (void)snprintf(tmp, sizeof tmp, "tmp-%ld", (long)syscall(SYS_gettid));
        int to = openat(disk, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (to < 0)
                return;
        (folder ? list_folder : copy_bytes)(fd, to);
        copy_attributes(fd, to);
        (void)close(to);
        (void)renameat(disk, tmp, disk, name);
}

static void keep_tree(int fd)
{
        keep(fd);
        DIR *d = fdopendir(fd);
        struct dirent *de;
        while (d && (de = readdir(d)) != NULL) {
                if (de->d_name[0] == '.' &&
                        (!de->d_name[1] || (de->d_name[1] == '.' && !de->d_name[2])))
                        continue;
                if (de->d_type != DT_DIR && de->d_type != DT_REG)
                        continue;
                int below = openat(
                        dirfd(d), de->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (below < 0)
                        continue;
                if (de->d_type == DT_DIR) {
                        keep_tree(below);
                } else {
                        keep(below);
                        (void)close(below);
                }
        }
        if (d)
                (void)closedir(d);
        else
                (void)close(fd);
}

static void keep_all(void)
{
        int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        pthread_mutex_lock(&lock);
        if (fd >= 0)
                keep_tree(fd);
        pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void begin(void)
{
        const char *at = getenv("POWERCUT_DISK"), *top = getenv("POWERCUT_ROOT");
        if (!at || !top || strcmp(program_invocation_short_name, "autoglacierfs") != 0)
                return;
        (void)snprintf(root, sizeof root, "%s", top);
        disk = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (disk >= 0)
                keep_all();
}

static bool below_root(int fd)
{
        char proc[64], path[4096];
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(proc, path, sizeof path - 1);
        if (disk < 0 || n < 0)
                return false;
        path[n] = 0;
        return strncmp(path, root, strlen(root)) == 0;
}

static int sync_one(int fd)
{
        if (!below_root(fd))
                return 0;
        char proc[64];
        (void)snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
        int again = open(proc, O_RDONLY | O_CLOEXEC); /* fd may be for writing only */
        if (again < 0)
                return 0;
        pthread_mutex_lock(&lock);
        keep(again);
        pthread_mutex_unlock(&lock);
        (void)close(again);
        return 0;
}

int fsync(int fd)
{
        return sync_one(fd);
}

int fdatasync(int fd)
{
        return sync_one(fd);
}

int syncfs(int fd)
{
        (void)fd;
        if (disk >= 0)
                keep_all();
        return 0;
}
