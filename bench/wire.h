/* Wire: a connection on the loopback interface that never blocks, in the clear or with TLS, with one stretch of output
 * under way. Made for edge-triggered epoll: whoever is told of an event flushes, then reads until there is nothing. */

#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct wire {
    int fd;            /* -1: closed */
    void *tls;         /* OpenSSL's; NULL in the clear */
    const char *out;   /* what is still to be written: it stays the caller's, and where it is */
    size_t left;
};

bool wire_connect(struct wire *wire, int port);
int wire_listen(int port);
bool wire_accept(struct wire *wire, int listener);

/* Write these octets; what does not go now goes with `wire_flush`. False: the connection is broken. */
bool wire_send(struct wire *wire, const char *text, size_t length);
bool wire_flush(struct wire *wire);

/* How many octets were read; 0: none now; -1: the other side has closed, or the connection is broken. */
ssize_t wire_receive(struct wire *wire, char *at, size_t room);
void wire_close(struct wire *wire);

/* TLS. The program ends, with a sentence, where it was built without. A server's sessions can be resumed unless not;
 * a client with `resume` goes on with the newest session that it was given. */
void tls_serve(const char *certificate, const char *key, bool resume);
void tls_ask(bool resume);
void wire_secure(struct wire *wire);
bool wire_is_secured(const struct wire *wire);   /* the handshake is done */
bool wire_is_resumed(const struct wire *wire);

void fail(const char *what);   /* says so, with the system's reason, and ends the program */

#endif
