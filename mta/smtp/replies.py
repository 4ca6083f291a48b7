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
    "BDAT": "BDAT octets [LAST]",
    "RSET": "RSET",
    "NOOP": "NOOP [anything]",
    "HELP": "HELP [command]",
    "VRFY": "VRFY name",
    "EXPN": "EXPN list",
    "ETRN": "ETRN domain, @domain or #name",
    "STARTTLS": "STARTTLS",
    "AUTH": "AUTH mechanism [initial response in base64]",
    "XCLIENT": "XCLIENT NAME=value [NAME=value ...]",
    "QUIT": "QUIT",
}


# ---- The session: RFC 5321 3.1, 4.1.1.1, 4.1.1.10


def greeting(hostname: str) -> Reply:
    return Reply(220, "", (f"{hostname} ESMTP mta",))


# RFC 5321 3.1: what follows such a greeting is answered 503, but for QUIT.
REFUSED_BEFORE = Reply(503, "5.7.0", ("no mail service here for your address; QUIT is all that is left",))


def helo(hostname: str) -> Reply:
    return Reply(250, "", (hostname,))


def ehlo(hostname: str, keywords: Iterable[str]) -> Reply:
    """keywords: a line each, of the extensions that are on (RFC 5321 4.1.1.1)."""
    return Reply(250, "", (hostname, *keywords))


def bye(hostname: str) -> Reply:
    return Reply(221, "2.0.0", (f"{hostname} closing connection",))


READY_FOR_TLS = Reply(220, "2.0.0", ("ready for the handshake",))

# ---- Success

OK = Reply(250, "2.0.0", ("ok",))
SENDER_OK = Reply(250, "2.1.0", ("sender ok",))
RECIPIENT_OK = Reply(250, "2.1.5", ("recipient ok",))
START_CONTENT = Reply(354, "", ("send the content, end with <CRLF>.<CRLF>",))
# RFC 5321 7.3: neither confirmed nor denied.
CANNOT_VERIFY = Reply(252, "2.0.0", ("cannot verify; mail for this user will be tried if it is accepted at RCPT",))
CANNOT_EXPAND = Reply(252, "2.0.0", ("cannot tell whom this name stands for; mail for it will be tried if accepted",))
HELP = Reply(
    214, "2.0.0", ("mta, a mail transfer agent (RFC 5321). Commands:", " ".join(SYNTAX), "HELP command for more")
)


def queued(queue_id: str) -> Reply:
    """The content is on stable storage under this id."""
    return Reply(250, "2.0.0", (f"queued as {queue_id}",))


def chunk_taken(octets: int) -> Reply:
    """RFC 3030 2: each chunk is answered."""
    return Reply(250, "2.0.0", (f"{octets} octets received",))


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


# ---- Logging in: RFC 4954 4 and 6


def challenge(encoded: str) -> Reply:
    """encoded: the mechanism's challenge in base64; "" for an empty one."""
    return Reply(334, "", (encoded,))


LOGGED_IN = Reply(235, "2.7.0", ("logged in",))
LOGIN_CANCELLED = Reply(501, "5.7.0", ("login cancelled, as you asked",))
NOT_BASE64 = Reply(501, "5.5.2", ("this is not base64; start again with AUTH",))
LOGIN_LINE_TOO_LONG = Reply(500, "5.5.6", ("the line is longer than an AUTH exchange allows",))
UNKNOWN_MECHANISM = Reply(504, "5.5.4", ("no such mechanism here; the answer to EHLO lists those that there are",))
LOGIN_NEEDS_TLS = Reply(538, "5.7.11", ("say STARTTLS first: a login in the clear could be read on the way",))
# One text whoever is unknown and whatever is wrong, so that nobody learns which names there are.
WRONG_CREDENTIALS = Reply(535, "5.7.8", ("the name or the password is wrong",))
WRONG_RESPONSE = Reply(501, "5.5.2", ("this is not what the mechanism expects here; start again with AUTH",))
BINDING_IS_OFFERED = Reply(
    535, "5.7.8", ("channel binding is offered here, and you were told that it is not: somebody is in between",)
)
UNKNOWN_BINDING = Reply(
    504,
    "5.5.4",
    ("channel bindings here are tls-exporter (TLS 1.3), tls-unique (TLS 1.2) and tls-server-end-point",),
)
LOGIN_UNAVAILABLE = Reply(454, "4.7.0", ("logins cannot be checked now; try again later",))
LOGIN_SLOWED = Reply(454, "4.7.0", ("too many logins from your address have failed; try again in a few minutes",))
LOGGED_IN_ALREADY = Reply(503, "5.5.1", ("you are logged in already",))
LOGIN_FIRST = Reply(530, "5.7.0", ("log in first: this port takes mail from its own users alone",))
TLS_FIRST = Reply(530, "5.7.0", ("say STARTTLS first: this port takes nothing in the clear",))
TLS_ALREADY = Reply(503, "5.5.1", ("the session is encrypted already",))


_NAME_SHOWN = 100


def not_your_address(sender: str, account: str) -> Reply:
    # In ASCII, and in what a line of a reply may have (RFC 5321 4.5.3.1.5): names of accounts keep to neither.
    who = account if account.isascii() and len(account) <= _NAME_SHOWN else "your account"
    address = f"<{sender}>" if sender.isascii() else "this address"
    return Reply(553, "5.7.1", (f"{who} may not send as {address}; use an address of your own",))


# ---- Starting the queue: RFC 1985 5.3


def etrn_empty(node: str) -> Reply:
    return Reply(251, "2.0.0", (f"ok, no messages wait for {node}",))


def etrn_started(node: str, messages: int) -> Reply:
    pending = f"{messages} pending messages for {node} are" if messages > 1 else f"1 pending message for {node} is"
    return Reply(253, "2.0.0", (f"ok, {pending} being tried",))


def etrn_failed(node: str) -> Reply:
    return Reply(458, "4.3.0", (f"unable to start the queue for {node} now; try again later",))


def etrn_denied(node: str) -> Reply:
    return Reply(459, "4.7.1", (f"node {node} not allowed: your address may not start queues here",))


def etrn_unknown(node: str) -> Reply:
    return Reply(459, "4.4.0", (f"node {node} not allowed: no route here has this name",))


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
NON_ASCII_ADDRESS = Reply(553, "5.6.7", ("an address with non-ASCII characters needs SMTPUTF8 (RFC 6531)",))


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
IN_TRANSACTION = Reply(503, "5.5.1", ("not within a transaction; end it with DATA or RSET",))
CHUNKS_BEGUN = Reply(503, "5.5.1", ("the content has begun: go on with BDAT, or end it with RSET",))
BDAT_FOR_BINARY = Reply(503, "5.5.1", ("BODY=BINARYMIME content comes by BDAT, not by DATA",))
RCPT_FIRST = Reply(503, "5.5.1", ("say RCPT first",))
MAIL_ALREADY = Reply(503, "5.5.1", ("a transaction is open already; end it with DATA or RSET",))
NO_VALID_RECIPIENTS = Reply(554, "5.5.1", ("no valid recipients",))

# ---- Not so: RFC 5321 4.2.5, RFC 3463 3.2 to 3.8

RELAYING_DENIED = Reply(550, "5.7.1", ("relaying denied: not a domain of ours, and your address may not relay here",))
SOURCE_ROUTE = Reply(550, "5.1.2", ("source routes are not taken here; send to the mailbox behind the colon",))
MESSAGE_TOO_BIG = Reply(552, "5.3.4", ("message too big",))
BARE_LINE_END_IN_CONTENT = Reply(550, "5.5.2", ("content has a CR or LF on its own; every line ends with CRLF",))
LOOP = Reply(554, "5.4.6", ("too many Received fields: the mail is going in circles",))
