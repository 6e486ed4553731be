/* Requests against a server of a few lines that answers as it is told. */
#include <setjmp.h>
#include <stdarg.h>

#include "clock.h"
#include "http.h"

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>

static struct err err;
#define E (&err)

/* ---- the server: one answer for every request, on connections that stay open ---- */

struct server {
        int fd;
        unsigned port;
        const char *answer; /* NULL: silence */
        size_t answer_len;
        atomic_uint connections, requests;
        pthread_mutex_t lock;
        struct buf seen; /* the last request */
        pthread_t thread;
        int conns[16];
        pthread_t threads[16];
};

struct connection {
        struct server *s;
        int fd;
};

/* Bytes of the first whole request in `b`, 0 if it is not there yet. */
static size_t whole_request(const struct buf *b)
{
        const char *end = strstr(buf_str(b), "\r\n\r\n");
        if (!end)
                return 0;
        const char *length = strstr(buf_str(b), "Content-Length: ");
        size_t n = (size_t)(end - b->data) + 4;
        if (length && length < end)
                n += strtoul(length + 16, NULL, 10);
        return b->len >= n ? n : 0;
}

static void *talk(void *arg)
{
        struct connection c = *(struct connection *)arg;
        free(arg);
        static _Thread_local char data[65536];
        struct buf request = BUF_INIT;
        ssize_t n;
        while ((n = read(c.fd, data, sizeof data)) > 0) {
                buf_add(&request, data, (size_t)n);
                if (whole_request(&request) == 0)
                        continue;
                pthread_mutex_lock(&c.s->lock);
                buf_reset(&c.s->seen);
                buf_add(&c.s->seen, request.data, request.len);
                pthread_mutex_unlock(&c.s->lock);
                buf_reset(&request);
                atomic_fetch_add(&c.s->requests, 1);
                if (c.s->answer) /* nobody may be there to read it any more */
                        (void)send(c.fd, c.s->answer, c.s->answer_len, MSG_NOSIGNAL);
        }
        buf_done(&request);
        return NULL;
}

static void *serve(void *arg)
{
        struct server *s = arg;
        int fd;
        while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
                unsigned i = atomic_fetch_add(&s->connections, 1);
                struct connection *c = malloc(sizeof *c);
                assert_true(i < ARRAY_SIZE(s->conns));
                *c = (struct connection){s, fd};
                s->conns[i] = fd;
                pthread_create(&s->threads[i], NULL, talk, c);
        }
        return NULL;
}

static int bind_somewhere(unsigned *ret_port)
{
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
        *ret_port = ntohs(a.sin_port);
        return fd;
}

static void server_start(struct server *s, const char *answer)
{
        *s = (struct server){.answer = answer, .answer_len = answer ? strlen(answer) : 0};
        pthread_mutex_init(&s->lock, NULL);
        s->fd = bind_somewhere(&s->port);
        assert_int_equal(listen(s->fd, 16), 0);
        pthread_create(&s->thread, NULL, serve, s);
}

static void server_stop(struct server *s)
{
        shutdown(s->fd, SHUT_RDWR);
        pthread_join(s->thread, NULL);
        close(s->fd);
        for (unsigned i = 0; i < atomic_load(&s->connections); i++) {
                shutdown(s->conns[i], SHUT_RDWR);
                pthread_join(s->threads[i], NULL);
                close(s->conns[i]);
        }
        buf_done(&s->seen);
}

struct setup {
        struct server s;
        struct http *h;
        char url[64];
        struct http_answer a;
};

static void start(struct setup *u, const char *answer)
{
        *u = (struct setup){0};
        server_start(&u->s, answer);
        (void)snprintf(u->url, sizeof u->url, "http://127.0.0.1:%u/x", u->s.port);
        assert_int_equal(http_new(false, &u->h, E), 0);
}

static void end(struct setup *u)
{
        http_answer_done(&u->a);
        http_free(u->h);
        server_stop(&u->s);
}

static int get(struct setup *u, struct http_request r)
{
        r.method = r.method ? r.method : "GET";
        r.url = r.url ? r.url : u->url;
        return http_do(u->h, &r, &u->a, E);
}

/* ---- */

static void an_answer_is_status_headers_and_body(void **state _unused_)
{
        struct setup u;
        char v[16];
        start(&u, "HTTP/1.1 404 Not Found\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello");
        assert_int_equal(get(&u, (struct http_request){.headers = "X-Mine: yes\nAccept:\n"}), 0);
        assert_int_equal(u.a.status, 404);
        assert_string_equal(buf_str(&u.a.body), "hello");
        assert_true(http_header(&u.a, "x-one", v, sizeof v));
        assert_string_equal(v, "1");
        assert_non_null(strstr(buf_str(&u.s.seen), "X-Mine: yes\r\n"));
        end(&u);
}

static void a_redirect_is_not_followed(void **state _unused_)
{
        struct setup u;
        start(&u, "HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
        assert_int_equal(get(&u, (struct http_request){0}), 0);
        assert_int_equal(u.a.status, 307);
        assert_int_equal(atomic_load(&u.s.requests), 1);
        end(&u);
}

static void a_connection_is_used_again(void **state _unused_)
{
        struct setup u;
        start(&u, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        for (unsigned i = 0; i < 5; i++) {
                assert_int_equal(get(&u, (struct http_request){0}), 0);
        }
        assert_int_equal(atomic_load(&u.s.connections), 1);
        end(&u);
}

static void a_body_goes_where_it_should_and_no_further(void **state _unused_)
{
        struct setup u;
        char into[8] = "";
        start(&u, "HTTP/1.1 206 Part\r\nContent-Length: 5\r\n\r\nhello");
        assert_int_equal(get(&u, (struct http_request){.into = into, .into_len = 8}), 0);
        assert_int_equal(u.a.received, 5);
        assert_string_equal(into, "hello");
        assert_int_equal(get(&u, (struct http_request){.into = into, .into_len = 4}), -EFBIG);
        end(&u);
}

static void an_answer_that_ends_early_is_no_answer(void **state _unused_)
{
        struct setup u;
        start(&u, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
        assert_int_equal(get(&u, (struct http_request){.stall_seconds = 1}), -EAGAIN);
        assert_true(*err.text);
        end(&u);
}

static void silence_is_given_up(void **state _unused_)
{
        struct setup u;
        start(&u, NULL);
        assert_int_equal(get(&u, (struct http_request){.stall_seconds = 1}), -EAGAIN);
        assert_non_null(strstr(err.text, "does not answer"));
        end(&u);
}

struct late {
        struct setup *u;
        atomic_bool *stop;
};

static void *raise_flag(void *arg)
{
        struct late *l = arg;
        while (atomic_load(&l->u->s.requests) == 0)
                (void)usleep(1000); /* until the request is there */
        atomic_store(l->stop, true);
        return NULL;
}

static void a_flag_ends_a_transfer(void **state _unused_)
{
        struct setup u;
        atomic_bool stop = false;
        start(&u, NULL);
        struct late l = {&u, &stop};
        pthread_t t;
        pthread_create(&t, NULL, raise_flag, &l);
        int64_t begin = clock_monotonic();
        assert_int_equal(
                get(&u, (struct http_request){.stop = &stop, .stall_seconds = 600}), -ECANCELED);
        assert_true(clock_monotonic() - begin < 100 * CLOCK_NSEC);
        pthread_join(t, NULL);
        assert_int_equal(get(&u, (struct http_request){.stop = &stop}), -ECANCELED);
        end(&u);
}

static void nobody_there_may_be_there_later(void **state _unused_)
{
        struct setup u = {0};
        int fd = bind_somewhere(&u.s.port); /* and nobody listens */
        (void)snprintf(u.url, sizeof u.url, "http://127.0.0.1:%u/", u.s.port);
        assert_int_equal(http_new(false, &u.h, E), 0);
        assert_int_equal(get(&u, (struct http_request){0}), -EAGAIN);
        assert_non_null(strstr(err.text, "127.0.0.1"));
        http_free(u.h);
        close(fd);
}

static void without_tls_only_this_machine_is_spoken_to(void **state _unused_)
{
        struct setup u;
        start(&u, NULL);
        const char *const bad[] = {"http://192.0.2.1/", "http://localhost.invalid/",
                "ftp://127.0.0.1/", "http://0x7f000001.example/"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(get(&u, (struct http_request){.url = bad[i]}), -EINVAL);
        end(&u);
}

static void count(void *ctx, size_t bytes)
{
        *(size_t *)ctx += bytes;
}

static void every_byte_that_leaves_is_announced(void **state _unused_)
{
        struct setup u;
        static char body[300000];
        size_t sent = 0;
        start(&u, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        memset(body, 'x', sizeof body);
        const struct http_request r = {.method = "PUT",
                .body = body,
                .body_len = sizeof body,
                .sending = count,
                .ctx = &sent};
        assert_int_equal(get(&u, r), 0);
        assert_int_equal(sent, sizeof body);
        assert_true(u.s.seen.len > sizeof body);
        end(&u);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_answer_is_status_headers_and_body),
                cmocka_unit_test(a_redirect_is_not_followed),
                cmocka_unit_test(a_connection_is_used_again),
                cmocka_unit_test(a_body_goes_where_it_should_and_no_further),
                cmocka_unit_test(an_answer_that_ends_early_is_no_answer),
                cmocka_unit_test(silence_is_given_up),
                cmocka_unit_test(a_flag_ends_a_transfer),
                cmocka_unit_test(nobody_there_may_be_there_later),
                cmocka_unit_test(without_tls_only_this_machine_is_spoken_to),
                cmocka_unit_test(every_byte_that_leaves_is_announced),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
