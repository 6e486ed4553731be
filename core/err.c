#include "err.h"

void err_tame(char *s)
{
        for (; *s; s++) {
                bool second = (unsigned char)*s == 0xc2 && ((unsigned char)s[1] & 0xe0) == 0x80;
                if ((unsigned char)*s < 0x20 || *s == 0x7f || second)
                        *s = '?';
                if (second)
                        *++s = '?';
        }
}

const char *err_words(int code)
{
        const char *s = strerrordesc_np(code < 0 ? -code : code);
        return s ? s : "Unknown error";
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
        char text[ERR_TEXT_MAX]; /* apart: the sentence that is there may be one of the arguments */
        if (!e)
                return code;
        e->code = code;
        e->wait_ns = 0;
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof text, fmt, ap); /* cut where too long */
        va_end(ap);
        memcpy(e->text, text, strlen(text) + 1);
        err_tame(e->text);
        return code;
}

static void append(struct err *e, const char *sep, const char *text)
{
        size_t n = strlen(e->text);
        (void)snprintf(e->text + n, sizeof e->text - n, "%s%s", sep, text); /* cut where too long */
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
        if (!e)
                return code;
        e->code = code;
        e->wait_ns = 0;
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(e->text, sizeof e->text, fmt, ap); /* cut where too long */
        va_end(ap);
        err_tame(e->text);
        append(e, ": ", err_words(code));
        return code;
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
        if (!e)
                return code;
        char rest[ERR_TEXT_MAX];
        memcpy(rest, e->text, sizeof rest);
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(e->text, sizeof e->text, fmt, ap); /* cut where too long */
        va_end(ap);
        err_tame(e->text);
        append(e, ": ", rest);
        if (!e->code)
                e->code = code;
        return e->code;
}

void err_hint(struct err *e, const char *fmt, ...)
{
        if (!e)
                return;
        char hint[ERR_TEXT_MAX];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(hint, sizeof hint, fmt, ap); /* cut where too long */
        va_end(ap);
        err_tame(hint);
        append(e, "; ", hint);
}

int err_oom(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

bool err_can_wait(int code)
{
        static const int codes[] = {-EAGAIN, -ENODEV, -ENOSPC, -EROFS, -EIO, -EDQUOT, -ENOMEM,
                -EMFILE, -ENFILE, -ETIMEDOUT, -ENXIO, -ENOTCONN, -EHOSTDOWN, -ESTALE, -ERESTART,
                -EBUSY, -EACCES, -EPERM, -ENOENT, -ENOTDIR, -ECONNREFUSED, -ECONNRESET,
                -ECONNABORTED, -EHOSTUNREACH, -ENETUNREACH, -ENETDOWN, -EPIPE};
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
                if (code == codes[i])
                        return true;
        return false;
}
