/* recover_internal.h - what the recover_*.c files share, and nobody else.
 *
 * Floor 5. One thread. */
#pragma once

#include "compress.h"
#include "recover.h"
#include "seal.h"

/* One object of the store whose name is one of ours. */
struct recover_object {
        char *name, *origin, *id;
        unsigned volume; /* 0: the manifest */
        enum compress_kind kind;
        uint64_t size;
        int64_t modified; /* ns, by the store */
};

struct recover_list {
        struct recover_object *v; /* by id, origin, volume: an archive's stand together */
        size_t n, cap;
        struct err *e;
};
int recover_list_read(struct store *s, struct recover_list *ret, struct err *e);
void recover_list_done(struct recover_list *l);

/* The objects of one archive. */
struct recover_group {
        const struct recover_object *manifest; /* NULL: missing */
        const struct recover_object *volumes;
        size_t n;
        const char *id, *origin;
};

struct recover {
        struct catalog *catalog;
        struct store *store;
        const struct recover_params *params;
        char store_id[33];
};

/* The objects of the archive that begins at l->v[at]; returns where the next one begins. */
size_t recover_next_group(const struct recover_list *l, size_t at, struct recover_group *g);
/* It is in the catalogue and needs nothing from the store. */
bool recover_is_known(struct recover *r, const char *id);

/* recover_cold.c. Both do nothing where the store is not cold. -ECANCELED when told to stop. */
int recover_inventory(struct recover *r, int64_t *ret_date, struct err *e);
int recover_thaw(struct recover *r, const struct recover_list *l, struct err *e);
/* The manifest is no good (`first` says why) and the last volume, which ends in a copy, is cold:
 * asks for it. -EREMOTE in words, or what the store says. */
int recover_ask_end(
        struct recover *r, const struct recover_group *g, const struct err *first, struct err *e);

/* An object opened for reading: its header says that it is what its name says. */
struct recover_open {
        struct store *store;
        const struct recover_object *object;
        struct seal_reader *seal;
};
int recover_open(
        struct recover *r, const struct recover_object *o, struct recover_open *ret, struct err *e);
void recover_close(struct recover_open *o);

/* Fills the catalogue from the copy of the manifest at the end of the last volume. -EPROTO: there
 * is none: the last volume is missing, or was never finished. */
int recover_from_tail(struct recover *r, const struct recover_group *g, struct err *e);
/* Volumes that are in the store and not in the catalogue: the copy was written before they were
 * confirmed. Reads them whole, for their hash, where that costs nothing. */
int recover_volumes(struct recover *r, const struct recover_group *g, struct err *e);
