/* fault.c - a library to be preloaded: the Nth call of a kind fails.
 *
 * FAULT_KIND is one of the names below, FAULT_AT a number from 1, FAULT_ERRNO what it fails with
 * (0, for reading and writing: half of what was asked for is done). With FAULT_ON set all later
 * ones fail too. FAULT_REPORT names a file that gets, at the end of the program, the number of
 * calls that were counted, and how many failed. A child that the program starts has no faults.
 * What the C library calls inside itself is not seen: stdio, time zones, the loader. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { NONE, DISK, SYNC, LOOK, FIRM, MEMORY };
static const char *const kinds[] = {
        [DISK] = "disk",      /* whatever changes the disk */
        [SYNC] = "sync",      /* whatever says that it is on the disk */
        [LOOK] = "look",      /* whatever reads or opens */
        [FIRM] = "interrupt", /* what a signal may interrupt */
        [MEMORY] = "memory",
};

static enum kind wanted;
static unsigned long at;
static int code;
static bool on;
static atomic_ulong calls, failed;
static pid_t self;

static struct dirent *(*real_readdir)(DIR *);

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
int syncfs(int fd);
int renameat2(int from, const char *a, int to, const char *b, unsigned flags);

static void tell(void)
{
        const char *path = getenv("FAULT_REPORT");
        char text[64];
        int n = snprintf(text, sizeof text, "%lu %lu\n", atomic_load(&calls), atomic_load(&failed));
        int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path,
                                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                      : -1;
        if (fd >= 0 && getpid() == self)
                (void)syscall(SYS_write, fd, text, n);
}

static void show(void)
{
        void *where[40];
        if (getenv("FAULT_TRACE"))
                backtrace_symbols_fd(where, backtrace(where, 40), 2);
}

/* Constructors of libraries below this one run before. */
__attribute__((constructor)) static void begin(void)
{
        const char *kind = getenv("FAULT_KIND"), *n = getenv("FAULT_AT"),
                   *e = getenv("FAULT_ERRNO");
        real_readdir = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir64");
        self = getpid();
        if (!kind || !n || !e)
                return;
        at = strtoul(n, NULL, 10);
        code = (int)strtol(e, NULL, 10);
        on = getenv("FAULT_ON") != NULL;
        (void)atexit(tell);
        for (size_t i = 1; i < sizeof kinds / sizeof *kinds; i++)
                if (strcmp(kind, kinds[i]) == 0)
                        wanted = (enum kind)i;
}

/* Whether this call fails; errno is set. */
static bool strike(enum kind kind)
{
        if (kind != wanted || getpid() != self)
                return false;
        unsigned long n = atomic_fetch_add(&calls, 1) + 1;
        if (at == 0 || (on ? n < at : n != at))
                return false;
        atomic_fetch_add(&failed, 1);
        enum kind k = wanted;
        wanted = NONE;
        show();
        wanted = k;
        errno = code;
        return true;
}

static bool strike_either(enum kind a, enum kind b)
{
        return strike(a) || strike(b);
}

/* A call that has no half. */
static bool strike_whole(enum kind kind)
{
        return code != 0 && strike(kind);
}

/* ---- memory ---- */

void *malloc(size_t n)
{
        return strike(MEMORY) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
        return strike(MEMORY) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
        return strike(MEMORY) ? NULL : __libc_realloc(p, n);
}

/* ---- opening ---- */

static int open_at(int dir, const char *path, int flags, va_list ap)
{
        bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
        int mode = makes ? va_arg(ap, int) : 0;
        if (code != 0 && strike_either(makes ? DISK : LOOK, FIRM))
                return -1;
        return (int)syscall(SYS_openat, dir, path, flags, mode);
}

#define OPEN(name)                                                                                 \
        int name(const char *path, int flags, ...)                                                 \
        {                                                                                          \
                va_list ap;                                                                        \
                va_start(ap, flags);                                                               \
                int fd = open_at(AT_FDCWD, path, flags, ap);                                       \
                va_end(ap);                                                                        \
                return fd;                                                                         \
        }
#define OPENAT(name)                                                                               \
        int name(int dir, const char *path, int flags, ...)                                        \
        {                                                                                          \
                va_list ap;                                                                        \
                va_start(ap, flags);                                                               \
                int fd = open_at(dir, path, flags, ap);                                            \
                va_end(ap);                                                                        \
                return fd;                                                                         \
        }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* ---- bytes ---- */

static bool half(size_t *len)
{
        if (code == 0 && *len > 1)
                *len /= 2;
        return code == 0;
}

ssize_t read(int fd, void *data, size_t len)
{
        if (strike_either(LOOK, FIRM) && !half(&len))
                return -1;
        return syscall(SYS_read, fd, data, len);
}

static ssize_t pread_any(int fd, void *data, size_t len, off_t offset)
{
        if (strike_either(LOOK, FIRM) && !half(&len))
                return -1;
        return syscall(SYS_pread64, fd, data, len, offset);
}

ssize_t write(int fd, const void *data, size_t len)
{
        if (fd > 2 && strike_either(DISK, FIRM) && !half(&len))
                return -1;
        return syscall(SYS_write, fd, data, len);
}

static ssize_t pwrite_any(int fd, const void *data, size_t len, off_t offset)
{
        if (strike_either(DISK, FIRM) && !half(&len))
                return -1;
        return syscall(SYS_pwrite64, fd, data, len, offset);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
        return pread_any(fd, data, len, offset);
}

ssize_t pread64(int fd, void *data, size_t len, off_t offset)
{
        return pread_any(fd, data, len, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
        return pwrite_any(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t offset)
{
        return pwrite_any(fd, data, len, offset);
}

/* ---- the rest: a call that fails with -1 ---- */

#define CALL(kind, number, name, params, ...)                                                      \
        int name params                                                                            \
        {                                                                                          \
                return strike_whole(kind) ? -1 : (int)syscall(number, __VA_ARGS__);                \
        }

CALL(SYNC, SYS_fsync, fsync, (int fd), fd)
CALL(SYNC, SYS_fdatasync, fdatasync, (int fd), fd)
CALL(SYNC, SYS_syncfs, syncfs, (int fd), fd)
CALL(DISK, SYS_ftruncate, ftruncate, (int fd, off_t len), fd, len)
CALL(DISK, SYS_ftruncate, ftruncate64, (int fd, off_t len), fd, len)
CALL(DISK, SYS_fallocate, fallocate64, (int fd, int mode, off_t from, off_t len), fd, mode, from,
        len)
CALL(DISK, SYS_mkdir, mkdir, (const char *path, mode_t mode), path, mode)
CALL(DISK, SYS_mkdirat, mkdirat, (int dir, const char *path, mode_t mode), dir, path, mode)
CALL(DISK, SYS_rename, rename, (const char *a, const char *b), a, b)
CALL(DISK, SYS_renameat, renameat, (int from, const char *a, int to, const char *b), from, a, to, b)
CALL(DISK, SYS_renameat2, renameat2,
        (int from, const char *a, int to, const char *b, unsigned flags), from, a, to, b, flags)
CALL(DISK, SYS_link, link, (const char *a, const char *b), a, b)
CALL(DISK, SYS_linkat, linkat, (int from, const char *a, int to, const char *b, int flags), from, a,
        to, b, flags)
CALL(DISK, SYS_symlinkat, symlinkat, (const char *text, int dir, const char *path), text, dir, path)
CALL(DISK, SYS_unlink, unlink, (const char *path), path)
CALL(DISK, SYS_unlinkat, unlinkat, (int dir, const char *path, int flags), dir, path, flags)
CALL(DISK, SYS_fchmod, fchmod, (int fd, mode_t mode), fd, mode)

#define STAT(name, number, params, ...)                                                            \
        int name params                                                                            \
        {                                                                                          \
                return strike_whole(LOOK) ? -1 : (int)syscall(number, __VA_ARGS__);                \
        }
STAT(statx, SYS_statx, (int dir, const char *path, int flags, unsigned mask, struct statx *st), dir,
        path, flags, mask, st)
STAT(fstat, SYS_fstat, (int fd, struct stat *st), fd, st)
STAT(fstat64, SYS_fstat, (int fd, struct stat64 *st), fd, st)
STAT(stat, SYS_stat, (const char *path, struct stat *st), path, st)
STAT(stat64, SYS_stat, (const char *path, struct stat64 *st), path, st)
STAT(fstatat, SYS_newfstatat, (int dir, const char *path, struct stat *st, int flags), dir, path,
        st, flags)
STAT(fstatat64, SYS_newfstatat, (int dir, const char *path, struct stat64 *st, int flags), dir,
        path, st, flags)

ssize_t getdents64(int fd, void *data, size_t len)
{
        return strike_whole(LOOK) ? -1 : (ssize_t)syscall(SYS_getdents64, fd, data, len);
}

static struct dirent *readdir_any(DIR *d)
{
        return strike_whole(LOOK) ? NULL : real_readdir(d);
}

struct dirent *readdir(DIR *d)
{
        return readdir_any(d);
}

struct dirent64 *readdir64(DIR *d)
{
        return (struct dirent64 *)readdir_any(d);
}
