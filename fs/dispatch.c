#include "dispatch.h"

#include "passthrough.h"
#include "root.h"
#include "virtual.h"

static const struct fuse_lowlevel_ops *ops_of(fuse_ino_t ino)
{
        return ino == FUSE_ROOT_ID ? &root_ops : ((const struct node *)ino)->ops;
}

/* Requests come through a pipe, without being copied, if one with its header fits into the largest
 * pipe that everybody may have: 256 pages. */
static unsigned max_write(void)
{
        return 1 * MiB - (unsigned)sysconf(_SC_PAGESIZE);
}

/* With ACLs it is not the kernel that applies the umask: a folder's default ACL goes before it. */
static void want_acls(struct mount *m, struct fuse_conn_info *conn)
{
        const unsigned both = FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK;
        m->acls = (conn->capable & both) == both && passthrough_keeps_acls(m);
        if (m->acls)
                conn->want |= both;
}

static void init(void *userdata, struct fuse_conn_info *conn)
{
        /* The writeback cache would turn errors of write into errors of close, which shells lose.
         */
        conn->want &=
                ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_HANDLE_KILLPRIV |
                            FUSE_CAP_SPLICE_MOVE | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS |
                            FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK | FUSE_CAP_AUTO_INVAL_DATA);
        conn->want |= conn->capable &
                      (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_READ | FUSE_CAP_ATOMIC_O_TRUNC |
                              FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO);
        conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
        want_acls(userdata, conn);
        conn->max_write = max_write();
        conn->max_readahead = 1 * MiB;
}

static void d_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        ops_of(parent)->lookup(req, parent, name);
}

static void d_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
        ops_of(ino)->forget(req, ino, n);
}

static void d_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->getattr(req, ino, fi);
}

static void d_setattr(
        fuse_req_t req, fuse_ino_t ino, struct stat *a, int to_set, struct fuse_file_info *fi)
{
        ops_of(ino)->setattr(req, ino, a, to_set, fi);
}

static void d_readlink(fuse_req_t req, fuse_ino_t ino)
{
        ops_of(ino)->readlink(req, ino);
}

static void d_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
        ops_of(parent)->mknod(req, parent, name, mode, rdev);
}

static void d_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
        ops_of(parent)->mkdir(req, parent, name, mode);
}

static void d_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        ops_of(parent)->unlink(req, parent, name);
}

static void d_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
        ops_of(parent)->rmdir(req, parent, name);
}

static void d_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
        ops_of(parent)->symlink(req, text, parent, name);
}

static bool is_virtual(fuse_ino_t ino)
{
        return ops_of(ino) == &virtual_ops;
}

static void d_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
        const char *new_name, unsigned flags)
{
        if (is_virtual(parent) || is_virtual(new_parent))
                fuse_reply_err(req, EROFS);
        else if (parent == FUSE_ROOT_ID || new_parent == FUSE_ROOT_ID)
                root_ops.rename(req, parent, name, new_parent, new_name, flags);
        else
                ops_of(parent)->rename(req, parent, name, new_parent, new_name, flags);
}

static void d_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
        if (is_virtual(ino) || is_virtual(new_parent))
                fuse_reply_err(req, EPERM);
        else
                ops_of(new_parent)->link(req, ino, new_parent, new_name);
}

static void d_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->open(req, ino, fi);
}

static void d_create(
        fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
        ops_of(parent)->create(req, parent, name, mode, fi);
}

static void d_read(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        ops_of(ino)->read(req, ino, size, off, fi);
}

/* Files on disk take what the kernel sends as it is; control files want it in memory. */
static void d_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
        struct fuse_file_info *fi)
{
        if (ops_of(ino)->write_buf) {
                ops_of(ino)->write_buf(req, ino, in, off, fi);
                return;
        }
        size_t size = fuse_buf_size(in);
        _cleanup_free_ char *mem = malloc(size + 1);
        if (!mem) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        struct fuse_bufvec out = FUSE_BUFVEC_INIT(size);
        out.buf[0].mem = mem;
        ssize_t n = fuse_buf_copy(&out, in, 0);
        if (n < 0)
                fuse_reply_err(req, (int)-n);
        else
                ops_of(ino)->write(req, ino, mem, (size_t)n, off, fi);
}

static void d_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->flush(req, ino, fi);
}

static void d_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->release(req, ino, fi);
}

static void d_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
        ops_of(ino)->fsync(req, ino, datasync, fi);
}

static void d_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->opendir(req, ino, fi);
}

static void d_readdir(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        ops_of(ino)->readdir(req, ino, size, off, fi);
}

static void d_readdirplus(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
        ops_of(ino)->readdirplus(req, ino, size, off, fi);
}

static void d_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        ops_of(ino)->releasedir(req, ino, fi);
}

static void d_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
        if (ops_of(ino)->fsyncdir)
                ops_of(ino)->fsyncdir(req, ino, datasync, fi);
        else
                fuse_reply_err(req, 0);
}

static void d_statfs(fuse_req_t req, fuse_ino_t ino)
{
        ops_of(ino)->statfs(req, ino);
}

static void d_setxattr(
        fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
        ops_of(ino)->setxattr(req, ino, name, value, size, flags);
}

static void d_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
        ops_of(ino)->getxattr(req, ino, name, size);
}

static void d_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
        ops_of(ino)->listxattr(req, ino, size);
}

static void d_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
        ops_of(ino)->removexattr(req, ino, name);
}

static void d_fallocate(
        fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
        if (ops_of(ino)->fallocate)
                ops_of(ino)->fallocate(req, ino, mode, off, len, fi);
        else
                fuse_reply_err(req, EOPNOTSUPP);
}

static void d_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in,
        struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out,
        size_t len, int flags)
{
        if (is_virtual(in) || is_virtual(out))
                fuse_reply_err(req, EXDEV);
        else
                ops_of(in)->copy_file_range(
                        req, in, off_in, fi_in, out, off_out, fi_out, len, flags);
}

static void d_lseek(
        fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
        if (ops_of(ino)->lseek)
                ops_of(ino)->lseek(req, ino, off, whence, fi);
        else
                fuse_reply_err(req, EINVAL);
}

const struct fuse_lowlevel_ops dispatch_ops = {
        .init = init,
        .lookup = d_lookup,
        .forget = d_forget,
        .getattr = d_getattr,
        .setattr = d_setattr,
        .readlink = d_readlink,
        .mknod = d_mknod,
        .mkdir = d_mkdir,
        .unlink = d_unlink,
        .rmdir = d_rmdir,
        .symlink = d_symlink,
        .rename = d_rename,
        .link = d_link,
        .open = d_open,
        .create = d_create,
        .read = d_read,
        .write_buf = d_write_buf,
        .flush = d_flush,
        .release = d_release,
        .fsync = d_fsync,
        .opendir = d_opendir,
        .readdir = d_readdir,
        .readdirplus = d_readdirplus,
        .releasedir = d_releasedir,
        .fsyncdir = d_fsyncdir,
        .statfs = d_statfs,
        .setxattr = d_setxattr,
        .getxattr = d_getxattr,
        .listxattr = d_listxattr,
        .removexattr = d_removexattr,
        .fallocate = d_fallocate,
        .copy_file_range = d_copy_file_range,
        .lseek = d_lseek,
};
