#include "virtual_internal.h"

/* Of most archives all is in them; then nothing of this is needed. */
bool state_spans(struct catalog *c, const struct vnode *v)
{
        bool yes = false;
        return catalog_has_unchanged(c, v->id, &yes, NULL) == 0 && yes;
}

/* The folder's path; "" for files/ itself. The caller frees it. */
static int folder_path(struct catalog *c, const struct vnode *v, char **ret)
{
        if (v->kind != V_MEMBER)
                return (*ret = strdup("")) ? 0 : -ENOMEM;
        return catalog_member_path(c, v->member, ret, NULL);
}

int state_lookup(struct catalog *c, const struct vnode *v, const char *name,
        catalog_unchanged_fn found, void *ctx)
{
        _cleanup_free_ char *folder = NULL, *path = NULL;
        int q = folder_path(c, v, &folder);
        if (q < 0)
                return q;
        if (asprintf(&path, "%s%s%s", folder, *folder ? "/" : "", name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        return catalog_state_lookup(c, v->id, path, found, ctx, NULL);
}

int state_list(struct catalog *c, const struct vnode *v, catalog_unchanged_fn each, void *ctx)
{
        _cleanup_free_ char *folder = NULL;
        int q = folder_path(c, v, &folder);
        return q < 0 ? q : catalog_state_children(c, v->id, folder, each, ctx, NULL);
}
