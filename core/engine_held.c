#include "engine_internal.h"

struct held *held_find(struct engine *g, const char *id)
{
        for (struct held *h = g->held; h; h = h->next)
                if (streq(h->id, id))
                        return h;
        return NULL;
}

static void held_free(struct held *h)
{
        base_closep(&h->lock);
        buf_done(&h->text);
        free(h->id);
        free(h);
}

int held_add(struct engine *g, const char *id, int lock, const char *text, size_t len)
{
        struct held *h = calloc(1, sizeof *h);
        if (!h)
                return -ENOMEM;
        h->lock = -EBADF;
        h->id = strdup(id);
        buf_add(&h->text, text, len);
        if (!h->id || buf_oom(&h->text)) {
                held_free(h);
                return -ENOMEM;
        }
        h->lock = lock;
        pthread_mutex_lock(&g->lock);
        h->next = g->held;
        g->held = h;
        pthread_mutex_unlock(&g->lock);
        return 0;
}

int held_take(struct engine *g, const char *id)
{
        int fd = -ENOENT;
        pthread_mutex_lock(&g->lock);
        for (struct held **p = &g->held; *p; p = &(*p)->next) {
                struct held *h = *p;
                if (!streq(h->id, id))
                        continue;
                *p = h->next;
                fd = steal_fd(&h->lock);
                held_free(h);
                break;
        }
        pthread_mutex_unlock(&g->lock);
        return fd;
}

void held_drop_all(struct engine *g)
{
        while (g->held) {
                struct held *h = g->held;
                g->held = h->next;
                held_free(h);
        }
}
