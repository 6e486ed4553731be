/* home.h - for tests of the verbs: a set-up of its own in a scratch folder, archives in its store.
 *
 * Includes tree.h: $T is the folder. */
#pragma once

#include "catalog.h"
#include "config.h"
#include "engine.h"
#include "io.h"
#include "keys.h"
#include "seal.h"
#include "staging.h"
#include "store.h"
#include "stores.h"
#include "tree.h"

struct home {
        char path[64];
        struct config *config;
        struct engine *engine;
        struct catalog *catalog;
        struct store *store;
        struct keys_private *key;
        struct catalog_archive a; /* the last one that was made */
        struct err e;
        void *more; /* the test's own */
};

/* Fails the test with the words of the error. */
_unused_ static void home_must(const struct home *h, int q)
{
        if (q < 0)
                fail_msg("%d: %s", q, h->e.text);
}

/* Making a key pair takes half a second: the first one serves all set-ups of a test program. */
static struct {
        const char *name;
        mode_t mode;
        char pem[8192];
        size_t len;
} home_keys[] = {
        {.name = "data/keys/private.pem", .mode = 0600},
        {.name = "data/keys/public.pem", .mode = 0644},
};

_unused_ static void home_put_keys(struct home *h)
{
        _cleanup_free_ char *folder = io_join(h->path, "data/keys");
        home_must(h, io_mkdir_p(folder, 0700, &h->e));
        for (size_t i = 0; i < ARRAY_SIZE(home_keys) && home_keys[i].len > 0; i++) {
                _cleanup_free_ char *path = io_join(h->path, home_keys[i].name);
                home_must(h, io_write_file(AT_FDCWD, path, home_keys[i].mode, home_keys[i].pem,
                                     home_keys[i].len, &h->e));
        }
}

_unused_ static void home_keep_keys(struct home *h)
{
        for (size_t i = 0; i < ARRAY_SIZE(home_keys); i++) {
                _cleanup_free_ char *path = io_join(h->path, home_keys[i].name);
                _cleanup_buf_ struct buf pem = BUF_INIT;
                home_must(
                        h, io_read_file(AT_FDCWD, path, sizeof home_keys[i].pem - 1, &pem, &h->e));
                memcpy(home_keys[i].pem, pem.data, pem.len);
                home_keys[i].len = pem.len;
        }
}

_unused_ static struct home *home_new(const char *config_json)
{
        struct home *h = calloc(1, sizeof *h);
        assert_non_null(h);
        tree_setup(h->path);
        assert_int_equal(setenv("AUTOGLACIER_HOME", h->path, 1), 0);
        _cleanup_free_ char *config = io_join(h->path, "CONFIG.json");
        home_must(
                h, io_write_file(AT_FDCWD, config, 0600, config_json, strlen(config_json), &h->e));
        home_must(h, config_load(NULL, &h->config, &h->e));
        home_put_keys(h);
        home_must(h, engine_open(h->config, ENGINE_MOUNT, "/mnt/none", &h->engine, &h->e));
        home_must(h, engine_prepare(h->engine, NULL, &h->e));
        home_keep_keys(h);
        home_must(h, engine_catalog(h->engine, &h->catalog, &h->e));
        home_must(h, stores_open(h->config, h->config->vault, NULL, &h->store, &h->e));
        home_must(h, keys_private_load(h->config->private_keys[0], NULL, NULL, &h->key, &h->e));
        return h;
}

_unused_ static void home_free(struct home *h)
{
        keys_private_free(h->key);
        catalog_archive_done(&h->a);
        store_close(h->store);
        catalog_close(h->catalog);
        engine_close(h->engine);
        config_free(h->config);
        tree_remove(h->path);
        free(h);
}

/* Runs `make` in the staging area, commits what is there and waits until it is stored: h->a. */
_unused_ static void home_archive(struct home *h, const char *make)
{
        _cleanup_buf_ struct buf command = BUF_INIT;
        buf_addf(&command, "set -e; cd $T/data/staging/current; %s", make);
        tree_sh(buf_str(&command));
        _cleanup_free_ char *id = NULL;
        home_must(h, engine_commit(h->engine, "a test", 6, NULL, &id, &h->e));
        home_must(h, engine_commit_seal(h->engine, id, &h->e));
        home_must(h, engine_run(h->engine, id, &h->e));
        catalog_archive_done(&h->a);
        h->a = (struct catalog_archive){0};
        home_must(h, catalog_archive_get(h->catalog, id, &h->a, &h->e));
        assert_true(h->a.state == ARCHIVE_STORED || h->a.state == ARCHIVE_INCOMPLETE);
}
