#include "agent_internal.h"

#include "bytes.h"
#include "keys.h"
#include "secret.h"

#include <fcntl.h>

static int nobody(struct err *e)
{
        return err_set(e, -ENOENT,
                "no running program keeps keys for this data folder; start one with: autoglacier "
                "mount");
}

static int dial(const char *data, int *ret_fd, struct err *e)
{
        struct sockaddr_un at;
        _cleanup_close_ int dir = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
                return errno == ENOENT
                               ? nobody(e)
                               : err_errno(e, -errno, "cannot open the data folder %s", data);
        int q = agent_address(dir, &at);
        if (q < 0)
                return err_errno(e, q, "cannot name the agent's socket");
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return err_errno(e, -errno, "cannot make a socket");
        if (connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
                return errno == ENOENT || errno == ECONNREFUSED
                               ? nobody(e)
                               : err_errno(e, -errno, "cannot talk to the running program");
        if (!agent_is_ours(fd))
                return err_set(e, -EACCES,
                        "agent.sock in the data folder %s is served by another user", data);
        *ret_fd = steal_fd(&fd);
        return 0;
}

/* Takes the answer apart: the sentence goes to `e`, `len` bytes of data to `ret`. */
static int understand(struct bytes b, void *ret, size_t len, struct err *e)
{
        uint32_t code = bytes_u32(&b);
        if (b.bad || code > 4095)
                return err_set(e, -EPROTO, "the running program's answer makes no sense");
        if (code != 0)
                return err_set(e, -(int)code, "%.*s", (int)b.left, (const char *)b.p);
        const uint8_t *data = bytes_take(&b, len);
        if (!data)
                return err_set(e, -EPROTO, "the running program's answer is cut off");
        if (len > 0)
                memcpy(ret, data, len);
        return 0;
}

static int call(const char *data, const void *request, size_t request_len, void *ret, size_t len,
        struct err *e)
{
        _cleanup_close_ int fd = -EBADF;
        int q = dial(data, &fd, e);
        if (q < 0)
                return q;
        if (send(fd, request, request_len, MSG_NOSIGNAL) < 0)
                return err_errno(e, -errno, "cannot talk to the running program");
        uint8_t answer[4 + ERR_TEXT_MAX];
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0)
                q = err_errno(e, -errno, "cannot hear the running program");
        else if (n == 0)
                q = err_set(e, -EPROTO, "the running program hung up without an answer");
        else
                q = understand(bytes_of(answer, (size_t)n), ret, len, e);
        secret_wipe(answer, sizeof answer);
        return q;
}

int agent_unlock(const char *data, const struct secret *passphrase, int64_t seconds, struct err *e)
{
        uint8_t m[AGENT_MESSAGE_MAX];
        if (passphrase->len > sizeof m - 10)
                return err_set(e, -EINVAL, "the passphrase is too long");
        m[0] = AGENT_VERSION;
        m[1] = AGENT_UNLOCK;
        uint8_t *p = bytes_put_u64(m + 2, (uint64_t)seconds);
        memcpy(p, passphrase->data, passphrase->len);
        int q = call(data, m, 10 + passphrase->len, NULL, 0, e);
        secret_wipe(m, sizeof m);
        return q;
}

int agent_lock(const char *data, struct err *e)
{
        const uint8_t m[] = {AGENT_VERSION, AGENT_LOCK};
        return call(data, m, sizeof m, NULL, 0, e);
}

int agent_unwrap(const char *data, const char *fingerprint, const uint8_t *wrapped, size_t len,
        uint8_t ret_data_key[32], struct err *e)
{
        uint8_t m[2 + KEYS_FINGERPRINT_LEN + KEYS_WRAPPED_MAX];
        if (strlen(fingerprint) != KEYS_FINGERPRINT_LEN || len > KEYS_WRAPPED_MAX)
                return err_set(e, -EINVAL, "a wrapped key that cannot be ours");
        m[0] = AGENT_VERSION;
        m[1] = AGENT_UNWRAP;
        memcpy(m + 2, fingerprint, KEYS_FINGERPRINT_LEN);
        memcpy(m + 2 + KEYS_FINGERPRINT_LEN, wrapped, len);
        return call(data, m, 2 + KEYS_FINGERPRINT_LEN + len, ret_data_key, 32, e);
}
