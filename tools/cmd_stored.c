#include "commands.h"

#include "buf.h"
#include "catalog.h"
#include "files.h"
#include "member.h"
#include "report.h"
#include "words.h"

#include <fcntl.h>
#include <fts.h>
#include <openssl/evp.h>
#include <sys/stat.h>

static const struct cli_option options[] = {
        {"quiet", 'q', NULL, "print only what is not stored", false},
        {"null", '0', NULL, "each line ended by a zero byte instead of a newline", false},
        {"json", 0, NULL, "each file as a JSON object; see autoglacier-json(5)", false},
        {0},
};

struct asking {
        struct cli *cli;
        bool quiet, json;
        char end; /* of a line */
        unsigned stored, missing, unread;
};

static int sum_of(int fd, const char *path, uint8_t ret[64], struct err *e)
{
        static uint8_t chunk[1024 * 1024];
        EVP_MD_CTX *sha = EVP_MD_CTX_new();
        ssize_t n = 0;
        int q = sha && EVP_DigestInit_ex(sha, EVP_sha512(), NULL) ? 0 : -ENOMEM;
        while (q == 0 && (n = read(fd, chunk, sizeof chunk)) > 0)
                q = EVP_DigestUpdate(sha, chunk, (size_t)n) ? 0 : -EIO;
        if (q == 0)
                q = n < 0 ? -errno : EVP_DigestFinal_ex(sha, ret, NULL) ? 0 : -EIO;
        EVP_MD_CTX_free(sha);
        return q < 0 ? err_errno(e, q, "cannot read %s", path) : 0;
}

static int sum_of_file(const char *path, uint8_t ret[64], struct err *e)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? err_errno(e, -errno, "cannot open %s", path) : sum_of(fd, path, ret, e);
}

/* ---- what is printed ---- */

/* `a`, `m`: where the content is, or NULL; `why`: it could not be read, or NULL. */
static void print_json(const char *path, const struct catalog_archive *a,
        const struct catalog_member *m, const char *why)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_adds(&b, "{\"stored\": ");
        buf_adds(&b, why ? "null" : a ? "true" : "false");
        member_json_bytes(&b, "path", path);
        if (a) {
                buf_addf(&b, ", \"archive\": \"%s\"", a->id);
                member_json_bytes(&b, "name", a->name);
                member_json_bytes(&b, "as", m->path);
        }
        if (why)
                member_json_bytes(&b, "error", why);
        buf_adds(&b, "}\n");
        (void)fwrite(buf_str(&b), 1, b.len, stdout); /* cli_flush() tells errors */
}

struct answer {
        struct asking *k;
        const char *path;
};

/* One archive that has it is an answer. */
static int found(void *ctx, const struct catalog_archive *a, const struct catalog_member *m)
{
        const struct answer *f = ctx;
        if (f->k->quiet)
                return 1;
        if (f->k->json) {
                print_json(f->path, a, m, NULL);
                return 1;
        }
        cli_print(f->path, strlen(f->path));
        (void)printf("  %s: ", a->name);
        member_path(m->path, f->k->end);
        return 1;
}

static void print_missing(const struct asking *k, const char *path)
{
        if (k->json) {
                print_json(path, NULL, NULL, NULL);
        } else if (k->quiet) {
                member_path(path, k->end);
        } else {
                cli_print(path, strlen(path));
                (void)printf("  NOT STORED%c", k->end); /* cli_flush() tells errors */
        }
}

/* The others are looked at all the same. */
static void note_unread(struct asking *k, const char *path, const struct err *why)
{
        k->unread++;
        (void)cli_fail(k->cli, why); /* the status comes of what was counted */
        if (k->json)
                print_json(path, NULL, NULL, why->text);
}

/* ---- looking ---- */

static int ask_about(struct asking *k, const char *path, struct err *e)
{
        uint8_t sum[64];
        struct err why = {0};
        if (sum_of_file(path, sum, &why) < 0) {
                note_unread(k, path, &why);
                return 0;
        }
        int q = catalog_by_sha512(
                k->cli->catalog, sum, found, &(struct answer){.k = k, .path = path}, e);
        if (q < 0)
                return q;
        k->stored += q > 0;
        k->missing += q == 0;
        if (q == 0)
                print_missing(k, path);
        return 0;
}

static void unread(struct asking *k, const FTSENT *f)
{
        struct err why = {0};
        err_errno(&why, -f->fts_errno, "cannot look at %s", f->fts_path);
        note_unread(k, f->fts_path, &why);
}

static int ask_tree(struct asking *k, char *path, struct err *e)
{
        char *const paths[] = {path, NULL};
        FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
        int q = walk ? 0 : err_errno(e, -errno, "cannot look at '%s'", path);
        for (FTSENT *f; q == 0 && (f = fts_read(walk));) {
                if (f->fts_info == FTS_F)
                        q = ask_about(k, f->fts_path, e);
                else if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS)
                        unread(k, f);
                else if (f->fts_info != FTS_D && f->fts_info != FTS_DP && !k->quiet)
                        cli_say(k->cli, "%s is not a file; only the content of files is compared",
                                f->fts_path);
        }
        if (walk)
                (void)fts_close(walk); /* only read */
        return q;
}

/* Content that lies on the same disk only is no reason to delete the original. */
static int warn_not_yet(struct cli *cli, struct err *e)
{
        _cleanup_buf_ struct buf b = BUF_INIT;
        int q = report_not_yet(cli->catalog, cli->config, &b, e);
        if (q == 0 && b.len > 0)
                (void)fprintf(stderr, "%s\n", buf_str(&b));
        return q;
}

static int run(struct cli *cli)
{
        struct err e = {0};
        struct asking k = {.cli = cli,
                .quiet = cli_flag(cli, "quiet"),
                .json = cli_flag(cli, "json"),
                .end = cli_flag(cli, "null") ? 0 : '\n'};
        if (k.json && (k.quiet || cli_flag(cli, "null")))
                return cli_misuse(cli, "--json goes with neither --quiet nor --null");
        int q = cli_catalog(cli, CLI_LOOK, &e);
        for (int i = 0; q == 0 && i < cli->n_words; i++)
                q = ask_tree(&k, cli->words[i], &e);
        if (q == 0)
                q = warn_not_yet(cli, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_say(cli, "%s stored, %s", WORDS(k.stored, "file is", "files are"),
                WORDS(k.missing, "is not", "are not"));
        if (k.unread > 0)
                cli_say(cli, "%u could not be read", k.unread);
        /* that nothing was compared is no permission to delete it */
        return k.missing + k.unread > 0 || k.stored == 0 ? CLI_FAILED : CLI_DONE;
}

const struct cli_command cmd_stored = {
        .name = "stored",
        .words = "PATH…",
        .summary = "is this content in a stored archive: may it be deleted here?",
        .about = "Reads each file, all files below each folder, and looks for its SHA-512 in\n"
                 "the archives that are stored. Names do not matter, content does. Exit status\n"
                 "0 only if every file is stored; links and special files are not looked at.",
        .options = options,
        .min_words = 1,
        .max_words = -1,
        .run = run,
};
