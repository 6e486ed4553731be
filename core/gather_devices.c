#include "gather_devices.h"

#include "bytes.h"
#include "gather.h"
#include "gather_names.h"
#include "gather_open.h"
#include "gather_path.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#define BY_UUID "/dev/disk/by-uuid"

/* ---- a mount, as /proc/self/mountinfo has it ---- */

struct mount {
        char type[64];
        char source[256];
};

/* "36 35 98:0 /root /where rw,noatime master:1 - ext3 /dev/root rw": proc(5) */
static bool parse_mount(const char *line, uint64_t id, struct mount *ret)
{
        char *end;
        if (strtoull(line, &end, 10) != id || *end != ' ')
                return false;
        const char *dash = strstr(end, " - ");
        return dash && sscanf(dash + 3, "%63s %255s", ret->type, ret->source) == 2;
}

static int find_mount(uint64_t id, struct mount *ret)
{
        _cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
        if (!f)
                return -errno;
        _cleanup_free_ char *line = NULL;
        size_t room = 0;
        while (getline(&line, &room, f) > 0)
                if (parse_mount(line, id, ret))
                        return 0;
        return -ENODEV;
}

/* The UUID of the filesystem on a block device, as udev has it. */
static bool find_uuid(dev_t dev, char *out, size_t size)
{
        DIR *d = opendir(BY_UUID);
        if (!d)
                return false;
        bool found = false;
        for (const struct dirent *i; !found && (i = readdir(d));) {
                struct stat st;
                if (fstatat(dirfd(d), i->d_name, &st, 0) == 0 && S_ISBLK(st.st_mode) &&
                        st.st_rdev == dev)
                        found = snprintf(out, size, "uuid=%s", i->d_name) < (int)size;
        }
        (void)closedir(d); /* only read */
        return found;
}

/* f_fsid is made of the UUID by these, of the device number by others. */
static bool has_stable_fsid(const char *type)
{
        static const char *const types[] = {
                "ext2", "ext3", "ext4", "btrfs", "f2fs", "zfs", "ocfs2", "erofs"};
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if (streq(type, types[i]))
                        return true;
        return false;
}

static void identify(const struct mount *m, int fd, dev_t dev, char *out, size_t size)
{
        struct stat st;
        struct statfs fs;
        bool block = m->source[0] == '/' && stat(m->source, &st) == 0 && S_ISBLK(st.st_mode);
        if (find_uuid(block ? st.st_rdev : dev, out, size))
                return;
        uint32_t id[2];
        if (has_stable_fsid(m->type) && fstatfs(fd, &fs) == 0) {
                memcpy(id, &fs.f_fsid, sizeof id);
                if (id[0] || id[1]) {
                        (void)snprintf(out, size, "fsid=%08x%08x", id[0], id[1]);
                        return;
                }
        }
        (void)snprintf(out, size, "source=%s", m->source);
}

int gather_mounts_look(struct gather_mounts *m, int fd)
{
        struct statx x;
        if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_MNT_ID | STATX_TYPE, &x) < 0)
                return -errno;
        if (m->known && m->mount == x.stx_mnt_id)
                return 0;
        struct mount mount;
        int r = find_mount(x.stx_mnt_id, &mount);
        if (r < 0)
                return r;
        char id[300];
        identify(&mount, fd, makedev(x.stx_dev_major, x.stx_dev_minor), id, sizeof id);
        (void)snprintf(m->fs, sizeof m->fs, "%s %s", mount.type, id); /* both fit */
        m->mount = x.stx_mnt_id;
        m->known = true;
        return 0;
}

bool gather_mounts_is_ours(const struct gather_mounts *m)
{
        return startswith(m->fs, "fuse.autoglacier ") != NULL;
}

/* ---- the table ---- */

static int set_text(json_t *o, const char *key, const char *text)
{
        size_t len = strlen(text);
        if (bytes_is_utf8(text, len))
                return json_object_set_new(o, key, json_string(text));
        _cleanup_free_ char *name = NULL;
        _cleanup_free_ char *base64 = malloc(BYTES_BASE64_LEN(len));
        if (!base64 || asprintf(&name, "%s_base64", key) < 0)
                return -1;
        bytes_base64(text, len, base64);
        return json_object_set_new(o, name, json_string(base64));
}

static int add_row(json_t *list, const char *name, const char *target, dev_t dev, const char *fs)
{
        char number[64];
        (void)snprintf(number, sizeof number, "%u:%u", major(dev), minor(dev));
        json_t *row = json_object();
        if (set_text(row, "name", name) < 0 || set_text(row, "target", target) < 0 ||
                set_text(row, "dev", number) < 0 || set_text(row, "fs", fs) < 0) {
                json_decref(row);
                return -ENOMEM;
        }
        return json_array_append_new(list, row) < 0 ? -ENOMEM : 0;
}

/* One link at the top. What does not lead to anything is not in the table. */
static int add_link(json_t *list, int tree_fd, const char *mountpoint, const char *name,
        struct gather_mounts *mounts)
{
        static const struct gather_ids self;
        _cleanup_free_ char *text = NULL, *target = NULL;
        int r = gather_read_link(&self, tree_fd, name, &text);
        if (r < 0)
                return r == -EINVAL || r == -ENOENT ? 0 : r;
        bool inside;
        r = gather_path_resolve(mountpoint, text, &target, &inside);
        if (r < 0 || inside)
                return r;
        _cleanup_close_ int fd = open(target, O_PATH | O_CLOEXEC);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) < 0 || gather_mounts_look(mounts, fd) < 0)
                return 0;
        return add_row(list, name, target, st.st_dev, mounts->fs);
}

int gather_devices(int tree_fd, const char *mountpoint, char **ret_json, struct err *e)
{
        static const struct gather_ids self;
        bool noatime = false;
        _cleanup_close_ int fd = gather_open_at(&self, tree_fd, ".", O_DIRECTORY, &noatime);
        if (fd < 0)
                return err_errno(e, fd, "cannot read the staging area");
        _cleanup_(gather_names_done) struct gather_names names;
        int r = gather_names_read(&names, fd);
        if (r < 0)
                return err_errno(e, r, "cannot read the staging area");
        json_t *list = json_array();
        struct gather_mounts mounts = {0};
        for (size_t i = 0; r == 0 && i < names.n; i++) {
                unsigned char type;
                const char *name = gather_names_get(&names, i, &type);
                if (type != DT_LNK && type != DT_UNKNOWN)
                        continue;
                r = add_link(list, fd, mountpoint, name, &mounts);
                if (r < 0)
                        (void)err_errno(e, r, "cannot look at the link %s", name);
        }
        char *json = r == 0 ? json_dumps(list, JSON_COMPACT) : NULL;
        json_decref(list);
        if (r < 0)
                return r;
        if (!json)
                return err_oom(e);
        *ret_json = json;
        return 0;
}

struct gather_table {
        json_t *by_name; /* "u" + name, or "b" + its base64: row */
};

int gather_table_load(const char *json, struct gather_table **ret, struct err *e)
{
        json_error_t why;
        json_t *list = json_loads(json, 0, &why);
        if (!json_is_array(list)) {
                json_decref(list);
                return err_set(e, -EPROTO, "the list of linked devices is broken: %s",
                        list ? "not a list" : why.text);
        }
        _cleanup_(gather_table_freep) struct gather_table *t = calloc(1, sizeof *t);
        if (t)
                t->by_name = json_object();
        size_t i;
        json_t *row;
        json_array_foreach(list, i, row)
        {
                const char *name = json_string_value(json_object_get(row, "name"));
                const char *base64 = json_string_value(json_object_get(row, "name_base64"));
                _cleanup_free_ char *key = NULL;
                if (!t || (!name && !base64))
                        continue;
                if (asprintf(&key, "%c%s", name ? 'u' : 'b', name ? name : base64) < 0 ||
                        json_object_set(t->by_name, key, row) < 0)
                        gather_table_free(steal(t));
        }
        json_decref(list);
        if (!t || !t->by_name)
                return err_oom(e);
        *ret = steal(t);
        return 0;
}

void gather_table_free(struct gather_table *t)
{
        if (!t)
                return;
        json_decref(t->by_name);
        free(t);
}

const char *gather_table_fs(const struct gather_table *t, const char *name)
{
        size_t len = strlen(name);
        bool utf8 = bytes_is_utf8(name, len);
        _cleanup_free_ char *key = malloc(1 + BYTES_BASE64_LEN(len));
        if (!t || !key)
                return NULL;
        key[0] = utf8 ? 'u' : 'b';
        if (utf8)
                memcpy(key + 1, name, len + 1);
        else
                bytes_base64(name, len, key + 1);
        return json_string_value(json_object_get(json_object_get(t->by_name, key), "fs"));
}
