/* Ledger: a file that generator and sink write to and the bench reads, mapped by all three. A line for each message,
 * found by the number in its Message-ID, tells when it was mailed, accepted and delivered, and how often.
 * bench/ledger.py reads the same layout. Times are nanoseconds of CLOCK_MONOTONIC. */

#ifndef LEDGER_H
#define LEDGER_H

#include <stddef.h>
#include <stdint.h>

#define MESSAGE_ID "Message-ID: <%010u@bench.test>\r\n"

struct entry {
    uint64_t mailed;       /* the generator's: MAIL was written */
    uint64_t accepted;     /* and the reply to the content was read */
    uint64_t arrived;      /* the sink's: the first copy was complete */
    uint32_t arrivals;     /* copies */
    uint32_t reply;        /* the generator's: the code of the last reply, 0 where the connection broke */
    uint32_t octets;       /* of the body that was sent */
    uint32_t altered;      /* the sink's: copies whose body was another one */
};

struct ledger {
    uint64_t messages;     /* all that the sink took */
    uint64_t distinct;     /* first copies */
    uint64_t unnamed;      /* without a Message-ID */
    uint64_t unknown;      /* with one that is not the generator's: a notice, say */
    uint64_t sessions;     /* that the sink was offered */
    uint64_t secured;      /* of these, those that finished a TLS handshake */
    uint64_t resumed;      /* of these, those that went on with an earlier TLS session */
    uint64_t unused[9];
    struct entry entries[];
};

/* The body of every message is as much as it needs of this, over and over: lines of 80 octets, as they are on the wire.
 * One of them has a doubled dot, far behind: such lines are rare in mail, and a relay that finds none in a block may go
 * a shorter way. */
#define LINE 80
#define PERIOD (13000 * LINE)
#define DOTTED (5000 * LINE)

uint64_t now(void);
void write_pattern(char *at, size_t length);

/* Maps the file; entries: how many it has room for. Ends the program, with a sentence, where it cannot. */
struct ledger *open_ledger(const char *file, uint64_t *entries);

#endif
