#include "ask.h"

#include "secret.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <termios.h>

#define LINE_MAX_BYTES 4096u

static int open_terminal(void)
{
        return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

bool ask_possible(void)
{
        _cleanup_close_ int fd = open_terminal();
        return fd >= 0;
}

static void put(int fd, const char *s)
{
        if (write(fd, s, strlen(s)) < 0)
                return; /* a terminal that cannot be written cannot be asked either */
}

/* One line without its end, straight into locked memory. -ENODATA at the end of the input. */
static int read_line(int fd, struct secret **ret)
{
        _cleanup_secret_ struct secret *line = NULL;
        size_t n = 0;
        char c;
        int q = secret_new(LINE_MAX_BYTES, &line);
        if (q < 0)
                return q;
        for (;;) {
                ssize_t got = read(fd, &c, 1);
                if (got < 0)
                        return -errno; /* EINTR: the user wants out */
                if (got == 0 && n == 0)
                        return -ENODATA;
                if (got == 0 || c == '\n' || c == '\r')
                        break;
                if (n == LINE_MAX_BYTES)
                        return -EFBIG;
                line->data[n++] = (uint8_t)c;
        }
        return n > 0 ? secret_copy(line->data, n, ret) : -ENODATA;
}

/* ---- without echo ---- */

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* The terminal as it was, for a signal handler: one question at a time. */
static struct {
        int fd;
        struct termios before;
        struct sigaction old[ARRAY_SIZE(ends)];
} hidden;

/* Not every shell puts the echo back when a program is ended in the middle of a question. Then the
 * signal does what it would have done: it is pending until we return. */
static void on_end(int sig)
{
        (void)tcsetattr(hidden.fd, TCSANOW, &hidden.before); /* nothing more can be done here */
        for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
                if (ends[i] == sig)
                        (void)sigaction(sig, &hidden.old[i], NULL); /* as it was */
        (void)raise(sig);
}

static int hide(int fd)
{
        hidden.fd = fd;
        const struct sigaction sa = {.sa_handler = on_end};
        for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
                (void)sigaction(ends[i], &sa, &hidden.old[i]); /* a valid signal */
                if (hidden.old[i].sa_handler == SIG_IGN)
                        (void)sigaction(ends[i], &hidden.old[i], NULL); /* as nohup(1) wants it */
        }
        struct termios silent = hidden.before;
        silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        return tcsetattr(fd, TCSADRAIN, &silent) < 0 ? -errno : 0;
}

static void show(void)
{
        (void)tcsetattr(hidden.fd, TCSADRAIN, &hidden.before); /* as it was a moment ago */
        for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
                (void)sigaction(ends[i], &hidden.old[i], NULL); /* likewise */
}

static int read_hidden(int fd, const char *prompt, struct secret **ret)
{
        if (tcgetattr(fd, &hidden.before) < 0)
                return -errno;
        int q = hide(fd);
        if (q == 0) {
                put(fd, prompt);
                q = read_line(fd, ret);
                put(fd, "\n");
        }
        show();
        return q;
}

static int ask_hidden(const char *prompt, struct secret **ret, struct err *e)
{
        _cleanup_close_ int fd = open_terminal();
        if (fd < 0)
                return err_set(
                        e, -ENOKEY, "there is no terminal on which a passphrase can be asked");
        int q = read_hidden(fd, prompt, ret);
        if (q == -ENODATA)
                return err_set(e, -ENOKEY, "no passphrase was given");
        return q < 0 ? err_errno(e, q, "cannot read the passphrase") : 0;
}

int ask_passphrase(
        void *ctx _unused_, const char *path, unsigned attempt, struct secret **ret, struct err *e)
{
        char prompt[512];
        (void)snprintf(prompt, sizeof prompt,
                "%sPassphrase of %.400s: ", attempt > 0 ? "That is not it. " : "",
                path); /* cut where too long */
        return ask_hidden(prompt, ret, e);
}

int ask_new_passphrase(const char *path, struct secret **ret, struct err *e)
{
        char prompt[512];
        (void)snprintf(prompt, sizeof prompt, "New passphrase of %.400s: ", path); /* likewise */
        for (unsigned i = 0; i < 3; i++) {
                _cleanup_secret_ struct secret *first = NULL;
                _cleanup_secret_ struct secret *again = NULL;
                int q = ask_hidden(prompt, &first, e);
                if (q == 0)
                        q = ask_hidden("Once more: ", &again, e);
                if (q < 0)
                        return q;
                if (first->len == again->len &&
                        secret_equal(first->data, again->data, first->len)) {
                        *ret = steal(first);
                        return 0;
                }
                (void)fputs("The two are not alike.\n", stderr);
        }
        return err_set(e, -EACCES, "the two passphrases were not alike");
}

int ask_file(const char *path, struct secret **ret, struct err *e)
{
        _cleanup_close_ int own = -EBADF;
        struct stat st;
        int fd = STDIN_FILENO;
        if (!streq(path, "-"))
                fd = own = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &st) < 0)
                return err_errno(e, -errno, "cannot open the passphrase file %s", path);
        if (fd == own && S_ISREG(st.st_mode) && st.st_mode & 077)
                return err_set(e, -EACCES,
                        "%s holds a passphrase, but others can read it; make it yours alone with: "
                        "chmod 600 %s",
                        path, path);
        int q = read_line(fd, ret);
        if (q == -ENODATA)
                return err_set(e, -ENOKEY, "there is no passphrase in %s", path);
        return q < 0 ? err_errno(e, q, "cannot read the passphrase from %s", path) : 0;
}

bool ask_yes(const char *question)
{
        char answer[16] = "";
        _cleanup_close_ int fd = open_terminal();
        if (fd < 0)
                return false;
        put(fd, question);
        ssize_t n = read(fd, answer, sizeof answer - 1);
        if (n <= 0)
                return false;
        answer[strcspn(answer, "\n")] = 0;
        return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}
