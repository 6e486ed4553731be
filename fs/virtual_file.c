#include "virtual_internal.h"

#include "engine.h"

#include <fcntl.h>

struct vfile {
        struct handle_link link;
        struct buf text;
        int fd;                  /* SHA512SUMS; else -EBADF */
        struct control *control; /* `.commit` open for writing */
        void *state;             /* of `control` */
        bool asked;              /* .retry or .abort: done once a handle */
        pthread_mutex_t lock;
};

static struct vfile *file_of(const struct fuse_file_info *fi)
{
        return (struct vfile *)(uintptr_t)fi->fh;
}

static bool is_control(enum vkind k)
{
        return k == V_COMMIT || k == V_RETRY || k == V_ABORT || k == V_RESTORE || k == V_JOB_COMMIT;
}

void vfile_free(struct vfile *f)
{
        if (!f)
                return;
        handles_leave(&f->link);
        control_free(f->control);
        commit_state_free(f->state);
        buf_done(&f->text);
        base_closep(&f->fd);
        pthread_mutex_destroy(&f->lock);
        free(f);
}

static void link_free(struct handle_link *l)
{
        vfile_free((struct vfile *)l);
}

struct vfile *vfile_of_fd(struct mount *m, int fd)
{
        struct vfile *f = calloc(1, sizeof *f);
        if (!f) {
                base_closep(&fd);
                return NULL;
        }
        f->fd = fd;
        pthread_mutex_init(&f->lock, NULL);
        handles_enter(&m->handles, &f->link, link_free);
        return f;
}

static int fill(struct mount *m, struct vnode *v, struct vfile *f, int flags)
{
        bool writing = (flags & O_ACCMODE) != O_RDONLY;
        if (v->kind == V_COMMIT && writing && !(f->control = commit_control(m, &f->state)))
                return -ENOMEM;
        if ((flags & O_ACCMODE) == O_WRONLY)
                return 0;
        if (v->kind == V_SUMS)
                return content_sums(m, v, &f->fd, NULL);
        if (v->kind != V_COMMIT)
                return content_render(m, v, &f->text, NULL);
        int q = engine_commit_help(m->engine, true, &f->text, NULL);
        if (q == 0)
                vtree_note_read(m->vtree, buf_str(&f->text));
        return q;
}

int vfile_open(struct mount *m, struct vnode *v, struct fuse_file_info *fi)
{
        bool writing = (fi->flags & O_ACCMODE) != O_RDONLY;
        if (writing && !is_control(v->kind))
                return EROFS;
        struct vfile *f = vfile_of_fd(m, -EBADF);
        if (!f)
                return ENOMEM;
        int q = fill(m, v, f, fi->flags);
        if (q < 0) {
                vfile_free(f);
                return -q;
        }
        fi->fh = (uintptr_t)f;
        fi->direct_io = 1;
        fi->nonseekable = 0;
        return 0;
}

void vt_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
        if (vnode_of(ino)->kind == V_MEMBER && (fi->flags & O_ACCMODE) == O_RDONLY) {
                member_open(req, vnode_of(ino), fi);
                return;
        }
        int q = vfile_open(mount_of(req), vnode_of(ino), fi);
        if (q)
                fuse_reply_err(req, q);
        else if (fuse_reply_open(req, fi) == -ENOENT)
                vfile_free(file_of(fi));
}

void vt_read(
        fuse_req_t req, fuse_ino_t ino _unused_, size_t size, off_t off, struct fuse_file_info *fi)
{
        struct vfile *f = file_of(fi);
        if (f->fd >= 0) {
                struct fuse_bufvec b = FUSE_BUFVEC_INIT(size);
                b.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
                b.buf[0].fd = f->fd;
                b.buf[0].pos = off;
                fuse_reply_data(req, &b, 0);
                return;
        }
        size_t at = MIN((size_t)off, f->text.len);
        /* The reader has its answer, and may close, before this call comes back. */
        pthread_mutex_lock(&f->lock);
        fuse_reply_buf(req, buf_str(&f->text) + at, MIN(size, f->text.len - at));
        pthread_mutex_unlock(&f->lock);
}

static bool blank(const char *data, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if (data[i] != ' ' && data[i] != '\n' && data[i] != '\t' && data[i] != '\r')
                        return false;
        return true;
}

static int ask(
        struct mount *m, const struct vnode *v, struct vfile *f, const char *data, size_t size)
{
        struct err e = {0};
        if (f->asked || blank(data, size))
                return 0;
        f->asked = true;
        int q = v->kind == V_JOB_COMMIT ? job_commit(m, v, data, size, &e)
                : v->kind == V_RETRY    ? engine_retry(m->engine, v->id, &e)
                                        : engine_abort(m->engine, v->id, &e);
        if (q < 0)
                engine_note_refusal(m->engine, e.text);
        return q;
}

void vt_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off _unused_,
        struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct vnode *v = vnode_of(ino);
        struct vfile *f = file_of(fi);
        struct err e = {0};
        pthread_mutex_lock(&f->lock);
        int q = f->control             ? control_write(f->control, data, size, &e)
                : v->kind == V_RESTORE ? restore_write(m, v, data, size, &e)
                                       : ask(m, v, f, data, size);
        pthread_mutex_unlock(&f->lock);
        if (q < 0 && f->control && *e.text)
                engine_note_refusal(m->engine, e.text);
        if (q < 0)
                fuse_reply_err(req, -q);
        else
                fuse_reply_write(req, size);
}

/* Shells flush when they duplicate descriptors: it is neither the first nor the last that happens.
 */
void vt_flush(fuse_req_t req, fuse_ino_t ino _unused_, struct fuse_file_info *fi _unused_)
{
        fuse_reply_err(req, 0);
}

void vt_release(fuse_req_t req, fuse_ino_t ino _unused_, struct fuse_file_info *fi)
{
        struct vfile *f = file_of(fi);
        struct err e = {0};
        if (f->control && control_release(f->control, &e) < 0)
                engine_note_refusal(mount_of(req)->engine, e.text);
        pthread_mutex_lock(&f->lock); /* an answer is still being given */
        pthread_mutex_unlock(&f->lock);
        vfile_free(f);
        fuse_reply_err(req, 0);
}

void vt_fsync(fuse_req_t req, fuse_ino_t ino _unused_, int datasync _unused_,
        struct fuse_file_info *fi _unused_)
{
        fuse_reply_err(req, 0);
}
