/* passthrough_internal.h - shared by the passthrough*.c files and nobody else. */
#pragma once

#include "passthrough.h"

/* The name of what a descriptor of ours stands for, for calls that take no O_PATH descriptor. */
#define PROC_PATH 40
void passthrough_proc(int fd, char out[PROC_PATH]);

/* Begins a request that changes something: on success the freeze lock is held shared. 0 or an errno
 * value, as passthrough_may_change(). */
int passthrough_enter(struct mount *m, const struct inode *i);
/* The same; false: it has been answered. */
bool passthrough_begin(fuse_req_t req, const struct inode *i);
/* Ends it, and answers with 0 or an errno value. */
void passthrough_leave(struct mount *m, fuse_req_t req, int q);
void passthrough_reply_attr(fuse_req_t req, const struct inode *i);
/* The backing descriptor of an open file. */
int passthrough_fd(const struct fuse_file_info *fi);

/* passthrough_attr.c */
void pt_setattr(
        fuse_req_t req, fuse_ino_t ino, struct stat *a, int to_set, struct fuse_file_info *fi);

/* passthrough_xattr.c */
/* What the caller's umask leaves of a new entry's mode. A folder's default ACL decides instead. */
mode_t passthrough_mode(fuse_req_t req, const struct inode *dir, mode_t mode);
void pt_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void pt_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void pt_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
        int flags);
void pt_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

/* passthrough_name.c */
void pt_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void pt_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void pt_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name);
void pt_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
void pt_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void pt_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void pt_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
        const char *new_name, unsigned flags);

/* passthrough_io.c */
void pt_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pt_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
        struct fuse_file_info *fi);
void pt_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void pt_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
        struct fuse_file_info *fi);
void pt_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pt_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pt_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void pt_fallocate(
        fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void pt_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
        struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
        struct fuse_file_info *fi_out, size_t len, int flags);
void pt_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

/* passthrough_dir.c */
void pt_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pt_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void pt_readdirplus(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void pt_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void pt_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
