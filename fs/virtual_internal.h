/* virtual_internal.h - shared by the virtual_*.c files and nobody else. */
#pragma once

#include "virtual.h"

#include "buf.h"
#include "catalog.h"
#include "catalog_version.h"
#include "control.h"

enum vkind {
        V_COMMIT = 2,
        V_STATUS,
        V_ARCHIVES,
        V_JOBS,
        V_STATUS_TXT,
        V_ARCHIVE,
        V_DESCRIPTION,
        V_STATE,
        V_INFO,
        V_SUMS,
        V_LOG,
        V_RETRY,
        V_ABORT,
        V_RESTORE,
        V_FILES,
        V_JOB,
        V_JOB_DESCRIPTION,
        V_JOB_FILES,
        V_JOB_LAST,
        V_JOB_COMMIT,
        V_GONE,
        V_MEMBER,
};

struct vnode {
        struct node node;
        enum vkind kind;
        int64_t archive; /* row, or 0; of a job a number made of its name */
        int64_t member;  /* row, or 0 */
        char *id;        /* of the archive, or NULL */
        char *name;      /* of the archive or job, or NULL */
        char *base; /* V_MEMBER: the archive that holds it, where that is another one; or NULL */
        struct stat st; /* V_MEMBER: does not change */
        char *link;     /* V_MEMBER: target of a symlink */
        struct vnode *next;
};

#define VNODE_BUCKETS 4096u
#define VTREE_POOL    8u

struct vtree {
        struct mount *m;
        pthread_mutex_t lock;
        struct vnode *buckets[VNODE_BUCKETS];
        struct catalog *pool[VTREE_POOL]; /* connections that nobody uses now */
        size_t n_pool;
        int64_t announced;    /* the newest archive of which windows were told */
        int64_t hidden_until; /* `.commit`; monotonic ns */
        char *read[4];        /* what `.commit` has shown lately, the newest first */
        int64_t changed;      /* when an archive last changed; ns since 1970 */
        int64_t frozen;       /* when what was staged last became an archive, or the mount began */
        struct {
                uint64_t hash;
                int64_t since;
        } shown[V_STATUS_TXT +
                1]; /* what the changing files held when last asked, and since when */
};

/* virtual_node.c */
struct vnode *vnode_of(fuse_ino_t ino);
struct vnode *vnode_get(struct vtree *t, enum vkind kind, const struct catalog_archive *a,
        const struct catalog_member *m);
/* A member that the archive left in an older one, `base`, since it had not changed. */
struct vnode *vnode_get_elsewhere(struct vtree *t, const struct catalog_archive *a,
        const char *base, const struct catalog_member *m);
uint64_t vnode_number_elsewhere(int64_t archive, int64_t member);
struct vnode *vnode_get_job(struct vtree *t, enum vkind kind, const char *name);
void vnode_forget(struct vtree *t, struct vnode *v, uint64_t n);
uint64_t vnode_number(enum vkind kind, int64_t archive, int64_t member);
struct catalog *vtree_catalog(struct vtree *t, struct err *e); /* borrowed: give it back */
void vtree_give(struct vtree *t, struct catalog **c);
/* Remembers what `.commit` has shown to somebody who read it. */
void vtree_note_read(struct vtree *t, const char *text);
/* A new protocol that knows those texts. */
struct control *vtree_control(struct vtree *t, const struct control_actions *actions);
/* Since when the file of that kind has had this text, as far as was looked: editors take a new time
 * for a change made by somebody else. */
int64_t vtree_since(struct vtree *t, enum vkind kind, const struct buf *text);

/* virtual_content.c */
mode_t vkind_mode(enum vkind kind);
/* The text of a file. 0 or -errno. */
int content_render(struct mount *m, const struct vnode *v, struct buf *ret, struct err *e);
int content_attr(struct mount *m, const struct vnode *v, struct stat *ret, struct err *e);
void content_member_stat(const struct catalog_member *m, struct stat *ret);
/* SHA512SUMS as an unlinked file. */
int content_sums(struct mount *m, const struct vnode *v, int *ret_fd, struct err *e);

/* virtual_commit.c */
struct control *commit_control(struct mount *m, void **ret_state);
void commit_state_free(void *state);

/* virtual_dir.c */
void vt_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vt_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void vt_readdirplus(
        fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void vt_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* True: `files/` shows the frozen tree, whose top is opened; the caller closes it. */
bool files_frozen(struct mount *m, const struct vnode *v, int *ret_fd, char **ret_mountpoint);
const char *archive_entry(size_t k, enum vkind *ret);

/* virtual_file.c */
void vt_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vt_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void vt_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
        struct fuse_file_info *fi);
void vt_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vt_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void vt_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
struct vfile;
void vfile_free(struct vfile *f);
/* Takes the descriptor in every case. NULL when out of memory. */
struct vfile *vfile_of_fd(struct mount *m, int fd);
int vfile_open(struct mount *m, struct vnode *v, struct fuse_file_info *fi);

/* virtual_job.c: jobs/ */
uint64_t job_number(const char *name);
/* Whether there is such a job, as a file in the folder of jobs. */
bool job_exists(struct mount *m, const char *name);
int jobs_list(struct mount *m, int (*each)(void *ctx, const char *name, struct err *e), void *ctx);
const char *job_entry(size_t k, enum vkind *ret);
int job_render(struct mount *m, const struct vnode *v, struct buf *b, struct err *e);
/* Runs it, in the background. */
int job_commit(struct mount *m, const struct vnode *v, const char *text, size_t len, struct err *e);

/* virtual_state.c: files/ of an archive of only what changed */
bool state_spans(struct catalog *c, const struct vnode *v);
int state_lookup(struct catalog *c, const struct vnode *v, const char *name,
        catalog_unchanged_fn found, void *ctx);
int state_list(struct catalog *c, const struct vnode *v, catalog_unchanged_fn each, void *ctx);

/* virtual_restore.c */
/* Opens a file below files/ for reading; answers the request now or when its content is here. */
void member_open(fuse_req_t req, const struct vnode *v, struct fuse_file_info *fi);
/* What is written into `.restore`: 0 or -errno, words in e. */
int restore_write(
        struct mount *m, const struct vnode *v, const char *data, size_t size, struct err *e);
