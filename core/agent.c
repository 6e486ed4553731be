#include "agent_internal.h"

#include "bytes.h"
#include "keys.h"
#include "secret.h"
#include "thread.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#define SECONDS_MAX (100ll * 366 * 86400)

struct agent {
        struct agent_ops ops;
        int data_fd, listener, wake;
        pthread_t thread;
        bool started;
        uint8_t message[AGENT_MESSAGE_MAX]; /* may hold a passphrase; wiped after use */
};

/* ---- both ends ---- */

int agent_address(int data_fd, struct sockaddr_un *ret)
{
        *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
        int n = snprintf(
                ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/agent.sock", data_fd);
        return n > 0 && (size_t)n < sizeof ret->sun_path ? 0 : -ENAMETOOLONG;
}

bool agent_is_ours(int fd)
{
        struct ucred who;
        socklen_t len = sizeof who;
        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}

/* ---- answering ---- */

static int do_unlock(struct agent *a, struct bytes *b, struct err *e)
{
        int64_t seconds = (int64_t)bytes_u64(b);
        _cleanup_secret_ struct secret *s = NULL;
        if (b->bad || b->left == 0 || seconds < 0 || seconds > SECONDS_MAX)
                return err_set(e, -EPROTO, "a request to unlock without a passphrase or a time");
        if (secret_copy(b->p, b->left, &s) < 0)
                return err_oom(e);
        return a->ops.unlock(a->ops.ctx, s, seconds, e);
}

static int do_unwrap(struct agent *a, struct bytes *b, uint8_t ret[32], struct err *e)
{
        char fingerprint[KEYS_FINGERPRINT_LEN + 1] = "";
        const uint8_t *p = bytes_take(b, KEYS_FINGERPRINT_LEN);
        if (!p || b->left == 0 || b->left > KEYS_WRAPPED_MAX)
                return err_set(e, -EPROTO, "a request to unwrap that is cut off or too long");
        memcpy(fingerprint, p, KEYS_FINGERPRINT_LEN);
        return a->ops.unwrap(a->ops.ctx, fingerprint, b->p, b->left, ret, e);
}

static int handle(struct agent *a, size_t len, uint8_t ret[32], size_t *ret_len, struct err *e)
{
        struct bytes b = bytes_of(a->message, len);
        unsigned version = bytes_u8(&b), operation = bytes_u8(&b);
        if (b.bad || version != AGENT_VERSION)
                return err_set(e, -EPROTONOSUPPORT,
                        "the running program speaks another version; restart it");
        switch (operation) {
        case AGENT_UNLOCK:
                return do_unlock(a, &b, e);
        case AGENT_LOCK:
                a->ops.lock(a->ops.ctx);
                return 0;
        case AGENT_UNWRAP:
                *ret_len = 32;
                return do_unwrap(a, &b, ret, e);
        default:
                return err_set(e, -EPROTO, "an unknown request");
        }
}

static void answer(int fd, int code, const void *data, size_t len)
{
        uint8_t out[4 + ERR_TEXT_MAX];
        uint8_t *p = bytes_put_u32(out, (uint32_t)-code);
        memcpy(p, data, len);
        (void)send(fd, out, 4 + len, MSG_NOSIGNAL); /* who asked may be gone */
        secret_wipe(out, sizeof out);
}

static void serve_one(struct agent *a)
{
        _cleanup_close_ int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
        const struct timeval patience = {.tv_sec = AGENT_PATIENCE_S};
        if (fd < 0 || !agent_is_ours(fd) ||
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
                return;
        ssize_t n = recv(fd, a->message, sizeof a->message, 0);
        if (n > 0) {
                uint8_t data_key[32];
                size_t len = 0;
                struct err why = {0};
                int q = handle(a, (size_t)n, data_key, &len, &why);
                if (q < 0)
                        answer(fd, q, why.text, strlen(why.text));
                else
                        answer(fd, 0, data_key, len);
                secret_wipe(data_key, sizeof data_key);
        }
        secret_wipe(a->message, sizeof a->message);
}

static void *serve(void *arg)
{
        struct agent *a = arg;
        for (;;) {
                struct pollfd p[] = {
                        {.fd = a->listener, .events = POLLIN}, {.fd = a->wake, .events = POLLIN}};
                int wait = a->ops.expire ? a->ops.expire(a->ops.ctx) : -1;
                if (poll(p, 2, wait) < 0 && errno != EINTR)
                        return NULL;
                if (p[1].revents)
                        return NULL;
                if (p[0].revents)
                        serve_one(a);
        }
}

/* ---- beginning and end ---- */

static int listen_on(struct agent *a, struct err *e)
{
        struct sockaddr_un at;
        int q = agent_address(a->data_fd, &at);
        if (q < 0)
                return err_errno(e, q, "cannot name the agent's socket");
        a->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (a->listener < 0)
                return err_errno(e, -errno, "cannot make the agent's socket");
        (void)unlinkat(a->data_fd, "agent.sock", 0); /* left by a program that was killed */
        if (bind(a->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
                fchmodat(a->data_fd, "agent.sock", 0600, 0) < 0 || listen(a->listener, 16) < 0)
                return err_errno(e, -errno, "cannot listen on agent.sock in the data folder");
        return 0;
}

static int start_thread(struct agent *a, struct err *e)
{
        int q = thread_start(&a->thread, serve, a);
        if (q < 0)
                return err_errno(e, q, "cannot start a thread");
        a->started = true;
        return 0;
}

int agent_start(const char *data, const struct agent_ops *ops, struct agent **ret, struct err *e)
{
        _cleanup_(agent_stopp) struct agent *a = calloc(1, sizeof *a);
        if (!a)
                return err_oom(e);
        a->ops = *ops;
        a->listener = a->wake = -EBADF;
        a->data_fd = open(data, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (a->data_fd < 0)
                return err_errno(e, -errno, "cannot open the data folder %s", data);
        a->wake = eventfd(0, EFD_CLOEXEC);
        if (a->wake < 0)
                return err_errno(e, -errno, "cannot make an event descriptor");
        int q = listen_on(a, e);
        if (q == 0)
                q = start_thread(a, e);
        if (q == 0)
                *ret = steal(a);
        return q;
}

void agent_stop(struct agent *a)
{
        if (!a)
                return;
        if (a->started) {
                (void)eventfd_write(a->wake, 1); /* cannot fail: it counts to one */
                pthread_join(a->thread, NULL);
                (void)unlinkat(a->data_fd, "agent.sock", 0); /* one that stays answers nobody */
        }
        base_closep(&a->listener);
        base_closep(&a->wake);
        base_closep(&a->data_fd);
        secret_wipe(a->message, sizeof a->message);
        free(a);
}
