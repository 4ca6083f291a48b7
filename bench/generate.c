/* Generate: sends messages, each with a number of its own, as fast as it is let or at a rate, and enters in the ledger
 * when each was mailed and accepted. One thread. It ends when every message has had its last reply, with a line of
 * JSON; exit status 1 where not all were accepted.
 *
 *     generate --port PORT --ledger FILE [--first N] [--count N] [--size OCTETS] [--sessions N] [--each N]
 *              [--pipelined] [--rate PER_SECOND] [--tls [--resume]]
 *
 * --each: messages of one session, 0 for as many as there are. --pipelined: MAIL, RCPT and DATA go out together, and
 * those of the next message right behind the content. --tls: STARTTLS in each session. */

#define _GNU_SOURCE
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include "ledger.h"
#include "wire.h"

#define PATIENCE 60000   /* milliseconds without any reply, after which it gives up */
#define MOST_FAILURES 100

#define MAIL_FROM "MAIL FROM:<from@bench.test>\r\n"
#define RCPT_TO "RCPT TO:<to@bench.test>\r\n"

/* What the next reply is to. */
enum step { GREETING, EHLO, STARTTLS, MAIL, RCPT, DATA, CONTENT, QUIT };

struct session {
    struct wire wire;
    enum step expected;
    bool is_waiting;    /* for the moment that its next message is due at */
    long waiting;       /* the message whose content was sent, and whose last reply is not here yet; -1: none */
    long next;          /* the one that was mailed, and whose content was not sent yet; -1: none */
    int sent;
    unsigned turn;      /* tells this connection from the one before in its place */
    size_t held;
    char in[2048];
    char *text;         /* the content of a message, and the start of the next one behind it */
};

static struct ledger *ledger;
static long first, count = 1000, started, finished, accepted, refused, broken, secured, resumed;
static long live, fresh, failures;   /* sessions; those that have no message yet; those in a row that came to nothing */
static int port, each = 1, poll;
static size_t size = 10240, length, body;   /* of a message; of its wire form, dot included; of its body */
static double rate;
static bool pipelined, with_tls;
static struct session *sessions;
static uint64_t began;

/* The text of every session's messages: only the number in the Message-ID differs. */
static char *write_text(void)
{
    static const char *form = MESSAGE_ID "Date: Tue, 01 Dec 2026 12:00:00 +0000\r\nFrom: <from@bench.test>\r\n"
                                         "To: <to@bench.test>\r\nSubject: bench %.*s\r\n\r\n";
    char pad[LINE];
    memset(pad, 'x', sizeof pad);
    size_t header = snprintf(NULL, 0, form, 0u, 0, pad);
    body = size > header ? (size - header) / LINE * LINE : 0;
    size_t padding = size > header ? (size - header) % LINE : 0;
    length = header + padding + body + 3;
    char *text = malloc(length + 1024);
    if (!text)
        fail("generate");
    size_t at = sprintf(text, form, 0u, (int)padding, pad);
    write_pattern(text + at, body);
    sprintf(text + at + body, ".\r\n%s%sDATA\r\n", MAIL_FROM, RCPT_TO);
    return text;
}

static struct entry *entry_of(long message)
{
    return &ledger->entries[first + message];
}

static bool is_due(void)
{
    return !rate || started <= (now() - began) / 1e9 * rate;
}

static bool has_next(const struct session *s)
{
    return started < count && (!each || s->sent < each);
}

static void say(struct session *s, enum step expected, const char *text, size_t length)
{
    s->expected = expected;
    wire_send(&s->wire, text, length);   /* a broken connection is noticed where it is read */
}

static void say_line(struct session *s, enum step expected, const char *text)
{
    say(s, expected, text, strlen(text));
}

/* The next message is this session's from now on. */
static void take_next(struct session *s)
{
    s->next = started++;
    fresh -= s->sent++ == 0;
    entry_of(s->next)->octets = body;
    entry_of(s->next)->mailed = now();
}

static void mail_next(struct session *s)
{
    s->is_waiting = has_next(s) && !is_due();
    if (s->is_waiting)
        return;
    if (!has_next(s)) {
        say_line(s, QUIT, "QUIT\r\n");
        return;
    }
    take_next(s);
    say_line(s, MAIL, pipelined ? s->text + length : MAIL_FROM);
}

static void send_content(struct session *s)
{
    char number[16];
    snprintf(number, sizeof number, "%010u", (unsigned)(first + s->next));
    memcpy(s->text + strcspn(MESSAGE_ID, "%"), number, 10);
    s->waiting = s->next;
    s->next = -1;
    size_t behind = 0;
    if (pipelined && has_next(s) && is_due()) {
        take_next(s);
        behind = strlen(s->text + length);
    }
    say(s, CONTENT, s->text, length + behind);
}

static void finish(long message, int code)
{
    struct entry *entry = entry_of(message);
    entry->accepted = now();
    entry->reply = code;
    finished++;
    if (code == 0)
        broken++;
    else if (code / 100 == 2)
        accepted++;
    else
        refused++;
}

static void open_session(struct session *s)
{
    s->turn++;
    s->held = s->sent = 0;
    s->waiting = s->next = -1;
    s->is_waiting = false;
    s->expected = GREETING;
    while (started + fresh < count && failures < MOST_FAILURES) {   /* no session without a message */
        if (wire_connect(&s->wire, port)) {
            fresh++;
            struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
            epoll_ctl(poll, EPOLL_CTL_ADD, s->wire.fd, &event);
            return;
        }
        failures++;
    }
    live--;
}

/* This session is over, and another one begins in its place where there is more to send. code: what became of the
 * messages that it had; 0: the connection broke. */
static void end_session(struct session *s, int code)
{
    if (s->expected != QUIT)
        failures++;
    fresh -= s->sent == 0;
    if (s->waiting >= 0)
        finish(s->waiting, code);
    if (s->next >= 0)
        finish(s->next, code);
    wire_close(&s->wire);
    open_session(s);
}

static void hear(struct session *s, int code)
{
    if (code >= 400) {
        end_session(s, code);
        return;
    }
    switch (s->expected) {
    case GREETING:
        say_line(s, EHLO, "EHLO generator.bench.test\r\n");
        break;
    case EHLO:
        failures = 0;
        if (with_tls && !s->wire.tls) {
            say_line(s, STARTTLS, "STARTTLS\r\n");
            break;
        }
        secured += wire_is_secured(&s->wire);
        resumed += wire_is_resumed(&s->wire);
        mail_next(s);
        break;
    case STARTTLS:
        s->held = 0;
        wire_secure(&s->wire);
        say_line(s, EHLO, "EHLO generator.bench.test\r\n");
        break;
    case MAIL:
        s->expected = RCPT;
        if (!pipelined)
            say_line(s, RCPT, RCPT_TO);
        break;
    case RCPT:
        s->expected = DATA;
        if (!pipelined)
            say_line(s, DATA, "DATA\r\n");
        break;
    case DATA:
        send_content(s);
        break;
    case CONTENT:
        finish(s->waiting, code);
        s->waiting = -1;
        s->expected = MAIL;
        if (s->next < 0)
            mail_next(s);
        break;
    case QUIT:
        end_session(s, 0);
        break;
    }
}

static void listen_to(struct session *s)
{
    unsigned turn = s->turn;
    ssize_t got = wire_flush(&s->wire) ? 1 : -1;
    while (got > 0 && (got = wire_receive(&s->wire, s->in + s->held, sizeof s->in - s->held)) > 0) {
        s->held += got;
        char *from = s->in, *end;
        while ((end = memchr(from, '\n', s->in + s->held - from))) {
            bool is_last = end - from >= 4 && from[3] != '-';
            int code = is_last ? atoi(from) : 0;
            from = end + 1;
            if (is_last)
                hear(s, code);
            if (s->turn != turn)
                return;
            if (!s->held)   /* TLS has begun, and nothing that came in the clear counts */
                from = s->in;
        }
        s->held -= from - s->in;
        memmove(s->in, from, s->held);
        if (s->held == sizeof s->in)
            got = -1;
    }
    if (got < 0)
        end_session(s, 0);
}

static double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void read_options(int words, char **word, const char **file, long *at_once, bool *resume)
{
    static const struct option options[] = {
        {"port", 1, 0, 'p'}, {"ledger", 1, 0, 'l'}, {"first", 1, 0, 'f'}, {"count", 1, 0, 'c'}, {"size", 1, 0, 's'},
        {"sessions", 1, 0, 'a'}, {"each", 1, 0, 'e'}, {"pipelined", 0, 0, 'g'}, {"rate", 1, 0, 'r'}, {"tls", 0, 0, 't'},
        {"resume", 0, 0, 'u'}, {0}};
    int option;
    while ((option = getopt_long(words, word, "", options, NULL)) != -1)
        switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'l': *file = optarg; break;
        case 'f': first = atol(optarg); break;
        case 'c': count = atol(optarg); break;
        case 's': size = atol(optarg); break;
        case 'a': *at_once = atol(optarg); break;
        case 'e': each = atoi(optarg); break;
        case 'g': pipelined = true; break;
        case 'r': rate = atof(optarg); break;
        case 't': with_tls = true; break;
        case 'u': *resume = true; break;
        default: exit(2);
        }
}

static void run(void)
{
    struct epoll_event events[256];
    for (uint64_t heard = now(); live > 0;) {
        int ready = epoll_wait(poll, events, 256, rate ? 1 : PATIENCE);
        if (ready > 0)
            heard = now();
        else if (now() - heard > PATIENCE * 1000000ull) {
            fprintf(stderr, "no reply for %d s; %ld messages are unfinished\n", PATIENCE / 1000, count - finished);
            return;
        }
        for (int i = 0; i < ready; i++)
            listen_to(events[i].data.ptr);
        for (struct session *s = sessions; rate && is_due() && started < count && s->text; s++)
            if (s->is_waiting)
                mail_next(s);
    }
}

int main(int words, char **word)
{
    const char *file = NULL;
    long at_once = 20;
    bool resume = false;
    uint64_t entries;
    struct rlimit files;
    read_options(words, word, &file, &at_once, &resume);
    if (!port || !file) {
        fprintf(stderr, "generate --port PORT --ledger FILE, and more: see the source\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    ledger = open_ledger(file, &entries);
    if (first < 0 || count < 1 || (uint64_t)(first + count) > entries) {
        fprintf(stderr, "the ledger has no room for these messages\n");
        return 2;
    }
    if (with_tls)
        tls_ask(resume);
    poll = epoll_create1(0);
    sessions = calloc(at_once + 1, sizeof *sessions);
    for (long i = 0; i < at_once; i++)
        sessions[i].text = write_text();
    live = at_once;
    began = now();
    for (long i = 0; i < at_once; i++)
        open_session(&sessions[i]);
    run();
    printf("{\"began\": %llu, \"ended\": %llu, ", (unsigned long long)began, (unsigned long long)now());
    printf("\"accepted\": %ld, \"refused\": %ld, \"broken\": %ld, ", accepted, refused, broken);
    printf("\"secured\": %ld, \"resumed\": %ld, \"cpu\": %.6f}\n", secured, resumed, cpu_seconds());
    return accepted != count;
}
