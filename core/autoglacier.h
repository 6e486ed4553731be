/* autoglacier.h - libautoglacier: archives from a program of one's own.
 *
 * The one-call form, as it has always been:
 *
 *     const char *files[] = {"/home/me/login.sh", NULL};
 *     const char *globs[] = {"/home/me/scripts/?*.sh", NULL};
 *     struct agl_error error;
 *     if (agl_auto_glacier(files, globs, "shell scripts archive", &error) < 0)
 *             fprintf(stderr, "%s\n", error.text);
 *
 * Every function may be called by any thread at any time, also several backups at once, also while
 * other programs work with the same set-up. Nothing is printed, no signal handler is set, the
 * process is never ended. Callbacks come in the calling thread. Functions that can fail return 0 or
 * a negative errno value and put a sentence into `error` (NULL allowed). Strings that a function
 * gives away are freed with agl_free(). A pointer is NULL only where that is said, and what comes
 * back through one (ret, ret_archive) is untouched on failure. A child that was forked while calls
 * were going on holds their locks until it execs or ends, and must not call anything here. The
 * set-up is the one of the program: CONFIG.json, its data
 * folder, AUTOGLACIER_HOME and the XDG variables count. libautoglacier(3) tells more.
 *
 * Structs that a caller fills begin with their size, so that programs built today go on working:
 * set it with sizeof, and everything else that is not needed to zero. */
#ifndef AUTOGLACIER_H
#define AUTOGLACIER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct agl_error {
        int code;        /* 0 or a negative errno value */
        char text[1024]; /* what failed, on which object, why, and often what to do */
};

/* "0.1.0" */
const char *agl_version(void);
void agl_free(void *p);

/* ---- the one call ---- */

/* Archives the files, and what the globs find (as Python's glob module does it, ** too), under the
 * configuration at the default place. Both lists end with NULL, and NULL stands for none. Blocks
 * until it is stored. 0 stored, 1 stored with warnings or without some of it: a file that is not
 * there does not keep the others from being stored. Errors as in agl_backup(). */
int agl_auto_glacier(const char *const *files, const char *const *globs, const char *description,
        struct agl_error *error);

/* ---- a set-up ---- */

struct agl;
/* `config_file` NULL: the default place. -EINVAL names file, line and key of a mistake. */
int agl_open(const char *config_file, struct agl **ret, struct agl_error *error);
void agl_close(struct agl *a); /* no call may be going on; NULL allowed */

/* ---- a job ---- */

/* The paths that a job has picked, for its gather hook. */
struct agl_list;
size_t agl_list_count(const struct agl_list *l);
/* Borrowed until the list changes; NULL behind the end. */
const char *agl_list_get(const struct agl_list *l, size_t i);
/* Copies the path; relative ones begin at the working directory. 0, -ENOMEM, or -EINVAL where it is
 * empty. */
int agl_list_add(struct agl_list *l, const char *path);
/* The paths behind it move up. */
void agl_list_remove(struct agl_list *l, size_t i);

struct agl_progress {
        const char *archive; /* its name, or NULL while it has none */
        const char *state;   /* "gathering", "uploading", … */
        uint64_t files;      /* so far */
        uint64_t read_bytes, stored_bytes;
};

#define AGL_CHANGED  1u /* only what changed since it was stored, by size, time and inode */
#define AGL_CHECKSUM 2u /* with AGL_CHANGED: by content */

struct agl_job {
        size_t size;
        const char *description;
        const char *const *files, *const *globs; /* end with NULL; NULL: none */
        const char *config; /* JSON dictionary laid over the configuration; NULL: none. Relative
                               paths in it begin at the working directory */
        unsigned flags;
        /* May change the list before anything is read. Not 0: the job fails, nothing is archived.
         */
        int (*gather_hook)(void *ctx, struct agl_list *list);
        void (*progress)(void *ctx, const struct agl_progress *p); /* a few times a second */
        int (*cancel)(void *ctx); /* asked a few times a second; not 0: it is undone, -ECANCELED */
        void (*message)(void *ctx, const char *text); /* what a program may want to tell */
        void *ctx;
        unsigned patience; /* seconds that a store is waited for that is away in the middle of it,
                              then -EAGAIN; 0: without end */
};
/* Ends when the store has confirmed every byte. 0 stored; 1 with warnings or without some of it:
 * each is told to `message` at the end; -EINVAL the job, the configuration or the hook is wrong;
 * -ENODATA no file was picked; -EAGAIN it waits for something (a disk; a store that is away for
 * longer than `patience`): kept, a mount or the next command goes on with it. ret_archive (NULL
 * allowed): its name, also with -EAGAIN. */
int agl_backup(
        struct agl *a, const struct agl_job *job, char **ret_archive, struct agl_error *error);
/* A saved job, by name or file: autoglacier-job(5). Only progress, cancel, message and ctx of
 * `with` (NULL allowed) count, its patience, and its description if there is one. */
int agl_run(struct agl *a, const char *job, const struct agl_job *with, char **ret_archive,
        struct agl_error *error);

/* ---- looking ---- */

struct agl_archive {
        const char *id, *name, *description, *state;
        int64_t created, stored; /* nanoseconds since 1970 UTC; 0: not yet */
        uint64_t files, bytes, stored_bytes, warnings;
};
/* Oldest first; none at all is 0. Not 0 from `each` ends it and is returned. Strings are borrowed
 * for the call. */
int agl_archives(struct agl *a, int (*each)(void *ctx, const struct agl_archive *archive),
        void *ctx, struct agl_error *error);

struct agl_file {
        const char *path; /* without a first '/' */
        char type;        /* 'f' file, 'd' folder, 'l' symbolic link, 'h' hard link to `link` */
        uint32_t mode, uid, gid;
        uint64_t size;
        int64_t mtime;               /* nanoseconds since 1970 UTC */
        const unsigned char *sha512; /* 64 bytes; NULL where there is no content */
        const char *link;
        const char *archive; /* the id of the archive that holds it: of what had not changed, an
                                older one */
};
/* What is in an archive: its name, id, "latest", or an unambiguous beginning. A folder before what
 * is in it, by name; then, of an archive of only what changed, what had not. -ENOENT there is no
 * such archive; -ENOTUNIQ several begin like that. `each` as in agl_archives(). */
int agl_files(struct agl *a, const char *archive,
        int (*each)(void *ctx, const struct agl_file *file), void *ctx, struct agl_error *error);

/* ---- restoring ---- */

struct agl_restore {
        size_t size;
        const char *archive;      /* as in agl_files() */
        const char *const *paths; /* end with NULL; NULL: everything */
        const char *to;           /* folder, made if missing */
        int overwrite;
        const char
                *passphrase; /* of the private key; NULL: it has none, or is unlocked elsewhere */
        void (*progress)(void *ctx, uint64_t bytes, uint64_t of_bytes);
        int (*cancel)(void *ctx); /* asked about once a second; not 0: the call ends with
                                     -ECANCELED, and nobody goes on; files that are there stay */
        void (*message)(void *ctx, const char *text);
        void *ctx;
        /* Of a store that must thaw first, or where reading may cost (every one but a folder): */
        int ask;          /* not 0: it is asked, once, as `autoglacier restore` does it */
        int wait;         /* not 0: until it is there, which may take days */
        const char *tier; /* "bulk", "standard", "expedited"; NULL: RESTORE_TIER */
        double max_usd;   /* what it may cost; 0: COST_LIMIT */
};
/* Of an archive of only what changed: what that archive itself holds. 0; 1 with warnings; -ENOENT,
 * -ENOTUNIQ as in agl_files(), or a path is not in it, and then nothing was written; -EEXIST a file
 * is in the way, and `overwrite` is 0; -ECANCELED; -EREMOTE a cold store must thaw it first, and
 * `ask` is 0; -EINPROGRESS it was asked for, here or before, `wait` is 0, and the same call later
 * goes on with it; -EDQUOT it costs more than it may; -ENOSPC the folder has no room for it;
 * -ENOKEY no private key, or locked; -EBADMSG damage. A file gets its name when its SHA-512 has
 * been found right. */
int agl_restore(struct agl *a, const struct agl_restore *r, struct agl_error *error);

#ifdef __cplusplus
}
#endif
#endif
