#include "thaw.h"

#include "catalog.h"
#include "clock.h"
#include "io.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

/* What a file takes on the disk: not more than was read of it, holes take nothing. */
static uint64_t need_of(const struct thaw_file *f)
{
        return MIN(f->size, f->tar_len);
}

/* Of the folder, or of the one that is there and that it will be made in. */
static uint64_t free_near(const char *folder)
{
        _cleanup_free_ char *path = strdup(folder);
        struct statvfs v;
        char *slash = path;
        while (path && *path && slash) {
                if (statvfs(path, &v) == 0)
                        return (uint64_t)v.f_bavail * v.f_frsize;
                if ((slash = strrchr(path, '/')))
                        *slash = 0;
        }
        return UINT64_MAX;
}

static const struct thaw_file *largest(const struct thaw_plan *p)
{
        const struct thaw_file *f = NULL;
        for (size_t i = 0; i < p->n_files; i++)
                if (!f || need_of(&p->files[i]) > need_of(f))
                        f = &p->files[i];
        return f;
}

static int too_little(const char *what, uint64_t need, const char *where, uint64_t has,
        const char *advice, struct err *e)
{
        char needs[CLOCK_TEXT_MAX], room[CLOCK_TEXT_MAX];
        clock_bytes_words(need, needs);
        clock_bytes_words(has, room);
        return err_set(e, -ENOSPC,
                "%s needs %s, and the disk of %s has room for %s; nothing was asked of the store: "
                "%s",
                what, needs, where, room, advice);
}

int thaw_room_in_folder(const struct thaw_plan *p, const char *folder, struct err *e)
{
        uint64_t need = 0, has = free_near(folder);
        for (size_t i = 0; i < p->n_files; i++)
                need += need_of(&p->files[i]);
        return need <= has ? 0
                           : too_little("what is to be restored", need, folder, has,
                                     "make room, or name another folder", e);
}

int thaw_room_in_cache(struct catalog *c, const struct thaw_plan *p, const char *folder,
        uint64_t cached, struct err *e)
{
        const struct thaw_file *f = largest(p);
        uint64_t has = free_near(folder);
        _cleanup_free_ char *path = NULL;
        has = has > UINT64_MAX - cached ? UINT64_MAX : has + cached; /* that goes where it must */
        if (!f || need_of(f) <= has)
                return 0;
        int q = catalog_member_path(c, f->member, &path, e);
        return q < 0 ? q
                     : too_little(path, need_of(f), folder, has,
                               "make room, or restore it to a folder on another disk "
                               "(autoglacier restore)",
                               e);
}

int thaw_target_is_free(
        struct catalog *c, const struct thaw_plan *p, const char *folder, struct err *e)
{
        int q = 0;
        for (size_t i = 0; q == 0 && i < p->n_files; i++) {
                _cleanup_free_ char *path = NULL, *full = NULL;
                struct stat st;
                q = catalog_member_path(c, p->files[i].member, &path, e);
                if (q < 0)
                        break;
                if (!(full = io_join(folder, path)))
                        return err_oom(e);
                if (lstat(full, &st) == 0)
                        q = err_set(e, -EEXIST, "%s is there already; nothing was written", full);
        }
        return q;
}
