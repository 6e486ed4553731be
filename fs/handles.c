#include "handles.h"

void handles_init(struct handles *all)
{
        *all = (struct handles){0};
        pthread_mutex_init(&all->lock, NULL);
}

void handles_enter(struct handles *all, struct handle_link *l, void (*fn)(struct handle_link *l))
{
        pthread_mutex_lock(&all->lock);
        *l = (struct handle_link){.all = all, .next = all->first, .free = fn};
        if (all->first)
                all->first->prev = l;
        all->first = l;
        pthread_mutex_unlock(&all->lock);
}

void handles_leave(struct handle_link *l)
{
        struct handles *all = l->all;
        if (!all)
                return;
        pthread_mutex_lock(&all->lock);
        if (l->prev)
                l->prev->next = l->next;
        else
                all->first = l->next;
        if (l->next)
                l->next->prev = l->prev;
        l->all = NULL;
        pthread_mutex_unlock(&all->lock);
}

void handles_done(struct handles *all)
{
        while (all->first)
                all->first->free(all->first);
        pthread_mutex_destroy(&all->lock);
}
