"""Replies: everything the server says, once. Texts tell the person who reads them in a log or a bounce what to do.

No enhanced status code stands in a greeting, in the answer to HELO and EHLO, or in 3yz replies (RFC 2034 4). A 421
names the host, as RFC 5321 4.2.3 has it, since whoever reads it may not know whom his client was talking to.
"""

from collections.abc import Iterable

from mta.smtp.reply import Reply

# The forms of the commands, for 501 and HELP. RFC 5321 4.1.1.
SYNTAX = {
    "HELO": "HELO hostname",
    "EHLO": "EHLO hostname",
    "MAIL": "MAIL FROM:<address> [parameters]",
    "RCPT": "RCPT TO:<address> [parameters]",
    "DATA": "DATA",
    "RSET": "RSET",
    "NOOP": "NOOP [anything]",
    "HELP": "HELP [command]",
    "VRFY": "VRFY name",
    "QUIT": "QUIT",
}


# ---- The session: RFC 5321 3.1, 4.1.1.1, 4.1.1.10


def greeting(hostname: str) -> Reply:
    return Reply(220, "", (f"{hostname} ESMTP mta",))


# RFC 5321 3.1: what follows such a greeting is answered 503, but for QUIT.
SERVICE_REFUSED = Reply(554, "5.7.0", ("no mail service here for your address",))
REFUSED_BEFORE = Reply(503, "5.7.0", ("no mail service here for your address; QUIT is all that is left",))


def helo(hostname: str) -> Reply:
    return Reply(250, "", (hostname,))


def ehlo(hostname: str, keywords: Iterable[str]) -> Reply:
    """keywords: a line each, of the extensions that are on (RFC 5321 4.1.1.1)."""
    return Reply(250, "", (hostname, *keywords))


def bye(hostname: str) -> Reply:
    return Reply(221, "2.0.0", (f"{hostname} closing connection",))


# ---- Success

OK = Reply(250, "2.0.0", ("ok",))
SENDER_OK = Reply(250, "2.1.0", ("sender ok",))
RECIPIENT_OK = Reply(250, "2.1.5", ("recipient ok",))
START_CONTENT = Reply(354, "", ("send the content, end with <CRLF>.<CRLF>",))
# RFC 5321 7.3: neither confirmed nor denied.
CANNOT_VERIFY = Reply(252, "2.0.0", ("cannot verify; mail for this user will be tried if it is accepted at RCPT",))
HELP = Reply(
    214, "2.0.0", ("mta, a mail transfer agent (RFC 5321). Commands:", " ".join(SYNTAX), "HELP command for more")
)


def queued(queue_id: str) -> Reply:
    """The content is on stable storage under this id."""
    return Reply(250, "2.0.0", (f"queued as {queue_id}",))


def help_on(topic: str) -> Reply:
    """The form of a command, or the list of them."""
    form = SYNTAX.get(topic.strip().upper())
    return Reply(214, "2.0.0", (form,)) if form else HELP


# ---- The session ends: 421, RFC 5321 3.8 and 4.2.3


def shutting_down(hostname: str) -> Reply:
    return Reply(421, "4.3.2", (f"{hostname} is shutting down; try again later",))


def too_many_connections(hostname: str) -> Reply:
    return Reply(421, "4.3.2", (f"{hostname} has as many connections as it can serve; try again later",))


def too_many_from_client(hostname: str) -> Reply:
    return Reply(421, "4.7.0", (f"{hostname} serves no more connections at once from your address; close one first",))


def command_timeout(hostname: str) -> Reply:
    return Reply(421, "4.4.2", (f"{hostname} has waited too long for a command; closing",))


def content_timeout(hostname: str) -> Reply:
    return Reply(421, "4.4.2", (f"{hostname} has waited too long for the content; closing, nothing was queued",))


def too_many_errors(hostname: str) -> Reply:
    return Reply(421, "4.7.0", (f"{hostname} has seen too many errors in this session; closing",))


def too_many_idle_commands(hostname: str) -> Reply:
    return Reply(421, "4.7.0", (f"{hostname} has seen too many commands without a message; closing",))


def endless_line(hostname: str) -> Reply:
    return Reply(421, "4.7.0", (f"{hostname} has waited too long for the end of a line; closing",))


def not_mail(hostname: str) -> Reply:
    """To what a browser, or a page in it, sends to the mail port."""
    return Reply(421, "4.7.0", (f"{hostname} is a mail server and this is not mail; closing",))


# ---- Not now: RFC 5321 4.2.5, RFC 3463 3.4

LOCAL_ERROR = Reply(451, "4.3.0", ("local error, nothing was queued; try again later",))
DISK_FULL = Reply(452, "4.3.1", ("no room to queue this now; try again later",))
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", ("too many recipients; send to the others in another transaction",))

# ---- Not a command, or not a right one: RFC 5321 4.2.4, 4.3.2, RFC 3463 3.6

UNKNOWN_COMMAND = Reply(500, "5.5.2", ("command not recognized; HELP lists those that are",))
EMPTY_LINE = Reply(500, "5.5.2", ("an empty line is no command",))
LINE_TOO_LONG = Reply(500, "5.5.2", ("line too long",))
BARE_LINE_END = Reply(500, "5.5.2", ("a line ends with CRLF, not with LF alone; closing",))
STRANGE_CHARACTERS = Reply(501, "5.5.2", ("control and 8-bit characters cannot stand in a command",))
NOT_IMPLEMENTED = Reply(502, "5.5.1", ("command known, but not in use here",))
NON_ASCII_ADDRESS = Reply(553, "5.6.7", ("an address with non-ASCII characters needs SMTPUTF8, which is not offered",))


def wrong_form(verb: str) -> Reply:
    return Reply(501, "5.5.4", (f"syntax: {SYNTAX[verb]}",))


def wrong_argument(column: int, reason: str) -> Reply:
    """column: of the command line, counted from 1."""
    return Reply(501, "5.5.4", (f"at column {column}: {reason}",))


def wrong_sender(column: int, reason: str) -> Reply:
    return Reply(501, "5.1.7", (f"sender address, at column {column}: {reason}",))


def wrong_recipient(column: int, reason: str) -> Reply:
    return Reply(501, "5.1.3", (f"recipient address, at column {column}: {reason}",))


def wrong_parameter(keyword: str, reason: str) -> Reply:
    return Reply(501, "5.5.4", (f"parameter {keyword}: {reason}",))


def unknown_parameter(verb: str, keyword: str) -> Reply:
    """RFC 5321 4.1.1.11."""
    return Reply(555, "5.5.4", (f"{verb} parameter {keyword[:40]} was not offered in the answer to EHLO",))


# ---- Out of order: RFC 5321 4.1.4, 3.3

HELO_FIRST = Reply(503, "5.5.1", ("say EHLO or HELO first",))
MAIL_FIRST = Reply(503, "5.5.1", ("say MAIL first",))
RCPT_FIRST = Reply(503, "5.5.1", ("say RCPT first",))
MAIL_ALREADY = Reply(503, "5.5.1", ("a transaction is open already; end it with DATA or RSET",))
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", ("no valid recipients",))

# ---- Not so: RFC 5321 4.2.5, RFC 3463 3.2 to 3.8

RELAYING_DENIED = Reply(550, "5.7.1", ("relaying denied: not a domain of ours, and your address may not relay here",))
MESSAGE_TOO_BIG = Reply(552, "5.3.4", ("message too big",))
BARE_LINE_END_IN_CONTENT = Reply(550, "5.5.2", ("content has a CR or LF on its own; every line ends with CRLF",))
LOOP = Reply(554, "5.4.6", ("too many Received fields: the mail is going in circles",))
