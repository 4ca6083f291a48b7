#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ledger.h"

void fail(const char *what)
{
    perror(what);
    exit(1);
}

uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ull + time.tv_nsec;
}

void write_pattern(char *at, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        size_t place = i % PERIOD, column = place % LINE;
        char letter = 'a' + (column * 7 + place / LINE) % 26;
        at[i] = column == LINE - 2 ? '\r' : column == LINE - 1 ? '\n' : place - DOTTED < 2 ? '.' : letter;
    }
}

struct ledger *open_ledger(const char *file, uint64_t *entries)
{
    struct stat about;
    int fd = open(file, O_RDWR);
    if (fd < 0 || fstat(fd, &about) < 0)
        fail(file);
    if ((size_t)about.st_size < sizeof(struct ledger))
        errno = EINVAL, fail(file);
    struct ledger *ledger = mmap(NULL, about.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ledger == MAP_FAILED)
        fail(file);
    close(fd);
    *entries = (about.st_size - sizeof(struct ledger)) / sizeof(struct entry);
    return ledger;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void at_once(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

bool wire_connect(struct wire *wire, int port)
{
    struct sockaddr_in address = loopback(port);
    *wire = (struct wire){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    if (wire->fd < 0)
        return false;
    at_once(wire->fd);
    if (connect(wire->fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS)
        return true;
    wire_close(wire);
    return false;
}

int wire_listen(int port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        fail("cannot listen");
    return fd;
}

bool wire_accept(struct wire *wire, int listener)
{
    *wire = (struct wire){.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)};
    if (wire->fd >= 0)
        at_once(wire->fd);
    return wire->fd >= 0;
}

bool wire_send(struct wire *wire, const char *text, size_t length)
{
    wire->out = text;
    wire->left = length;
    return wire_flush(wire);
}

#ifdef WITH_TLS

#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *context;
static SSL_SESSION *newest;   /* of a client that resumes */

static void refuse(const char *what)
{
    fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void set_up(const SSL_METHOD *method)
{
    context = SSL_CTX_new(method);
    if (!context)
        refuse("no TLS");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
}

void tls_serve(const char *certificate, const char *key, bool resume)
{
    set_up(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        refuse(certificate);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
    if (!resume) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
}

static int remember(SSL *tls, SSL_SESSION *session)
{
    (void)tls;
    SSL_SESSION_free(newest);
    newest = session;
    return 1;
}

void tls_ask(bool resume)
{
    set_up(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    if (resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, remember);
    }
}

void wire_secure(struct wire *wire)
{
    SSL *tls = SSL_new(context);
    if (!tls || SSL_set_fd(tls, wire->fd) != 1)
        refuse("no TLS");
    if (SSL_is_server(tls))
        SSL_set_accept_state(tls);
    else {
        SSL_set_connect_state(tls);
        if (newest)
            SSL_set_session(tls, newest);
    }
    wire->tls = tls;
}

bool wire_is_secured(const struct wire *wire)
{
    return wire->tls && SSL_is_init_finished(wire->tls);
}

bool wire_is_resumed(const struct wire *wire)
{
    return wire->tls && SSL_session_reused(wire->tls);
}

static ssize_t outcome(struct wire *wire, int result)
{
    int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(wire->tls, result);
    ERR_clear_error();
    return result > 0 ? result : error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t tls_write(struct wire *wire)
{
    return outcome(wire, SSL_write(wire->tls, wire->out, wire->left));
}

static ssize_t tls_read(struct wire *wire, char *at, size_t room)
{
    return outcome(wire, SSL_read(wire->tls, at, room));
}

static void tls_close(struct wire *wire)
{
    if (SSL_is_init_finished(wire->tls))
        SSL_shutdown(wire->tls);
    SSL_free(wire->tls);
}

#else

static void refuse(void)
{
    fprintf(stderr, "built without TLS: install the Debian package libssl-dev\n");
    exit(1);
}

#define UNUSED __attribute__((unused))

void tls_serve(UNUSED const char *certificate, UNUSED const char *key, UNUSED bool resume) { refuse(); }
void tls_ask(UNUSED bool resume) { refuse(); }
void wire_secure(UNUSED struct wire *wire) { refuse(); }
bool wire_is_secured(const struct wire *wire) { return wire->tls; }
bool wire_is_resumed(const struct wire *wire) { return wire->tls; }
static ssize_t tls_write(UNUSED struct wire *wire) { return -1; }
static ssize_t tls_read(UNUSED struct wire *wire, UNUSED char *at, UNUSED size_t room) { return -1; }
static void tls_close(UNUSED struct wire *wire) { }

#endif

static bool is_for_later(void)
{
    return errno == EAGAIN || errno == ENOTCONN;   /* the latter while a connection is being made */
}

bool wire_flush(struct wire *wire)
{
    while (wire->left) {
        ssize_t done = wire->tls ? tls_write(wire) : send(wire->fd, wire->out, wire->left, MSG_NOSIGNAL);
        if (done < 0 && !wire->tls && is_for_later())
            done = 0;
        if (done <= 0)
            return done == 0;
        wire->out += done;
        wire->left -= done;
    }
    return true;
}

ssize_t wire_receive(struct wire *wire, char *at, size_t room)
{
    if (wire->tls)
        return tls_read(wire, at, room);
    ssize_t done = recv(wire->fd, at, room, 0);
    return done > 0 ? done : done < 0 && is_for_later() ? 0 : -1;
}

void wire_close(struct wire *wire)
{
    if (wire->tls)
        tls_close(wire);
    if (wire->fd >= 0)
        close(wire->fd);
    *wire = (struct wire){.fd = -1};
}
