/* catalog.h - what we know: archives, their members, blocks, volumes, parts, events. SQLite, WAL.
 *
 * Floor 3. A row states the intention before bytes move; the row that says `stored` comes last.
 * A struct catalog is one connection: each thread opens its own. Readers never wait for writers;
 * writers wait for each other for up to 30 s. Calls that change something are durable when they
 * return unless said otherwise. Not here: rendering, files outside the database. Schema:
 * schema.sql. */
#pragma once

#include "base.h"
#include "err.h"

struct catalog;

enum archive_state {
        ARCHIVE_PREPARED, /* the row is there, the tree not yet frozen (or the row's writer died) */
        ARCHIVE_QUEUED,
        ARCHIVE_WAITING,   /* for something outside: a disk, the store, room, a key; error says what
                            */
        ARCHIVE_GATHERING, /* sources are still being read */
        ARCHIVE_UPLOADING, /* all is read; not all is confirmed */
        ARCHIVE_STORED,
        ARCHIVE_INCOMPLETE, /* stored, but something was not archived and went back */
        ARCHIVE_FAILED,     /* gave up; everything is kept; .retry and .abort work */
        ARCHIVE_DELETED,    /* removed from the store at the user's wish */
};
/* "prepared", "queued", … */
const char *archive_state_name(enum archive_state s);
/* The store has confirmed every byte of what was archived, be it all or not. */
_unused_ static inline bool archive_is_stored(enum archive_state s)
{
        return s == ARCHIVE_STORED || s == ARCHIVE_INCOMPLETE;
}

struct catalog_archive {
        int64_t row;
        char *id;          /* "20261122T212703Z-1f2e3d4c": sortable, unique, stable */
        char *name;        /* as under archives/; set with the description, unique */
        char *description; /* exactly as written; UTF-8 */
        enum archive_state state;
        int64_t created, stored, changed; /* ns; 0 if not yet */
        char *origin;                     /* set-up that made it */
        char *config_file;                /* configuration it was made under */
        char *store_url, *store_id, *storage_class;
        char *compression; /* name */
        int level;
        uint64_t volume_size;
        char *recipients; /* fingerprints separated by ' ' */
        char *keys_pem;   /* the recipients' public keys as they were at commit, PEM joined */
        char *mountpoint; /* or "" */
        char *spec;       /* JSON: what to gather: {"tree":true} or {"files":[…]} and more */
        char *devices;    /* JSON of gather_devices(), or "" */
        char *boot_id;    /* of the machine's run in which the tree was frozen */
        bool has_tree;    /* staging/ID belongs to it */
        bool synced;      /* syncfs came after the freeze, or a warning has been made of it */
        bool keep_tree;   /* the staged tree stays after `stored` (crash before it was synced) */
        bool packed;      /* everything is read; volumes are complete */
        bool released;    /* staged tree gone (or none) */
        uint64_t n_files, n_dirs, n_links, n_hardlinks; /* members, by kind */
        uint64_t bytes;                                 /* sum of file sizes */
        uint64_t tar_bytes;                             /* whole tar stream so far */
        uint64_t stored_bytes;                          /* sealed bytes confirmed so far */
        uint64_t sealed_bytes;                          /* of all volumes; 0 until packed */
        uint64_t sums_bytes;                            /* size of SHA512SUMS */
        uint64_t n_warnings, n_returned;
        uint64_t todo_bytes; /* expected bytes to read, an estimate; 0 unknown */
        uint64_t read_bytes; /* file bytes read so far, for progress */
        uint64_t rate;       /* bytes read a second lately, for progress */
        int64_t runner;      /* process id of the program that runs it; 0 if none */
        bool abort_wanted;   /* the user asked for it to go back; the runner looks at this */
        char *error;         /* last error or reason for waiting; "" if none */
        int64_t retry_at;    /* ns; when a waiting one is tried again */
        int restoring;       /* 0 no; 1 a restore is on its way; 2 what was restored can be read */
};
void catalog_archive_done(struct catalog_archive *a); /* frees the strings */
/* The word that people see: the state, or what a restore makes of it. */
const char *catalog_archive_word(const struct catalog_archive *a);

/* Makes it, migrates it; NULL is an empty one in memory. On a filesystem that is read-only it is
 * only read, and writing is -EROFS; so is what cannot even be read there. -EPROTONOSUPPORT newer
 * than we are; -EPROTO corrupt: in words, with what to do. */
int catalog_open(const char *path, struct catalog **ret, struct err *e);
void catalog_close(struct catalog *c);
DEFINE_CLEANUP(catalog_close, struct catalog *)

/* Settings of the set-up. get: a string the caller frees, NULL when unset. set NULL: unsets. */
int catalog_get(struct catalog *c, const char *key, char **ret, struct err *e);
int catalog_set(struct catalog *c, const char *key, const char *value, struct err *e);
/* Short random id of this set-up, made on first use: 8 hex digits. */
int catalog_origin(struct catalog *c, char **ret, struct err *e);
/* A number that changes whenever any archive row changed through any connection: for cheap polling.
 */
int catalog_version(struct catalog *c, int64_t *ret, struct err *e);

/* Archives. add: sets row, changed, created if it is 0, and makes `name` from created and
 * description (a clash gets _2 …). NULL strings count as "". -EEXIST if that id is there. */
int catalog_archive_add(struct catalog *c, struct catalog_archive *a, struct err *e);
int catalog_archive_remove(
        struct catalog *c, const char *id, struct err *e); /* with everything of it */
int catalog_archive_get(
        struct catalog *c, const char *id, struct catalog_archive *ret, struct err *e);
int catalog_archive_get_name(
        struct catalog *c, const char *name, struct catalog_archive *ret, struct err *e);
/* A name, an id, "latest", or an unambiguous beginning of a name or id. -ENOENT, -ENOTUNIQ in
 * words. */
int catalog_archive_resolve(
        struct catalog *c, const char *what, struct catalog_archive *ret, struct err *e);
/* In order of creation. `each` returning non-zero ends it. `prepared` and `deleted` rows too. */
int catalog_archive_each(struct catalog *c, int (*each)(void *ctx, const struct catalog_archive *a),
        void *ctx, struct err *e);
/* State, error text and retry_at together; stamps `changed` (and `stored`). */
int catalog_archive_set_state(struct catalog *c, const char *id, enum archive_state s,
        const char *error, int64_t retry_at, struct err *e);
/* It is stored: `s` is ARCHIVE_STORED or ARCHIVE_INCOMPLETE, `when` the time that its manifest has,
 * so that what is read back from the store says the same. No error is left. -ECANCELED: it has been
 * taken back meanwhile. */
int catalog_archive_set_stored(
        struct catalog *c, const char *id, enum archive_state s, int64_t when, struct err *e);
/* Where it was found again, which need not be where it was put: objects can be copied to another
 * store. store_id "": left as it is. */
int catalog_archive_set_store(
        struct catalog *c, const char *id, const char *url, const char *store_id, struct err *e);
/* Everything packed so far is forgotten: members, volumes, blocks, parts, lists, counters; the row
 * stays as it was when it was queued. The log stays. */
int catalog_archive_restart(struct catalog *c, const char *id, struct err *e);
/* Writes the columns of `a` from spec to sums_bytes, n_returned, todo_bytes, read_bytes and rate
 * back (not state, not n_warnings, which catalog_event() counts). */
int catalog_archive_update(struct catalog *c, const struct catalog_archive *a, struct err *e);
/* Progress, not durable by itself: read_bytes, stored_bytes, rate, todo_bytes. ret_abort:
 * abort_wanted. */
int catalog_archive_progress(
        struct catalog *c, const struct catalog_archive *a, bool *ret_abort, struct err *e);
/* What is sent while nothing is read: stored_bytes and bytes a second. LATER. */
int catalog_archive_sent(struct catalog *c, const char *id, uint64_t stored_bytes, uint64_t rate,
        bool *ret_abort, struct err *e);
int catalog_archive_abort_wanted(struct catalog *c, const char *id, bool *ret, struct err *e);
/* Of this and catalog_archive_set_stored() only one can succeed. -EBUSY: it is stored. */
int catalog_archive_want_abort(struct catalog *c, const char *id, struct err *e);
/* LATER. */
int catalog_archive_set_runner(struct catalog *c, const char *id, int64_t pid, struct err *e);
/* The later part of a description. Name stays. */
int catalog_archive_set_description(
        struct catalog *c, const char *id, const char *text, struct err *e);

/* Members. Paths are bytes, relative, '/' between components. Folders that no member stands for are
 * there as type 'i' (implied). */
struct catalog_member {
        int64_t row;      /* unique and stable: an inode number */
        int64_t parent;   /* row of the folder; 0 at the top */
        const char *path; /* whole path when adding and in _each; NULL in catalog_member_children */
        const char *name; /* last component */
        char type;        /* 'f' 'd' 'l' symlink 'h' hard link to `link` 'i' implied folder */
        uint32_t mode, uid, gid; /* mode: permission bits */
        int64_t mtime;           /* ns */
        uint64_t size;
        const uint8_t *sha512; /* 64 bytes; 'f' only */
        uint64_t tar_offset;   /* of its first header byte in the commit's tar stream */
        uint64_t tar_len;      /* header, data and padding */
        const char *link;      /* target text, or path of the member with the content for 'h' */
        uint64_t ino; /* its inode, if what is there later may be compared with it; else 0 */
};
/* Adds in bulk, LATER: rows are visible to others after catalog_adder_flush(), some before, since a
 * transaction is kept short. Others cannot write while rows are not flushed: flush before you wait.
 * Any durable call on the connection takes them along. Adding a path again replaces it under the
 * same row (the later member counts). Parents come before children or are implied. -EINVAL a path
 * that is not relative and plain; -EPROTO one below what is not a folder. */
struct catalog_adder;
int catalog_adder_new(struct catalog *c, const char *id, struct catalog_adder **ret, struct err *e);
int catalog_adder_add(struct catalog_adder *a, const struct catalog_member *m, struct err *e);
int catalog_adder_flush(struct catalog_adder *a, struct err *e); /* commits the open transaction */
void catalog_adder_free(struct catalog_adder *a); /* rolls back what is not flushed */
DEFINE_CLEANUP(catalog_adder_free, struct catalog_adder *)
/* Forgets members whose tar_offset is at or after `tar_offset`, and hard links noted there: what an
 * unfinished volume held. */
int catalog_members_cut(struct catalog *c, const char *id, uint64_t tar_offset, struct err *e);
/* Forgets files without a SHA-512: their content broke off, after a volume that holds its beginning
 * was finished. Until the last one is, a run that is taken up again needs them. */
int catalog_members_drop_unread(struct catalog *c, const char *id, struct err *e);
/* Strings in the member are borrowed for the call. Non-zero from `each` ends it and is returned. */
typedef int (*catalog_member_fn)(void *ctx, const struct catalog_member *m);
enum catalog_order {
        CATALOG_AS_TAR,  /* by tar_offset: what was archived; no implied folders */
        CATALOG_AS_TREE, /* a folder before what is in it, by name */
};
/* Whole paths in both orders. */
int catalog_members_each(struct catalog *c, const char *id, enum catalog_order order,
        catalog_member_fn each, void *ctx, struct err *e);
/* The member at `path`, and as a tree all that is below it. -ENOENT. `near`, zeroed at first, keeps
 * in which folder that was, so that its neighbours are found quickly, as long as nothing is added
 * or forgotten. */
struct catalog_near {
        int64_t archive, folder;
        char *path; /* of the folder; the caller frees it */
};
int catalog_members_below(struct catalog *c, const char *id, const char *path,
        struct catalog_near *near, catalog_member_fn each, void *ctx, struct err *e);
/* A folder's entries, by name. parent 0: the top. */
int catalog_member_children(struct catalog *c, const char *id, int64_t parent,
        catalog_member_fn each, void *ctx, struct err *e);
int catalog_member_lookup(struct catalog *c, const char *id, int64_t parent, const char *name,
        catalog_member_fn found, void *ctx, struct err *e); /* -ENOENT */
int catalog_member_by_row(
        struct catalog *c, int64_t row, catalog_member_fn found, void *ctx, struct err *e);
int catalog_member_by_path(struct catalog *c, const char *id, const char *path,
        catalog_member_fn found, void *ctx, struct err *e);
/* The member with the greatest tar_offset not after `tar_offset`: the one a cut lies in. */
int catalog_member_at(struct catalog *c, const char *id, uint64_t tar_offset,
        catalog_member_fn found, void *ctx, struct err *e);
/* Counted from the members that are there, for the counters of catalog_archive. Reads them all. */
struct catalog_totals {
        uint64_t n_files, n_dirs, n_links, n_hardlinks, bytes, sums_bytes;
        uint64_t n_unread, unread_bytes; /* of these files, those without a SHA-512 */
};
int catalog_member_totals(
        struct catalog *c, const char *id, struct catalog_totals *ret, struct err *e);
/* Bytes of the line of SHA512SUMS for this path. */
size_t catalog_sums_line_size(const char *path);
/* Whole path of a row; the caller frees it. */
int catalog_member_path(struct catalog *c, int64_t row, char **ret, struct err *e);
/* All archives: members whose path or last component matches the shell pattern (`*` also crosses
 * '/'). */
typedef int (*catalog_find_fn)(
        void *ctx, const struct catalog_archive *a, const struct catalog_member *m);
int catalog_find(
        struct catalog *c, const char *pattern, catalog_find_fn each, void *ctx, struct err *e);
/* Members with this content in archives that are stored or incomplete, with whole paths. */
int catalog_by_sha512(struct catalog *c, const uint8_t sha512[64], catalog_find_fn each, void *ctx,
        struct err *e);

/* Files to be read once more at the end because they changed while they were read; and what goes
 * back to staging. `kind`: "again" or "return". Durable. Duplicates are ignored. */
int catalog_list_add(struct catalog *c, const char *id, const char *kind, const char *path,
        const char *why, struct err *e);
int catalog_list_each(struct catalog *c, const char *id, const char *kind,
        int (*each)(void *ctx, const char *path, const char *why), void *ctx, struct err *e);

/* First path seen of a file with several hard links, within one archive: returns the path already
 * noted (the caller frees it), or NULL and notes this one. Written with the next durable call of
 * this connection; a note that no such call followed is lost when the connection ends. Forgotten by
 * catalog_archive_settle(). */
int catalog_hardlink(struct catalog *c, const char *id, uint64_t dev, uint64_t ino,
        const char *path, uint64_t tar_offset, char **ret, struct err *e);
/* What was noted at `tar_offset` could not be read: the next name of it is the first. */
int catalog_hardlink_forget(struct catalog *c, const char *id, uint64_t tar_offset, struct err *e);

/* Volumes, blocks, parts. */
struct catalog_volume {
        unsigned number;
        char object[160]; /* name in the store */
        bool done;        /* confirmed by the store, every byte */
        bool packed;      /* not confirmed yet, but all of it is in the spool */
        uint64_t tar_start, tar_end, plain_size, size;
        uint8_t tree_hash[32], message_id[32];
};
int catalog_volume_begin(struct catalog *c, const char *id, unsigned number, const char *object,
        uint64_t tar_start,
        struct err *e); /* replaces an unfinished one, with its blocks and parts */
int catalog_volume_done(
        struct catalog *c, const char *id, const struct catalog_volume *v, struct err *e);
/* All of the volume is in the spool: its sources need not be read again. Durable. */
int catalog_volume_packed(
        struct catalog *c, const char *id, const struct catalog_volume *v, struct err *e);
/* What the spool had of volume `number` and later ones is lost: they, and so the archive, are not
 * packed any more. Durable. */
int catalog_volumes_rewind(struct catalog *c, const char *id, unsigned number, struct err *e);
int catalog_volumes(struct catalog *c, const char *id, struct catalog_volume **ret, size_t *ret_n,
        struct err *e);
struct catalog_block {
        unsigned volume, number;
        uint64_t tar_offset, plain_offset;
        uint32_t tar_len, plain_len;
};
/* LATER: durable with catalog_volume_done(). */
int catalog_block_add(
        struct catalog *c, const char *id, const struct catalog_block *b, struct err *e);
/* Blocks that overlap [tar_offset, tar_offset + len), in order; len UINT64_MAX: to the end. */
int catalog_blocks(struct catalog *c, const char *id, uint64_t tar_offset, uint64_t len,
        int (*each)(void *ctx, const struct catalog_block *b), void *ctx, struct err *e);
struct catalog_part {
        unsigned volume, number;
        uint64_t offset, size;
        uint8_t tree_hash[32];
        uint8_t sha256[32]; /* zeros for a part that did not go through the spool */
        bool sent;          /* confirmed by the store */
};
int catalog_part_add(struct catalog *c, const char *id, const struct catalog_part *p,
        struct err *e); /* as blocks */
/* A part that is durable in the spool: with its SHA-256. Durable. */
int catalog_part_spooled(
        struct catalog *c, const char *id, const struct catalog_part *p, struct err *e);
/* The store has confirmed it. LATER: after a crash the store is asked what it has. */
int catalog_part_sent(
        struct catalog *c, const char *id, unsigned volume, unsigned number, struct err *e);
int catalog_parts(struct catalog *c, const char *id, unsigned volume,
        int (*each)(void *ctx, const struct catalog_part *p), void *ctx, struct err *e);

/* What the store knows a volume's unfinished upload by; "" if there is none. A new one has no parts
 * yet: none counts as sent. set: durable. The caller frees *ret. */
int catalog_volume_set_upload(
        struct catalog *c, const char *id, unsigned number, const char *token, struct err *e);
int catalog_volume_upload(
        struct catalog *c, const char *id, unsigned number, char **ret, struct err *e);
/* Whether any archive still wants this upload of `object`: a volume that is not confirmed has it,
 * or is about to say which one is its own. */
int catalog_upload_wanted(
        struct catalog *c, const char *object, const char *token, bool *ret, struct err *e);

/* What may be left in a store though no row wants it: an object that could not be removed, or, with
 * object "", unfinished uploads of this set-up. Durable; adding again does nothing. `each` may
 * remove what it is given; non-zero ends it. */
struct catalog_litter {
        const char *store_url, *store_id, *object;
};
int catalog_litter_add(struct catalog *c, const struct catalog_litter *l, struct err *e);
int catalog_litter_remove(struct catalog *c, const struct catalog_litter *l, struct err *e);
int catalog_litter_each(struct catalog *c, int (*each)(void *ctx, const struct catalog_litter *l),
        void *ctx, struct err *e);

/* Whether a volume of an archive is, or will be, this object: one that is not being forgotten
 * (whose upload is "-"). */
int catalog_object_wanted(struct catalog *c, const char *object, bool *ret, struct err *e);

/* The log of an archive. level: 'i' 'w' 'e'. Time is now. Counts warnings. LATER. */
int catalog_event(struct catalog *c, const char *id, char level, const char *text, struct err *e);
/* The same with a time, for what is read back from a manifest. */
int catalog_event_at(struct catalog *c, const char *id, int64_t time, char level, const char *text,
        struct err *e);
/* Its last line when it was stored, at `when`, by the counts of `a`: commit and recover write the
 * same. Once. */
int catalog_event_stored(
        struct catalog *c, const struct catalog_archive *a, int64_t when, struct err *e);
int catalog_events(struct catalog *c, const char *id,
        int (*each)(void *ctx, int64_t time, char level, const char *text), void *ctx,
        struct err *e);

/* After `stored`: drops scratch rows (hard links, lists), makes catalog_by_sha512() quick for it.
 * Can be repeated. Long for a large archive, but others can write in between. */
int catalog_archive_settle(struct catalog *c, const char *id, struct err *e);
/* Whether any archive row exists at all. */
int catalog_is_empty(struct catalog *c, bool *ret, struct err *e);
