#include "import.h"

#include "catalog.h"
#include "config.h"
#include "glacier_book.h"
#include "io.h"
#include "store.h"
#include "stores.h"

bool import_is_imported(const struct catalog_archive *a)
{
        return streq(a->origin, IMPORT_ORIGIN);
}

/* A vault knows archives by their ids alone: its book gets a name for this one. */
static int write_in_book(const struct config *config, const char *vault,
        const struct catalog_archive *a, const struct catalog_volume *v, const char *name,
        struct err *e)
{
        _cleanup_(glacier_book_closep) struct glacier_book *b = NULL;
        _cleanup_free_ char *path = io_join(config->data, "vaults.db");
        struct glacier_object o = {.size = v->size, .created = a->created};
        if (!path)
                return err_oom(e);
        (void)snprintf(o.name, sizeof o.name, "%s", name);
        (void)snprintf(o.archive, sizeof o.archive, "%s", v->object);
        memcpy(o.tree_hash, v->tree_hash, sizeof o.tree_hash);
        int q = glacier_book_open(path, &b, e);
        return q < 0 ? q : glacier_book_add(b, vault, &o, e);
}

int import_open_store(const struct config *config, struct catalog *c,
        const struct catalog_archive *a, struct store **ret, char ret_object[IMPORT_OBJECT_MAX],
        uint64_t *ret_size, struct err *e)
{
        _cleanup_free_ struct catalog_volume *v = NULL;
        _cleanup_(store_closep) struct store *s = NULL;
        size_t n = 0;
        char vault[64];
        int q = catalog_volumes(c, a->id, &v, &n, e);
        if (q < 0)
                return q;
        if (n == 0 || !*v[0].object || v[0].size == 0)
                return err_set(e, -EREMOTE,
                        "the log does not say under which id %s is in its vault; if you have the "
                        "file: autoglacier restore FILE",
                        a->name);
        (void)snprintf(ret_object, IMPORT_OBJECT_MAX, "imported/%s", a->id);
        q = stores_open(config, a->store_url, a->storage_class, &s, e);
        if (q == 0)
                q = store_check(s, NULL, vault, e);
        if (q == 0)
                q = write_in_book(config, vault, a, &v[0], ret_object, e);
        if (q < 0)
                return q;
        *ret_size = v[0].size;
        *ret = steal(s);
        return 0;
}

int import_delete(const struct config *config, struct catalog *c, const struct catalog_archive *a,
        struct err *e)
{
        _cleanup_(store_closep) struct store *s = NULL;
        char object[IMPORT_OBJECT_MAX];
        uint64_t size;
        int q = import_open_store(config, c, a, &s, object, &size, e);
        if (q == 0)
                q = store_remove(s, object, e);
        if (q == 0)
                q = catalog_archive_set_state(c, a->id, ARCHIVE_DELETED, "", 0, e);
        return q < 0 ? q : catalog_archive_restart(c, a->id, e); /* members, volumes, counters */
}
