#include "virtual_internal.h"

#include "clock.h"
#include "engine.h"
#include "io.h"
#include "report.h"

#include <fcntl.h>

static const struct {
        mode_t mode;
} kinds[] = {
        [V_COMMIT] = {S_IFREG | 0600},
        [V_STATUS] = {S_IFREG | 0400},
        [V_ARCHIVES] = {S_IFDIR | 0555},
        [V_JOBS] = {S_IFDIR | 0555},
        [V_STATUS_TXT] = {S_IFREG | 0444},
        [V_ARCHIVE] = {S_IFDIR | 0555},
        [V_DESCRIPTION] = {S_IFREG | 0444},
        [V_STATE] = {S_IFREG | 0444},
        [V_INFO] = {S_IFREG | 0444},
        [V_SUMS] = {S_IFREG | 0444},
        [V_LOG] = {S_IFREG | 0444},
        [V_RETRY] = {S_IFREG | 0600},
        [V_ABORT] = {S_IFREG | 0600},
        [V_RESTORE] = {S_IFREG | 0600},
        [V_FILES] = {S_IFDIR | 0555},
        [V_JOB] = {S_IFDIR | 0555},
        [V_JOB_DESCRIPTION] = {S_IFREG | 0444},
        [V_JOB_FILES] = {S_IFREG | 0444},
        [V_JOB_LAST] = {S_IFREG | 0444},
        [V_JOB_COMMIT] = {S_IFREG | 0600},
        [V_GONE] = {S_IFREG},
};

mode_t vkind_mode(enum vkind kind)
{
        return kinds[kind].mode;
}

static void set_time(struct stat *st, int64_t t)
{
        st->st_mtim = st->st_ctim = st->st_atim = clock_timespec(t);
}

static mode_t member_type(char type)
{
        return type == 'l' ? S_IFLNK : type == 'd' || type == 'i' ? S_IFDIR : S_IFREG;
}

void content_member_stat(const struct catalog_member *m, struct stat *ret)
{
        *ret = (struct stat){
                .st_ino = vnode_number(V_MEMBER, 0, m->row),
                .st_mode = member_type(m->type) | (m->type == 'i' ? 0555 : m->mode),
                .st_nlink = m->type == 'd' || m->type == 'i' ? 2 : 1,
                .st_uid = m->type == 'i' ? geteuid() : m->uid,
                .st_gid = m->type == 'i' ? getegid() : m->gid,
                .st_size = m->type == 'l' && m->link ? (off_t)strlen(m->link) : (off_t)m->size,
                .st_blocks = (blkcnt_t)((m->size + 511) / 512),
                .st_blksize = 4096,
        };
        set_time(ret, m->mtime);
}

/* ---- texts ---- */

static int render_row(struct mount *m, const struct vnode *v, struct catalog *c,
        const struct catalog_archive *a, struct buf *b, struct err *e)
{
        switch (v->kind) {
        case V_DESCRIPTION:
                buf_adds(b, a->description);
                return 0;
        case V_STATE:
                buf_addf(b, "%s\n", catalog_archive_word(a));
                return 0;
        case V_INFO:
                return report_info(c, a, b, e);
        case V_LOG:
                return report_log(c, a->id, b, e);
        case V_RESTORE:
                return engine_restore_help(m->engine, c, a->id, b, e);
        case V_RETRY:
                buf_adds(b, "# Write anything into this file, and a commit that failed or waits is "
                            "tried again.\n");
                return 0;
        case V_ABORT:
                buf_adds(b, "# Write anything into this file, and a commit that is not stored goes "
                            "back to the staging area.\n");
                return 0;
        default: /* the kinds that belong to no archive */
                return -EINVAL;
        }
}

int content_render(struct mount *m, const struct vnode *v, struct buf *b, struct err *e)
{
        if (v->kind >= V_JOB && v->kind <= V_JOB_COMMIT)
                return job_render(m, v, b, e);
        if (v->kind == V_GONE)
                return 0;
        if (v->kind == V_COMMIT)
                return engine_commit_help(m->engine, false, b, e);
        struct catalog *c = vtree_catalog(m->vtree, e);
        if (!c)
                return -EIO;
        int q;
        if (v->kind == V_STATUS || v->kind == V_STATUS_TXT) {
                q = report_status(c, engine_config(m->engine), false, b, NULL, e);
                engine_refusal(m->engine, b);
        } else {
                struct catalog_archive a = {0};
                q = catalog_archive_get(c, v->id, &a, e);
                if (q == 0)
                        q = render_row(m, v, c, &a, b, e);
                catalog_archive_done(&a);
        }
        vtree_give(m->vtree, &c);
        return q < 0 ? q : buf_oom(b) ? err_oom(e) : 0;
}

int content_sums(struct mount *m, const struct vnode *v, int *ret_fd, struct err *e)
{
        _cleanup_free_ char *dir = io_join(engine_data(m->engine), "spool");
        if (!dir)
                return err_oom(e);
        _cleanup_close_ int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make a file in %s", dir);
        struct catalog *c = vtree_catalog(m->vtree, e);
        if (!c)
                return -EIO;
        uint64_t size;
        int q = report_sums(c, v->id, fd, &size, e);
        vtree_give(m->vtree, &c);
        if (q == 0)
                *ret_fd = steal_fd(&fd);
        return q;
}

/* ---- attributes ---- */

static int sums_size(struct mount *m, const struct vnode *v, const struct catalog_archive *a,
        off_t *ret, struct err *e)
{
        if (archive_is_stored(a->state)) {
                *ret = (off_t)a->sums_bytes;
                return 0;
        }
        int fd = -EBADF; /* it still grows: the size is that of this moment */
        struct stat st;
        int q = content_sums(m, v, &fd, e);
        if (q == 0 && fstat(fd, &st) == 0)
                *ret = st.st_size;
        base_closep(&fd);
        return q;
}

static int archive_attr(struct mount *m, const struct vnode *v, struct stat *st, struct err *e)
{
        struct catalog *c = vtree_catalog(m->vtree, e);
        if (!c)
                return -EIO;
        struct catalog_archive a = {0};
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = catalog_archive_get(c, v->id, &a, e);
        if (q == 0 && a.state == ARCHIVE_DELETED)
                q = -ENOENT;
        if (q == 0 && !S_ISDIR(st->st_mode))
                q = v->kind == V_SUMS ? sums_size(m, v, &a, &st->st_size, e)
                                      : render_row(m, v, c, &a, &b, e);
        if (q == 0 && v->kind != V_SUMS && !S_ISDIR(st->st_mode))
                st->st_size = (off_t)b.len;
        if (q == 0)
                set_time(st, v->kind == V_DESCRIPTION || S_ISDIR(st->st_mode)
                                     ? a.created
                                     : MAX(a.changed, a.created));
        catalog_archive_done(&a);
        vtree_give(m->vtree, &c);
        return q;
}

/* An editor that sees a new time asks whether to write over somebody else's change: what `.commit`
 * shows changes with everything that is staged, but there is nothing to write over in it. */
static int64_t last_changed(struct mount *m, const struct vnode *v, const struct buf *text)
{
        if (v->kind == V_STATUS || v->kind == V_STATUS_TXT)
                return vtree_since(m->vtree, v->kind, text);
        if (v->kind != V_COMMIT && v->kind != V_JOB_COMMIT && v->kind != V_GONE)
                return clock_now();
        pthread_mutex_lock(&m->vtree->lock);
        int64_t at = m->vtree->frozen;
        pthread_mutex_unlock(&m->vtree->lock);
        return at;
}

int content_attr(struct mount *m, const struct vnode *v, struct stat *ret, struct err *e)
{
        if (v->kind == V_MEMBER) {
                *ret = v->st;
                return 0;
        }
        mode_t mode = kinds[v->kind].mode;
        *ret = (struct stat){
                .st_ino = vnode_number(v->kind, v->archive, 0),
                .st_mode = mode,
                .st_nlink = S_ISDIR(mode) ? 2 : 1,
                .st_uid = geteuid(),
                .st_gid = getegid(),
                .st_blksize = 4096,
        };
        if (v->id && *v->id)
                return archive_attr(m, v, ret, e);
        if (S_ISDIR(mode)) {
                pthread_mutex_lock(&m->vtree->lock);
                set_time(ret, m->vtree->changed);
                pthread_mutex_unlock(&m->vtree->lock);
                return 0;
        }
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = content_render(m, v, &b, e);
        ret->st_size = (off_t)b.len;
        set_time(ret, last_changed(m, v, &b));
        return q;
}
