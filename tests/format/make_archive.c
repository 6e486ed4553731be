/* make_archive - one whole archive of the files named, in the set-up AUTOGLACIER_HOME:
 *
 *     AUTOGLACIER_HOME=DIR make_archive FILE…
 *
 * For the tests that let other programs read what the whole chain writes. */
#include "base.h"
#include "config.h"
#include "engine.h"

static int run(const char *const *files, struct err *e)
{
        _cleanup_(config_freep) struct config *config = NULL;
        _cleanup_(engine_closep) struct engine *g = NULL;
        _cleanup_free_ char *text = NULL;
        _cleanup_free_ char *id = NULL;
        int r = config_load(NULL, &config, e);
        if (r == 0)
                r = engine_open(config, ENGINE_WORK, NULL, &g, e);
        if (r == 0)
                r = engine_prepare(g, &text, e);
        if (r == 0)
                r = engine_backup(g, "an archive for the tests", files, &id, e);
        if (r == 0)
                r = engine_run(g, id, e);
        return r;
}

int main(int argc, char **argv)
{
        struct err e = {0};
        if (argc < 2 || !getenv("AUTOGLACIER_HOME")) {
                (void)fprintf(stderr, "usage: AUTOGLACIER_HOME=DIR make_archive FILE...\n");
                return 2;
        }
        int r = run((const char *const *)(argv + 1), &e);
        if (r != 0)
                (void)fprintf(stderr, "make_archive: %s\n", e.text);
        return r != 0;
}
