/* glacier_book.h - what we know of vaults: which archive holds which object, and which jobs run.
 *
 * Floor 3. A vault knows archives by ids of its own and has no names; its list (the inventory) is a
 * day old and takes hours to fetch. This book, a small SQLite file in the data folder, keeps name
 * and id together. It can be lost: an inventory, whose descriptions hold the names, fills it again.
 * Not here: asking the service. Vaults are told apart by their store id. Any thread; several
 * programs may have it open. What is written is durable on return. */
#pragma once

#include "base.h"
#include "err.h"

#define GLACIER_ID_MAX   160 /* archive ids have 138 bytes, upload and job ids 92 */
#define GLACIER_NAME_MAX 256

struct glacier_book;

/* Made if it is not there. -EPROTONOSUPPORT newer than we are. */
int glacier_book_open(const char *path, struct glacier_book **ret, struct err *e);
void glacier_book_close(struct glacier_book *b);
DEFINE_CLEANUP(glacier_book_close, struct glacier_book *)

/* Whether the book knows all that is in the vault: it did from the beginning (`empty`, when the
 * vault is met for the first time), or has read an inventory since. A book that was lost and made
 * anew does not. */
int glacier_book_meet(struct glacier_book *b, const char *vault, bool empty, struct err *e);
int glacier_book_complete(struct glacier_book *b, const char *vault, bool *ret, struct err *e);
/* An object of that name is being made here: of such names it knows all in any case. */
int glacier_book_begun(struct glacier_book *b, const char *vault, const char *name, struct err *e);
/* 1 it was, 0 it was not, -errno. */
int glacier_book_was_begun(
        struct glacier_book *b, const char *vault, const char *name, struct err *e);

struct glacier_object {
        char name[GLACIER_NAME_MAX];
        char archive[GLACIER_ID_MAX]; /* archive id; "" while its upload is not finished */
        uint64_t size;
        uint8_t tree_hash[32];
        int64_t created; /* ns */
        int64_t listed;  /* when the last inventory that had it came, ns; 0: none yet */
};

/* Adds it, or replaces what is known of that archive; not what was forgotten. */
int glacier_book_add(
        struct glacier_book *b, const char *vault, const struct glacier_object *o, struct err *e);
/* The newest archive of that name. -ENOENT. */
int glacier_book_find(struct glacier_book *b, const char *vault, const char *name,
        struct glacier_object *ret, struct err *e);
/* Another archive of the same name, that a newer one has replaced. -ENOENT: none. */
int glacier_book_find_other(struct glacier_book *b, const char *vault,
        const struct glacier_object *than, struct glacier_object *ret, struct err *e);
/* The first name after `after` that begins with `prefix`, by bytes. -ENOENT: no more. */
int glacier_book_next(struct glacier_book *b, const char *vault, const char *prefix,
        const char *after, struct glacier_object *ret, struct err *e);
/* It was removed: an inventory from before that still has it, and does not bring it back. */
int glacier_book_forget(
        struct glacier_book *b, const char *vault, const char *archive, struct err *e);

/* An upload is about to be finished: noted before the service is asked, since its answer may be
 * lost. `archive` is empty. */
int glacier_book_finishing(struct glacier_book *b, const char *vault, const char *upload,
        const struct glacier_object *o, struct err *e);
/* What was noted so. -ENOENT. */
int glacier_book_find_finishing(struct glacier_book *b, const char *vault, const char *upload,
        struct glacier_object *ret, struct err *e);
/* A note for an object of that name, and the id of its upload. -ENOENT. */
int glacier_book_find_unfinished(struct glacier_book *b, const char *vault, const char *name,
        char ret_upload[GLACIER_ID_MAX], struct glacier_object *ret, struct err *e);
int glacier_book_forget_finishing(
        struct glacier_book *b, const char *vault, const char *upload, struct err *e);
/* The answer is here: adds the object and forgets the note, in one. */
int glacier_book_finished(struct glacier_book *b, const char *vault, const char *upload,
        const struct glacier_object *o, struct err *e);

struct glacier_job {
        char id[GLACIER_ID_MAX];
        char archive[GLACIER_ID_MAX]; /* "" for an inventory */
        uint64_t start, end;          /* bytes of the archive, end exclusive */
        int64_t asked;                /* ns */
        int64_t done;                 /* ns; 0: runs still */
};
int glacier_book_set_job(
        struct glacier_book *b, const char *vault, const struct glacier_job *j, struct err *e);
int glacier_book_forget_job(
        struct glacier_book *b, const char *vault, const char *id, struct err *e);
/* Jobs of an archive ("": of the inventory), the newest first. The caller frees *ret. */
int glacier_book_jobs(struct glacier_book *b, const char *vault, const char *archive,
        struct glacier_job **ret, size_t *ret_n, struct err *e);

/* An inventory has it, under a description that is not ours: notes that, if the book has it (an
 * archive that was imported). */
int glacier_book_seen(struct glacier_book *b, const char *vault, const char *archive,
        int64_t listed, struct err *e);
/* An inventory has been read, and every archive in it added or seen with `listed` set to when it
 * came, after its date. Forgets what it should have had and had not: archives older than it by more
 * than `grace`. */
int glacier_book_set_inventory(
        struct glacier_book *b, const char *vault, int64_t date, int64_t grace, struct err *e);
/* What is written in between is durable at the end, all at once: for many. Other programs cannot
 * write meanwhile. A book of one's own: other threads' writes would be among them. */
int glacier_book_batch_begin(struct glacier_book *b, struct err *e);
/* Commits if q is 0, else rolls back. Returns q, or why it could not be committed. */
int glacier_book_batch_end(struct glacier_book *b, int q, struct err *e);
/* Its date; 0: none has been read. */
int glacier_book_inventory(struct glacier_book *b, const char *vault, int64_t *ret, struct err *e);
