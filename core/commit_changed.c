#include "commit_internal.h"

#include "bytes.h"
#include "catalog_version.h"
#include "clock.h"
#include "gather.h"
#include "io.h"
#include "spec.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#define RANGES_MAX  256
#define ROOTS_MAX   (64u * KiB) /* kept with each archive; more are not kept */
#define CHUNK       MiB
#define SETTLED_NS  2000000000ll
#define BASE_ID_MAX 65

DEFINE_CLEANUP(EVP_MD_CTX_free, EVP_MD_CTX *)

/* What goes into the catalogue with the next rows. */
struct changed {
        bool checksum;
        struct catalog_versions *versions;
        struct range {
                char base[BASE_ID_MAX];
                uint64_t at, first, last, next;
        } ranges[RANGES_MAX];
        size_t n;
        bool open; /* the last of them may still grow */
};

/* ---- what the archive is made from ---- */

static const char *spec_text(const json_t *spec, const char *key)
{
        return json_string_value(json_object_get(spec, key));
}

/* One list of files, one chain: its hash. A saved job is a chain of its own, whatever it picks. */
static char *chain_of(const char *job, const struct spec_files *f)
{
        uint8_t sum[32];
        char hex[65], *s;
        if (job)
                return asprintf(&s, "job:%s", job) < 0 ? NULL : s;
        SHA256((const unsigned char *)(f->map ? f->map : ""), f->len, sum);
        bytes_hex(sum, sizeof sum, hex);
        return asprintf(&s, "list:%s", hex) < 0 ? NULL : s;
}

static int note_run(struct run *r, const json_t *spec, bool changed_only, struct err *e)
{
        struct spec_files f;
        int q = spec_files_load(r->env->data, r->a.id, &f, e);
        if (q < 0)
                return q;
        const char *job = spec_text(spec, "job");
        _cleanup_free_ char *chain = chain_of(job, &f);
        const struct catalog_run run = {.chain = chain,
                .job = (char *)(job ? job : ""),
                .changed_only = changed_only,
                .roots = f.len <= ROOTS_MAX ? f.map : NULL,
                .roots_len = f.len <= ROOTS_MAX ? f.len : 0};
        pthread_mutex_lock(&r->lock);
        q = chain ? catalog_run_set(r->catalog, r->a.id, &run, e) : err_oom(e);
        pthread_mutex_unlock(&r->lock);
        spec_files_done(&f);
        return q;
}

int changed_begin(struct run *r, struct err *e)
{
        if (r->a.has_tree)
                return 0;
        json_auto_t *spec = json_loads(r->a.spec, 0, NULL);
        const char *how = spec_text(spec, "changed");
        int q = note_run(r, spec, how != NULL, e);
        if (q < 0 || !how)
                return q;
        r->changed = calloc(1, sizeof *r->changed);
        if (!r->changed)
                return err_oom(e);
        r->changed->checksum = streq(how, "checksum");
        pthread_mutex_lock(&r->lock);
        q = catalog_versions_new(r->catalog, &r->a, &r->changed->versions, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

int changed_resume(struct run *r, uint64_t at, struct err *e)
{
        if (!r->changed)
                return 0;
        pthread_mutex_lock(&r->lock);
        int q = catalog_unchanged_cut(r->catalog, r->a.id, at, e);
        pthread_mutex_unlock(&r->lock);
        return q;
}

int changed_end(struct run *r, struct err *e)
{
        struct catalog_run run = {0};
        if (!r->changed)
                return 0;
        pthread_mutex_lock(&r->lock); /* a volume may end right now */
        int q = catalog_unchanged_check(r->catalog, r->a.id, e);
        if (q == 0)
                q = catalog_run_get(r->catalog, r->a.id, &run, e);
        if (q == 0)
                q = catalog_run_set(r->catalog, r->a.id, &run, e); /* counts */
        pthread_mutex_unlock(&r->lock);
        catalog_run_done(&run);
        if (q == -ENODATA) /* what was left out must be stored after all */
                return err_set(e, -ERESTART, "%s", e->text);
        return q;
}

void changed_done(struct run *r)
{
        if (r->changed)
                catalog_versions_free(r->changed->versions);
        free(r->changed);
        r->changed = NULL;
}

/* ---- ranges ---- */

int changed_flush(struct run *r, struct err *e)
{
        struct changed *k = r->changed;
        struct catalog_range v[RANGES_MAX];
        if (!k || k->n == 0)
                return 0;
        for (size_t i = 0; i < k->n; i++)
                v[i] = (struct catalog_range){.at = k->ranges[i].at,
                        .base = k->ranges[i].base,
                        .first = k->ranges[i].first,
                        .last = k->ranges[i].last};
        int q = catalog_unchanged_add(r->catalog, r->a.id, v, k->n, e);
        if (q == 0) {
                k->n = 0;
                k->open = false;
        }
        return q;
}

/* Members that stand side by side in the other archive are one range. */
static int note_unchanged(
        struct run *r, const struct catalog_version *v, uint64_t at, struct err *e)
{
        struct changed *k = r->changed;
        struct range *last = k->open ? &k->ranges[k->n - 1] : NULL;
        if (last && last->next == v->m.tar_offset && streq(last->base, v->base)) {
                last->last = v->m.tar_offset;
                last->next += v->m.tar_len;
                return 0;
        }
        int q = k->n == RANGES_MAX ? changed_flush(r, e) : 0;
        if (q < 0)
                return q;
        struct range *g = &k->ranges[k->n++];
        *g = (struct range){.at = at,
                .first = v->m.tar_offset,
                .last = v->m.tar_offset,
                .next = v->m.tar_offset + v->m.tar_len};
        (void)snprintf(g->base, sizeof g->base, "%s", v->base); /* ids are shorter */
        k->open = true;
        return 0;
}

/* ---- comparing ---- */

static char type_of(mode_t mode)
{
        return S_ISDIR(mode) ? 'd' : S_ISLNK(mode) ? 'l' : 'f';
}

static bool same_kind(const struct catalog_version *v, const struct stat *st)
{
        const struct catalog_member *m = &v->m;
        char type = type_of(st->st_mode);
        return m->ino != 0 && (m->type == type || (m->type == 'h' && type == 'f')) &&
               (m->mode == (st->st_mode & 07777)) && m->uid == st->st_uid && m->gid == st->st_gid &&
               (type == 'd' || m->size == (type == 'f' ? (uint64_t)st->st_size : 0));
}

static bool same_stat(const struct catalog_version *v, const struct stat *st)
{
        return same_kind(v, st) && v->m.ino == (uint64_t)st->st_ino &&
               v->m.mtime == clock_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static int keep_sum(void *ctx, const struct catalog_member *m)
{
        if (!m->sha512)
                return -ENOENT;
        memcpy(ctx, m->sha512, 64);
        return 0;
}

/* The content of a hard link is that of another member. */
static bool sum_of(struct run *r, const struct catalog_version *v, uint8_t ret[64])
{
        if (v->m.type != 'h')
                return keep_sum(ret, &v->m) == 0;
        return catalog_member_by_path(r->catalog, v->base, v->m.link, keep_sum, ret, NULL) == 0;
}

/* SHA-512 of what is in the file now. 1 if it is `sum`. */
static int same_content(struct run *r, int fd, const uint8_t sum[64], struct err *e)
{
        uint8_t now[64];
        uint64_t at = 0;
        _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *sha = EVP_MD_CTX_new();
        if (!sha || !EVP_DigestInit_ex(sha, EVP_sha512(), NULL))
                return err_oom(e);
        for (;;) {
                ssize_t n = io_pread_full(fd, r->chunk, CHUNK, at);
                if (n < 0)
                        return 0; /* what cannot be read is told of when it is to be archived */
                if (!EVP_DigestUpdate(sha, r->chunk, (size_t)n))
                        return err_set(e, -EIO, "SHA-512 failed");
                at += (uint64_t)n;
                int q = run_tick(r, e);
                if (q < 0)
                        return q;
                if (n < (ssize_t)CHUNK)
                        break;
        }
        if (!EVP_DigestFinal_ex(sha, now, NULL))
                return err_set(e, -EIO, "SHA-512 failed");
        return memcmp(now, sum, sizeof now) == 0;
}

/* 1 it is noted as unchanged. `fd` of a file: its content is compared; -EBADF: its looks. */
static int pass(struct run *r, const char *path, const struct stat *st, const char *link, int fd,
        struct err *e)
{
        const struct catalog_version *v = NULL;
        uint8_t sum[64];
        pthread_mutex_lock(&r->lock);
        int q = catalog_versions_find(r->changed->versions, path, &v, e);
        bool same = q > 0 && (fd >= 0 ? same_kind(v, st) && sum_of(r, v, sum) : same_stat(v, st));
        if (same && link)
                same = v->m.link && streq(v->m.link, link);
        pthread_mutex_unlock(&r->lock);
        if (q < 0 || !same)
                return q < 0 ? q : 0;
        if (fd >= 0 && (q = same_content(r, fd, sum, e)) <= 0)
                return q;
        pthread_mutex_lock(&r->lock);
        q = note_unchanged(r, v, run_position(r), e);
        pthread_mutex_unlock(&r->lock);
        return q < 0 ? q : 1;
}

int changed_pass_file(void *ctx, const char *path, const struct stat *st, struct err *e)
{
        struct run *r = ctx;
        if (!r->changed || r->changed->checksum || r->replay.path)
                return 0;
        int q = run_tick(r, e);
        return q < 0 ? q : pass(r, path, st, NULL, -EBADF, e);
}

int changed_pass(struct run *r, const struct gather_entry *g, struct err *e)
{
        if (!r->changed || r->replay.path)
                return 0;
        if (!S_ISREG(g->st.st_mode))
                return pass(r, g->path, &g->st, g->link, -EBADF, e);
        return r->changed->checksum ? pass(r, g->path, &g->st, NULL, g->fd, e) : 0;
}

/* A file that changed in the moment before it was read may change once more within the same tick of
 * the filesystem's clock, and look the same. */
bool changed_is_settled(const struct stat *st, int64_t now)
{
        return clock_of(st->st_mtim.tv_sec, st->st_mtim.tv_nsec) < now - SETTLED_NS;
}
