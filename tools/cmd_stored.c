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
        {0},
};

struct asking {
        struct cli *cli;
        bool quiet;
        char end; /* of a line */
        unsigned stored, missing;
        struct err *e;
};

static int sum_of(int fd, const char *path, uint8_t ret[64], struct err *e)
{
        static uint8_t chunk[1024 * 1024];
        EVP_MD_CTX *sha = EVP_MD_CTX_new();
        ssize_t n = -1;
        if (sha && EVP_DigestInit_ex(sha, EVP_sha512(), NULL))
                while ((n = read(fd, chunk, sizeof chunk)) > 0)
                        EVP_DigestUpdate(sha, chunk, (size_t)n);
        int q = n == 0 && EVP_DigestFinal_ex(sha, ret, NULL) ? 0 : -errno;
        EVP_MD_CTX_free(sha);
        return q < 0 ? err_errno(e, q, "cannot read %s", path) : 0;
}

/* One archive that has it is an answer. */
static int found(void *ctx, const struct catalog_archive *a, const struct catalog_member *m)
{
        const struct asking *k = ctx;
        if (!k->quiet) {
                (void)printf("%s: ", a->name);
                member_path(m->path, k->end);
        }
        return 1;
}

static int ask_file_sum(struct asking *k, const char *path)
{
        uint8_t sum[64];
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return err_errno(k->e, -errno, "cannot open %s", path);
        int q = sum_of(fd, path, sum, k->e);
        if (q < 0)
                return q;
        if (!k->quiet) {
                cli_print(path, strlen(path));
                (void)fputs("  ", stdout);
        }
        q = catalog_by_sha512(k->cli->catalog, sum, found, k, k->e);
        if (q < 0)
                return q;
        k->stored += q > 0;
        if (q > 0)
                return 0;
        k->missing++;
        if (k->quiet)
                member_path(path, k->end);
        else
                (void)printf("NOT STORED%c", k->end);
        return 0;
}

static int ask_tree(struct asking *k, char *path)
{
        char *const paths[] = {path, NULL};
        FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
        int q = walk ? 0 : err_errno(k->e, -errno, "cannot look at %s", path);
        for (FTSENT *f; q == 0 && (f = fts_read(walk));) {
                if (f->fts_info == FTS_F)
                        q = ask_file_sum(k, f->fts_path);
                else if (f->fts_info == FTS_DNR || f->fts_info == FTS_ERR || f->fts_info == FTS_NS)
                        q = err_errno(k->e, -f->fts_errno, "cannot look at %s", f->fts_path);
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
                .end = cli_flag(cli, "null") ? 0 : '\n',
                .e = &e};
        int q = cli_catalog(cli, false, &e);
        for (int i = 0; q == 0 && i < cli->n_words; i++)
                q = ask_tree(&k, cli->words[i]);
        if (q == 0)
                q = warn_not_yet(cli, &e);
        if (q < 0)
                return cli_fail(cli, &e);
        cli_say(cli, "%s stored, %s", WORDS(k.stored, "file is", "files are"),
                WORDS(k.missing, "is not", "are not"));
        /* that nothing was compared is no permission to delete it */
        return k.missing > 0 || k.stored == 0 ? CLI_FAILED : CLI_DONE;
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
