/* Sink: a next hop that takes all mail, and enters each message in the ledger: when it came, how often, and whether its
 * body is what was sent. One thread; it runs until it is killed.
 *
 *     sink --port PORT --ledger FILE [--certificate FILE --key FILE [--no-resume]]
 *
 * With a certificate it offers STARTTLS, and sessions can be resumed unless --no-resume. */

#define _GNU_SOURCE
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#include "ledger.h"
#include "wire.h"

#define ROOM 65536   /* for input that is not dealt with yet; a line is never longer */

enum place { COMMANDS, HEADER, BODY };

struct session {
    struct wire wire;
    enum place place;
    bool is_counted;     /* as one with TLS */
    bool is_altered;
    long number;         /* of the message that is coming in; -1: none was read */
    uint64_t octets;     /* of its body so far, and the CRLF before it */
    size_t held, told;
    char in[ROOM], out[4096];
};

static struct ledger *ledger;
static uint64_t entries;
static bool offers_tls;
static char pattern[ROOM + PERIOD];

/* Put a reply behind those that go out together. False: the client has sent more than anybody should ask at once. */
static bool reply(struct session *s, const char *text)
{
    size_t length = strlen(text);
    if (s->told + length > sizeof s->out)
        return false;
    memcpy(s->out + s->told, text, length);
    s->told += length;
    return true;
}

static bool tell(struct session *s)
{
    size_t told = s->told;
    s->told = 0;
    return !told || wire_send(&s->wire, s->out, told);
}

static void enter(struct session *s)
{
    if (s->number == -1)
        ledger->unnamed++;
    else if ((uint64_t)s->number >= entries || !ledger->entries[s->number].mailed)
        ledger->unknown++;
    else {
        struct entry *entry = &ledger->entries[s->number];
        entry->altered += s->is_altered || s->octets != entry->octets + 2ull;
        if (entry->arrivals++ == 0) {
            entry->arrived = now();
            ledger->distinct++;
        }
    }
    ledger->messages++;
}

static bool finish(struct session *s)
{
    enter(s);
    s->place = COMMANDS;
    return reply(s, "250 2.0.0 taken\r\n");
}

static bool begins(const char *line, const char *word)
{
    return strncasecmp(line, word, strlen(word)) == 0;
}

static bool command(struct session *s, const char *line)
{
    if (begins(line, "EHLO"))
        return reply(s, "250-sink.bench.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n") &&
               (!offers_tls || s->wire.tls || reply(s, "250-STARTTLS\r\n")) && reply(s, "250 SIZE 1000000000\r\n");
    if (begins(line, "MAIL") || begins(line, "RCPT") || begins(line, "RSET") || begins(line, "NOOP"))
        return reply(s, "250 2.0.0 ok\r\n");
    if (begins(line, "DATA")) {
        s->place = HEADER;
        s->number = -1;
        return reply(s, "354 go on\r\n");
    }
    if (begins(line, "STARTTLS") && offers_tls && !s->wire.tls) {
        s->held = 0;   /* nothing that was sent in the clear is believed afterwards (RFC 3207) */
        if (!reply(s, "220 2.0.0 ready\r\n") || !tell(s) || s->wire.left)
            return false;
        wire_secure(&s->wire);
        return true;
    }
    if (begins(line, "QUIT")) {
        reply(s, "221 2.0.0 bye\r\n");
        tell(s);
        return false;
    }
    return reply(s, "500 5.5.1 not known here\r\n");
}

static bool header_line(struct session *s, const char *line)
{
    unsigned number;
    if (strcmp(line, ".\r\n") == 0) {
        s->octets = 0;
        return finish(s);
    }
    if (begins(line, "Message-ID:"))
        s->number = sscanf(strchr(line, ':') + 1, " <%u@bench.test>", &number) == 1 ? (long)number : (long)entries;
    return true;
}

/* A line of commands or of the header, without what is behind it. The empty line is left: it begins the body. */
static bool take_line(struct session *s, size_t *used)
{
    char *line = s->in + *used, *end = memchr(line, '\n', s->held - *used);
    if (!end)
        return false;
    if (s->place == HEADER && strncmp(line, "\r\n", 2) == 0) {
        s->place = BODY;
        s->octets = 0;
        s->is_altered = false;
        return true;
    }
    char saved = end[1];   /* `in` has an octet more than is ever held */
    end[1] = 0;
    *used = end + 1 - s->in;
    bool good = s->place == HEADER ? header_line(s, line) : command(s, line);
    if (!good)
        wire_close(&s->wire);
    else if (s->held)
        end[1] = saved;
    return good && s->held;
}

/* What there is of the body: CRLF, the pattern, a dot. The last octets wait, where the end may have begun in them. */
static bool take_body(struct session *s, size_t *used)
{
    const char *from = s->in + *used;
    size_t there = s->held - *used;
    const char *end = memmem(from, there, "\r\n.\r\n", 5);
    size_t length = end ? (size_t)(end + 2 - from) : there > 4 ? there - 4 : 0;
    s->is_altered |= memcmp(from, pattern + (s->octets + PERIOD - 2) % PERIOD, length) != 0;
    s->octets += length;
    *used += length + (end ? 3 : 0);
    if (end && !finish(s))
        wire_close(&s->wire);
    return end && s->wire.fd >= 0;
}

static void deal_with_input(struct session *s)
{
    size_t used = 0;
    while (s->place == BODY ? take_body(s, &used) : take_line(s, &used))
        ;
    if (s->wire.fd < 0)
        return;
    s->held = s->held > used ? s->held - used : 0;
    memmove(s->in, s->in + used, s->held);
    if (!tell(s) || s->held == ROOM - 1)
        wire_close(&s->wire);
}

static void serve(struct session *s)
{
    ssize_t got = 0;
    if (!wire_flush(&s->wire))
        got = -1;
    while (got >= 0 && !s->wire.left) {
        got = wire_receive(&s->wire, s->in + s->held, ROOM - 1 - s->held);
        if (!s->is_counted && wire_is_secured(&s->wire)) {
            s->is_counted = true;
            ledger->secured++;
            ledger->resumed += wire_is_resumed(&s->wire);
        }
        if (got == 0)
            return;
        if (got > 0) {
            s->held += got;
            deal_with_input(s);
            if (s->wire.fd < 0)
                break;
        }
    }
    if (got >= 0 && s->wire.fd >= 0)
        return;
    wire_close(&s->wire);
    free(s);
}

static void welcome(int listener, int poll)
{
    struct wire wire;
    while (wire_accept(&wire, listener)) {
        struct session *s = malloc(sizeof *s);
        if (!s)
            fail("sink");
        s->wire = wire;
        s->place = COMMANDS;
        s->held = s->told = s->is_counted = 0;
        ledger->sessions++;
        reply(s, "220 sink.bench.test ESMTP\r\n");
        tell(s);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
        epoll_ctl(poll, EPOLL_CTL_ADD, s->wire.fd, &event);
    }
}

int main(int count, char **words)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"ledger", 1, 0, 'l'}, {"certificate", 1, 0, 'c'}, {"key", 1, 0, 'k'},
        {"no-resume", 0, 0, 'n'}, {0}};
    const char *file = NULL, *certificate = NULL, *key = NULL;
    bool resume = true;
    int port = 0, option;
    while ((option = getopt_long(count, words, "", options, NULL)) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'l': file = optarg; break;
        case 'c': certificate = optarg; break;
        case 'k': key = optarg; break;
        case 'n': resume = false; break;
        default: return 2;
        }
    if (!port || !file || !certificate != !key) {
        fprintf(stderr, "sink --port PORT --ledger FILE [--certificate FILE --key FILE [--no-resume]]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    ledger = open_ledger(file, &entries);
    write_pattern(pattern, sizeof pattern);
    offers_tls = certificate;
    if (certificate)
        tls_serve(certificate, key, resume);
    int listener = wire_listen(port), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < ready; i++)
            if (events[i].data.ptr)
                serve(events[i].data.ptr);
            else
                welcome(listener, poll);
    }
}
