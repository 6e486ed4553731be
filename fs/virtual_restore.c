#include "virtual_internal.h"

#include "engine.h"

#include <fcntl.h>

/* Opening a file below files/ waits until all of its content is here and checked. No thread of the
 * session waits with it: the answer is given by whoever fetched the content. */
struct opening {
        fuse_req_t req;
        struct fuse_file_info fi;
        struct engine *engine;
};

static void reply(fuse_req_t req, struct fuse_file_info *fi, int fd)
{
        struct vfile *f = vfile_of_fd(mount_of(req), fd);
        if (!f) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        fi->fh = (uintptr_t)f;
        fi->keep_cache = 1; /* content never changes under its number */
        if (fuse_reply_open(req, fi) == -ENOENT)
                vfile_free(f);
}

static void opened(void *ctx, int fd, int code, const char *why)
{
        struct opening *o = ctx;
        fuse_req_interrupt_func(o->req, NULL, NULL); /* waits for one that runs now */
        if (code < 0) {
                if (code != -EREMOTE && code != -ECANCELED)
                        engine_note_refusal(o->engine, why);
                fuse_reply_err(o->req, code == -ECANCELED ? EINTR : -code);
        } else {
                reply(o->req, &o->fi, fd);
        }
        free(o);
}

static void interrupted(fuse_req_t req, void *ctx)
{
        struct opening *o = ctx;
        if (!engine_content_cancel(o->engine, o))
                return; /* the answer is on its way */
        free(o);
        fuse_reply_err(req, EINTR);
}

/* 1: the answer comes later. */
static int begin(struct mount *m, const struct vnode *v, struct opening *o, int *ret_fd)
{
        struct err e = {0};
        struct catalog *c = vtree_catalog(m->vtree, &e);
        if (!c)
                return -EIO;
        int q = engine_content_open(
                m->engine, c, v->base ? v->base : v->id, v->member, opened, o, ret_fd, &e);
        vtree_give(m->vtree, &c);
        return q;
}

void member_open(fuse_req_t req, const struct vnode *v, struct fuse_file_info *fi)
{
        struct mount *m = mount_of(req);
        struct opening *o = calloc(1, sizeof *o);
        if (!o) {
                fuse_reply_err(req, ENOMEM);
                return;
        }
        *o = (struct opening){.req = req, .fi = *fi, .engine = m->engine};
        fuse_req_interrupt_func(req, interrupted, o);
        int fd = -EBADF;
        int q = begin(m, v, o, &fd);
        if (q == 1)
                return;
        fuse_req_interrupt_func(req, NULL, NULL);
        free(o);
        if (q < 0)
                fuse_reply_err(req, -q);
        else
                reply(req, fi, fd);
}

/* ---- .restore ---- */

/* Every write is a request of its own: its error is the last that a shell still sees. */
int restore_write(
        struct mount *m, const struct vnode *v, const char *data, size_t size, struct err *e)
{
        int q = engine_restore_write(m->engine, v->id, data, size, e);
        if (q == 0) {
                engine_note_refusal(m->engine, "");
                return 0;
        }
        engine_note_refusal(m->engine, e->text);
        struct catalog *c = vtree_catalog(m->vtree, NULL);
        if (c) {
                char text[ERR_TEXT_MAX + 32];
                (void)snprintf(text, sizeof text, "restore refused: %s", e->text); /* fits */
                (void)catalog_event(c, v->id, 'i', text, NULL); /* .status tells it too */
                vtree_give(m->vtree, &c);
        }
        return q;
}
