#include "virtual_internal.h"

#include "clock.h"
#include "engine.h"

int vtree_new(struct mount *m, struct vtree **ret, struct err *e)
{
        struct vtree *t = calloc(1, sizeof *t);
        if (!t)
                return err_oom(e);
        t->m = m;
        t->changed = t->frozen = clock_now();
        pthread_mutex_init(&t->lock, NULL);
        *ret = t;
        return 0;
}

static void vnode_free(struct vnode *v)
{
        free(v->id);
        free(v->name);
        free(v->base);
        free(v->link);
        free(v);
}

void vtree_free(struct vtree *t)
{
        if (!t)
                return;
        for (size_t b = 0; b < VNODE_BUCKETS; b++)
                while (t->buckets[b]) {
                        struct vnode *v = t->buckets[b];
                        t->buckets[b] = v->next;
                        vnode_free(v);
                }
        for (size_t i = 0; i < ARRAY_SIZE(t->read); i++)
                free(t->read[i]);
        while (t->n_pool > 0)
                catalog_close(t->pool[--t->n_pool]);
        pthread_mutex_destroy(&t->lock);
        free(t);
}

struct vnode *vnode_of(fuse_ino_t ino)
{
        return (struct vnode *)ino;
}

/* kind in the low byte; members have numbers of their own. */
uint64_t vnode_number(enum vkind kind, int64_t archive, int64_t member)
{
        if (kind == V_MEMBER)
                return NODE_VIRTUAL_INO | 1ull << 61 | (uint64_t)member;
        return NODE_VIRTUAL_INO | (uint64_t)archive << 8 | (uint64_t)kind;
}

uint64_t vnode_number_elsewhere(int64_t archive, int64_t member)
{
        return NODE_VIRTUAL_INO | 3ull << 60 | ((uint64_t)archive & 0xffff) << 44 |
               ((uint64_t)member & 0xfffffffffff);
}

static uint64_t number_of(const struct vnode *v)
{
        return v->base ? vnode_number_elsewhere(v->archive, v->member)
                       : vnode_number(v->kind, v->archive, v->member);
}

static struct vnode **bucket(struct vtree *t, uint64_t number)
{
        return &t->buckets[(number * 0x9e3779b97f4a7c15ull >> 40) % VNODE_BUCKETS];
}

static struct vnode *make(
        enum vkind kind, const struct catalog_archive *a, const struct catalog_member *m)
{
        struct vnode *v = calloc(1, sizeof *v);
        if (!v)
                return NULL;
        v->node.ops = &virtual_ops;
        v->kind = kind;
        v->archive = a ? a->row : 0;
        v->member = m ? m->row : 0;
        v->id = a ? strdup(a->id) : NULL;
        v->name = a ? strdup(a->name) : NULL;
        v->link = m && m->type == 'l' && m->link ? strdup(m->link) : NULL;
        if (m)
                content_member_stat(m, &v->st);
        if ((a && (!v->id || !v->name)) || (m && m->type == 'l' && m->link && !v->link)) {
                vnode_free(v);
                return NULL;
        }
        return v;
}

/* Under the lock: the node of this number, or a new one; `made` is taken. */
static struct vnode *keep(struct vtree *t, uint64_t number, struct vnode *made)
{
        struct vnode **b = bucket(t, number), *v = *b;
        while (v && number_of(v) != number)
                v = v->next;
        if (v) {
                vnode_free(made);
        } else {
                v = made;
                v->next = *b;
                *b = v;
        }
        v->node.lookups++;
        return v;
}

struct vnode *vnode_get(struct vtree *t, enum vkind kind, const struct catalog_archive *a,
        const struct catalog_member *m)
{
        struct vnode *v = make(kind, a, m);
        if (!v)
                return NULL;
        pthread_mutex_lock(&t->lock);
        v = keep(t, number_of(v), v);
        pthread_mutex_unlock(&t->lock);
        return v;
}

struct vnode *vnode_get_elsewhere(struct vtree *t, const struct catalog_archive *a,
        const char *base, const struct catalog_member *m)
{
        struct vnode *v = make(V_MEMBER, a, m);
        if (v && !(v->base = strdup(base))) {
                vnode_free(v);
                v = NULL;
        }
        if (!v)
                return NULL;
        v->st.st_ino = number_of(v);
        pthread_mutex_lock(&t->lock);
        v = keep(t, number_of(v), v);
        pthread_mutex_unlock(&t->lock);
        return v;
}

struct vnode *vnode_get_job(struct vtree *t, enum vkind kind, const char *name)
{
        const struct catalog_archive a = {
                .row = (int64_t)job_number(name), .id = (char *)"", .name = (char *)name};
        return vnode_get(t, kind, &a, NULL);
}

void vnode_forget(struct vtree *t, struct vnode *v, uint64_t n)
{
        pthread_mutex_lock(&t->lock);
        v->node.lookups -= MIN(n, v->node.lookups);
        bool gone = v->node.lookups == 0;
        if (gone) {
                struct vnode **p = bucket(t, number_of(v));
                while (*p != v)
                        p = &(*p)->next;
                *p = v->next;
        }
        pthread_mutex_unlock(&t->lock);
        if (gone)
                vnode_free(v);
}

struct catalog *vtree_catalog(struct vtree *t, struct err *e)
{
        struct catalog *c = NULL;
        pthread_mutex_lock(&t->lock);
        if (t->n_pool > 0)
                c = t->pool[--t->n_pool];
        pthread_mutex_unlock(&t->lock);
        if (!c && engine_catalog(t->m->engine, &c, e) < 0)
                return NULL;
        return c;
}

/* FNV-1a (RFC draft-eastlake-fnv): only to see that something changed. */
static uint64_t hash_of(const struct buf *text)
{
        uint64_t h = 0xcbf29ce484222325ull;
        for (size_t i = 0; i < text->len; i++)
                h = (h ^ (unsigned char)text->data[i]) * 0x100000001b3ull;
        return h;
}

void vtree_note_read(struct vtree *t, const char *text)
{
        char *copy =
                strdup(text); /* without it an editor's work is not recognized: it is only longer */
        pthread_mutex_lock(&t->lock);
        if (copy && !(t->read[0] && streq(t->read[0], text))) {
                free(t->read[ARRAY_SIZE(t->read) - 1]);
                memmove(t->read + 1, t->read, sizeof t->read - sizeof t->read[0]);
                t->read[0] = steal(copy);
        }
        pthread_mutex_unlock(&t->lock);
        free(copy);
}

struct control *vtree_control(struct vtree *t, const struct control_actions *actions)
{
        const char *helps[ARRAY_SIZE(t->read) + 1] = {0};
        pthread_mutex_lock(&t->lock);
        for (size_t i = 0; i < ARRAY_SIZE(t->read) && t->read[i]; i++)
                helps[i] = t->read[i];
        struct control *c = control_new(helps, actions);
        pthread_mutex_unlock(&t->lock);
        return c;
}

int64_t vtree_since(struct vtree *t, enum vkind kind, const struct buf *text)
{
        uint64_t h = hash_of(text);
        pthread_mutex_lock(&t->lock);
        if (t->shown[kind].hash != h) {
                t->shown[kind].hash = h;
                t->shown[kind].since = clock_now();
        }
        int64_t since = t->shown[kind].since;
        pthread_mutex_unlock(&t->lock);
        return since;
}

void vtree_give(struct vtree *t, struct catalog **c)
{
        pthread_mutex_lock(&t->lock);
        if (t->n_pool < VTREE_POOL) {
                t->pool[t->n_pool++] = *c;
                *c = NULL;
        }
        pthread_mutex_unlock(&t->lock);
        catalog_close(*c);
        *c = NULL;
}
