#include "passthrough_internal.h"

#include "creds.h"
#include "root.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>

/* The root's own names come after the entries of the disk. No filesystem has an entry at such an
 * offset, but the last one's next may be the greatest there is. */
#define EXTRA_OFFSET (INT64_MAX - 64)

struct folder {
        struct handle_link link;
        DIR *d;
        off_t at;            /* where `d` stands */
        struct dirent *held; /* read but not yet given: it did not fit */
        size_t extra; /* 0: entries of the disk; else the next of the root's names, plus one */
};

static struct folder *folder_of(const struct fuse_file_info *fi)
{
        return (struct folder *)(uintptr_t)fi->fh;
}

static void folder_free(struct handle_link *l)
{
        struct folder *f = (struct folder *)l;
        handles_leave(l);
        (void)closedir(f->d); /* only read */
        free(f);
}

void pt_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct inode *i = passthrough_inode(mount_of(req), ino);
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc); /* "." would ask for the right to search it */
        struct creds c = i->view ? creds_take(req) : (struct creds){0}; /* see open_backing() */
        int fd = inode_open(mount_of(req), AT_FDCWD, proc, O_RDONLY | O_DIRECTORY, 0);
        int q = fd < 0 ? errno : 0;
        creds_back(&c);
        DIR *d = fd < 0 ? NULL : fdopendir(fd);
        struct folder *f = d ? calloc(1, sizeof *f) : NULL;
        if (!f) {
                q = q ? q : d ? ENOMEM : errno;
                if (d)
                        (void)closedir(d); /* only read */
                else
                        base_closep(&fd);
                fuse_reply_err(req, q);
                return;
        }
        f->d = d;
        handles_enter(&mount_of(req)->handles, &f->link, folder_free);
        fi->fh = (uintptr_t)f;
        fi->cache_readdir = 0;
        if (fuse_reply_open(req, fi) == -ENOENT)
                folder_free(&f->link);
}

void pt_releasedir(fuse_req_t req, fuse_ino_t ino _unused_, struct fuse_file_info *fi)
{
        folder_free(&folder_of(fi)->link);
        fuse_reply_err(req, 0);
}

void pt_fsyncdir(fuse_req_t req, fuse_ino_t ino _unused_, int datasync, struct fuse_file_info *fi)
{
        int fd = dirfd(folder_of(fi)->d);
        fuse_reply_err(req, (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0);
}

static void seek(struct folder *f, off_t off)
{
        if (off >= EXTRA_OFFSET) {
                f->extra = (size_t)(off - EXTRA_OFFSET) + 1;
        } else if (off != f->at || f->extra) {
                f->extra = 0;
                if (off == 0)
                        rewinddir(f->d); /* sees what has changed since */
                else
                        seekdir(f->d, off);
                f->held = NULL;
                f->at = off;
        }
}

struct listing {
        fuse_req_t req;
        struct mount *m;
        struct inode *dir;
        char *buf;
        size_t size, used;
        bool plus;
};

/* 0 taken, ENOSPC full, or another errno. */
static int put(struct listing *l, const char *name, const struct stat *st,
        const struct fuse_entry_param *e, off_t next)
{
        size_t left = l->size - l->used;
        size_t n = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->used, left, name, e, next)
                           : fuse_add_direntry(l->req, l->buf + l->used, left, name, st, next);
        if (n > left)
                return ENOSPC;
        l->used += n;
        return 0;
}

static bool is_dot(const char *name)
{
        return streq(name, ".") || streq(name, "..");
}

static int put_real(struct listing *l, const struct dirent *de, off_t next)
{
        struct stat st = {.st_ino = de->d_ino, .st_mode = (mode_t)DTTOIF(de->d_type)};
        if (l->dir->special && is_dot(de->d_name))
                st.st_ino = NODE_ROOT_INO;
        struct fuse_entry_param e = {.attr = st};
        /* With many descriptors in use, names alone have to do. */
        bool lookup = l->plus && !is_dot(de->d_name) && !inode_table_crowded(l->m->inodes);
        int q = lookup ? passthrough_lookup(l->m, l->dir, de->d_name, &e) : 0;
        if (q == ENOENT)
                return 0; /* gone in between */
        if (q) {          /* a folder that may be read but not searched */
                lookup = false;
                e = (struct fuse_entry_param){.attr = st};
        }
        q = put(l, de->d_name, &st, &e, next);
        if (q && lookup)
                inode_forget(l->m, (struct inode *)e.ino, 1);
        return q;
}

static int list_real(struct listing *l, struct folder *f)
{
        for (;;) {
                errno = 0;
                if (!f->held)
                        f->held = readdir(f->d);
                if (!f->held)
                        return errno;
                off_t next = MIN(f->held->d_off, EXTRA_OFFSET);
                bool hidden = l->dir->special && root_is_reserved(f->held->d_name);
                int q = hidden ? 0 : put_real(l, f->held, next);
                if (q)
                        return q;
                f->held = NULL;
                f->at = next;
        }
}

static int list_extra(struct listing *l, struct folder *f)
{
        if (!l->dir->special)
                return 0;
        const char *name;
        struct stat st;
        for (size_t k = f->extra ? f->extra - 1 : 0; (name = root_extra(l->m, k, &st)) != NULL;
                k++) {
                struct fuse_entry_param e = {.attr = st};
                int q = put(l, name, &st, &e, EXTRA_OFFSET + (off_t)k + 1);
                if (q)
                        return q;
                f->extra = k + 2;
        }
        return 0;
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
        bool plus)
{
        struct folder *f = folder_of(fi);
        _cleanup_free_ char *buf = malloc(size);
        struct listing l = {.req = req, .m = mount_of(req), .buf = buf, .size = size, .plus = plus};
        l.dir = passthrough_inode(l.m, ino);
        if (!buf) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        seek(f, off);
        int q = f->extra ? 0 : list_real(&l, f);
        if (q == 0)
                q = list_extra(&l, f);
        if (q && q != ENOSPC && l.used == 0)
                fuse_reply_err(req, q);
        else
                fuse_reply_buf(req, buf, l.used);
}

void pt_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        list(req, ino, size, off, fi, false);
}

void pt_readdirplus(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        list(req, ino, size, off, fi, true);
}
