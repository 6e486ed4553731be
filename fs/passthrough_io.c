#include "passthrough_internal.h"

#include "creds.h"
#include "staging.h"

#include <fcntl.h>

/* ---- files ---- */

struct handle {
        struct handle_link link;
        int fd;
        bool writes;
};

static void handle_free(struct handle_link *l)
{
        struct handle *h = (struct handle *)l;
        handles_leave(l);
        (void)close(h->fd); /* flush has told */
        free(h);
}

static struct handle *handle_of(const struct fuse_file_info *fi)
{
        return (struct handle *)(uintptr_t)fi->fh;
}

int passthrough_fd(const struct fuse_file_info *fi)
{
        return handle_of(fi)->fd;
}

/* Direct I/O asks for an alignment that the kernel's requests do not keep. Where an append goes the
 * kernel has said: the same handle also writes back what a shared mapping changed, in its place. */
static int backing_flags(int flags)
{
        return flags & ~(O_APPEND | O_DIRECT | O_NOFOLLOW | O_CREAT | O_EXCL | O_NOCTTY);
}

static bool writes(int flags)
{
        return (flags & O_ACCMODE) != O_RDONLY;
}

static int make_handle(struct mount *m, struct inode *i, int fd, struct fuse_file_info *fi)
{
        struct handle *h = malloc(sizeof *h);
        if (!h) {
                (void)close(fd); /* nothing was written */
                return ENOMEM;
        }
        *h = (struct handle){.fd = fd, .writes = writes(fi->flags)};
        if (h->writes) {
                atomic_fetch_add(&i->writers, 1);
                atomic_fetch_add(&m->writers, 1);
        }
        handles_enter(&m->handles, &h->link, handle_free);
        fi->fh = (uintptr_t)h;
        fi->keep_cache = 1;
        fi->noflush = !h->writes || !m->tells_at_close;
        return 0;
}

static void end_handle(struct mount *m, struct inode *i, struct fuse_file_info *fi)
{
        struct handle *h = handle_of(fi);
        bool wrote = h->writes;
        handle_free(&h->link);
        if (wrote) {
                atomic_fetch_sub(&i->writers, 1);
                atomic_fetch_sub(&m->writers, 1);
        }
}

/* Who cuts a file takes its set-id bits away, unless root does: so it is cut as the caller. What is
 * looked at through a link may be anywhere, and not every filesystem judges by the mode: so it is
 * opened as the caller too. */
static int open_backing(fuse_req_t req, struct inode *i, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        char proc[PROC_PATH];
        passthrough_proc(i->fd, proc);
        struct creds c = fi->flags & O_TRUNC || i->view ? creds_take(req) : (struct creds){0};
        int fd = inode_open(m, AT_FDCWD, proc, backing_flags(fi->flags), 0);
        int q = fd < 0 ? errno : 0;
        creds_back(&c);
        return q ? q : make_handle(m, i, fd, fi);
}

void pt_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        bool change = writes(fi->flags) || fi->flags & O_TRUNC;
        int q = change ? passthrough_enter(m, i) : 0;
        if (q) {
                fuse_reply_err(req, q);
                return;
        }
        /* Names are opened, and behind one that the kernel remembers there may be another file. */
        q = change && !passthrough_current(m, i) ? ESTALE : open_backing(req, i, fi);
        if (change)
                staging_leave(m->staging);
        if (q)
                fuse_reply_err(req, q);
        else if (fuse_reply_open(req, fi) == -ENOENT)
                end_handle(m, i, fi); /* the caller was interrupted: nobody will release it */
}

static bool is_unnamed(int flags)
{
        return (flags & O_TMPFILE) == O_TMPFILE;
}

/* Makes what is asked for as the caller. */
static int open_new(fuse_req_t req, const struct inode *dir, const char *name, mode_t mode,
        int flags, int *ret_fd)
{
        bool unnamed = is_unnamed(flags);
        mode = passthrough_mode(req, dir, mode);
        struct creds c = creds_take(req);
        int fd = inode_open(mount_of(req), dir->fd, unnamed ? "." : name,
                backing_flags(flags) | (flags & O_EXCL) | (unnamed ? 0 : O_CREAT | O_NOFOLLOW),
                mode);
        int q = fd < 0 ? errno : 0;
        creds_back(&c);
        *ret_fd = fd;
        return q;
}

static int create(fuse_req_t req, struct mount *m, struct inode *dir, const char *name, mode_t mode,
        struct fuse_file_info *fi, struct fuse_entry_param *e)
{
        int fd;
        int q = open_new(req, dir, name, mode, fi->flags, &fd);
        if (q)
                return q;
        q = is_unnamed(fi->flags) ? passthrough_unnamed(m, dir, fd, e)
                                  : passthrough_lookup(m, dir, name, e);
        if (q) {
                (void)close(fd); /* nothing was written */
                return q;
        }
        q = make_handle(m, (struct inode *)e->ino, fd, fi);
        if (q)
                inode_forget(m, (struct inode *)e->ino, 1);
        return q;
}

void pt_create(
        fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct inode *dir = passthrough_inode(m, parent);
        struct fuse_entry_param e;
        int q = passthrough_enter(m, dir);
        if (!q) {
                q = create(req, m, dir, name, mode, fi, &e);
                staging_leave(m->staging);
        }
        if (q)
                fuse_reply_err(req, q);
        else if (fuse_reply_create(req, &e, fi) == -ENOENT) {
                end_handle(m, (struct inode *)e.ino, fi);
                inode_forget(m, (struct inode *)e.ino, 1);
        }
}

void pt_read(
        fuse_req_t req, fuse_ino_t ino _unused_, size_t size, off_t off, struct fuse_file_info *fi)
{
        struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
        buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        buf.buf[0].fd = passthrough_fd(fi);
        buf.buf[0].pos = off;
        fuse_reply_data(req, &buf, 0);
}

void pt_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
        struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct inode *i = passthrough_inode(m, ino);
        struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));
        out.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
        out.buf[0].fd = passthrough_fd(fi);
        out.buf[0].pos = off;
        if (!passthrough_begin(req, i))
                return;
        ssize_t n = fuse_buf_copy(&out, in, 0);
        staging_leave(m->staging);
        if (n < 0)
                fuse_reply_err(req, (int)-n);
        else
                fuse_reply_write(req, (size_t)n);
}

/* Where the filesystem tells at close that a write failed (see root.c), and on kernels before 5.16,
 * which ask always. */
void pt_flush(fuse_req_t req, fuse_ino_t ino _unused_, struct fuse_file_info *fi)
{
        int fd = dup(passthrough_fd(fi));
        fuse_reply_err(req, fd < 0 || close(fd) < 0 ? errno : 0);
}

void pt_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        end_handle(m, passthrough_inode(m, ino), fi);
        fuse_reply_err(req, 0);
}

void pt_fsync(fuse_req_t req, fuse_ino_t ino _unused_, int datasync, struct fuse_file_info *fi)
{
        int fd = passthrough_fd(fi);
        fuse_reply_err(req, (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? errno : 0);
}

void pt_fallocate(
        fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        int q = passthrough_enter(m, passthrough_inode(m, ino));
        if (!q) {
                q = fallocate(passthrough_fd(fi), mode, off, len) < 0 ? errno : 0;
                staging_leave(m->staging);
        }
        fuse_reply_err(req, q);
}

/* KIO gives up on any other error than these; they make it copy by hand. */
static int copy_error(int q)
{
        return q == ENOSPC || q == EDQUOT || q == EFBIG || q == EIO || q == ESTALE || q == EROFS ||
                               q == EINVAL
                       ? q
                       : EXDEV;
}

void pt_copy_file_range(fuse_req_t req, fuse_ino_t ino_in _unused_, off_t off_in,
        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
        struct fuse_file_info *fi_out, size_t len, int flags)
{
        struct mount *m = mount_of(req);
        if (!passthrough_begin(req, passthrough_inode(m, ino_out)))
                return;
        ssize_t n = copy_file_range(passthrough_fd(fi_in), &off_in, passthrough_fd(fi_out),
                &off_out, len, (unsigned)flags);
        int q = n < 0 ? copy_error(errno) : 0;
        staging_leave(m->staging);
        if (q)
                fuse_reply_err(req, q);
        else
                fuse_reply_write(req, (size_t)n);
}

void pt_lseek(
        fuse_req_t req, fuse_ino_t ino _unused_, off_t off, int whence, struct fuse_file_info *fi)
{
        off_t r = lseek(passthrough_fd(fi), off, whence);
        if (r < 0)
                fuse_reply_err(req, errno);
        else
                fuse_reply_lseek(req, r);
}
