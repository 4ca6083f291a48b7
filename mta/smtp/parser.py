"""Parser: one line of the client, without its end, to a command; or to the reply that says what is wrong with it.

RFC 5321 4.1.1 has the commands, 4.1.1.11 the parameters.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from mta.smtp import limits, replies
from mta.smtp.address import AddressError, Path, is_address_literal, is_domain, scan_mailbox, scan_path
from mta.smtp.command import (
    Auth,
    Bdat,
    Command,
    Data,
    Etrn,
    Expn,
    Helo,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Rset,
    Starttls,
    Vrfy,
    Xclient,
)
from mta.smtp.extensions import Check
from mta.smtp.reply import Reply
from mta.smtp.xclient import parse_xclient

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_WORD = re.compile(r"[^ ]+")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\U0010ffff]+))?")
_CHUNK = re.compile(rb"BDAT +([0-9]++)( +LAST)?(?![0-9])", re.IGNORECASE)
_CHUNK_DIGITS = 18  # nobody has so many octets; what is announced is consumed all the same
_CHUNK_UNSEEN = re.compile(rb"BDAT +[0-9]*", re.IGNORECASE)
_AUTH = re.compile(r"AUTH +([A-Za-z0-9_-]{1,20})(?: +([^ ]+))?", re.IGNORECASE)
_QUEUE_NAME = re.compile(r"[!-~]{1,64}")
# Known from RFC 821 and from extensions that are not in use: 502, where nonsense gets 500.
_OFF = frozenset({b"SEND", b"SOML", b"SAML", b"TURN", b"ATRN"})
_HTTP = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"})
_LOGIN = re.compile(rb"[^A-Z0-9]*AUTH", re.IGNORECASE)
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:")


class Dialect(NamedTuple):
    """What a session takes: the parameters that were offered, and how strict it is.

    lenient: for clients that may relay, printers and scripts among them: an address without its angle brackets or
    without its domain, and any word as the argument of HELO. utf8: SMTPUTF8 was offered.
    """

    mail: Mapping[str, Check]
    rcpt: Mapping[str, Check]
    lenient: bool = False
    utf8: bool = False


class _Fault(Exception):
    """The line is wrong; the reply says how."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def verb_of(line: bytes) -> bytes:
    """The first word of a line in upper case."""
    return line.partition(b" ")[0].upper()


def may_be_login(line: bytes) -> bool:
    """Does this line, well formed or not, look like AUTH? What stands behind that may be a password."""
    return _LOGIN.match(line) is not None


def is_not_mail(verb: bytes) -> bool:
    """Is this the first word of an HTTP request or of a header field? No mail client sends one as a command."""
    return verb in _HTTP or _HEADER.fullmatch(verb) is not None


def reply_to_unknown(verb: bytes) -> Reply:
    """The reply to a verb that no parser is there for."""
    if not verb:
        return replies.EMPTY_LINE
    return replies.NOT_IMPLEMENTED if verb in _OFF else replies.UNKNOWN_COMMAND


def parse_command(line: bytes, dialect: Dialect) -> Command | Reply:
    """A command line to its value, or to the reply that refuses it. White space at its end is no matter."""
    line = line.rstrip(b" \t")
    verb = verb_of(line)
    return parse_arguments(verb, line, dialect) if verb in _PARSERS else reply_to_unknown(verb)


def parse_arguments(verb: bytes, line: bytes, dialect: Dialect) -> Command | Reply:
    """The same for a line without white space at its end, whose verb, one of `VERBS`, is known already."""
    try:
        text = line.decode("utf-8" if dialect.utf8 else "ascii")
    except UnicodeDecodeError:
        return replies.NON_ASCII_ADDRESS if verb in (b"MAIL", b"RCPT") else replies.STRANGE_CHARACTERS
    if not text.isprintable():
        return replies.STRANGE_CHARACTERS
    try:
        return _PARSERS[verb](text, dialect)
    except _Fault as fault:
        return fault.reply


def octets_announced(line: bytes) -> int:
    """How many octets follow a line that claims to be a BDAT, whatever else is wrong with it: they are no commands."""
    chunk = _CHUNK.match(line)
    return int(chunk[1]) if chunk else 0


def hides_announcement(head: bytes) -> bool:
    """Does a line that begins so claim to be a BDAT, with a size that comes later or goes on? It cannot be known."""
    return _CHUNK_UNSEEN.fullmatch(head) is not None


def decode_response(line: bytes) -> bytes | Reply:
    """A client's line in an AUTH exchange, decoded; the reply where it cancels, or is not base64 (RFC 4954 4)."""
    if line == b"*":
        return replies.LOGIN_CANCELLED
    try:
        return b64decode(line, validate=True)
    except NotBase64:
        return replies.NOT_BASE64


def _parse_helo(text: str, dialect: Dialect) -> Helo:
    verb, _, argument = text.partition(" ")
    name = argument.strip(" ")
    if not name or not text.isascii() or (" " in name and dialect.lenient):
        _refuse(replies.wrong_form(verb.upper()))
    if not (dialect.lenient or is_domain(name) or is_address_literal(name)):
        column = text.index(name) + 1
        _refuse(replies.wrong_argument(column, 'a host name is needed, or an address as "[192.0.2.1]"'))
    return Helo(name, verb.upper() == "EHLO")


def _parse_mail(text: str, dialect: Dialect) -> Mail:
    path, end = _parse_path(text, "FROM:", dialect.lenient, replies.wrong_sender)
    if path.mailbox is not None and not (path.mailbox.domain or dialect.lenient):
        _refuse(replies.wrong_sender(end, "the @ and the domain are missing"))
    mail = Mail(path, _parse_parameters(text, end, dialect.mail))
    if not (text.isascii() or mail.smtputf8):
        _refuse(replies.NON_ASCII_ADDRESS)
    return mail


def _parse_rcpt(text: str, dialect: Dialect) -> Rcpt:
    path, end = _parse_path(text, "TO:", dialect.lenient, replies.wrong_recipient)
    if path.mailbox is None:
        _refuse(replies.wrong_recipient(end, "only a sender can be <>"))
    return Rcpt(path, _parse_parameters(text, end, dialect.rcpt))


def _parse_path(text: str, keyword: str, lenient: bool, wrong: Callable[[int, str], Reply]) -> tuple[Path, int]:
    """The path behind a keyword, and where it ends. A blank between them is an old habit of many clients."""
    at = 5 + len(keyword)
    if text[5:at].upper() != keyword:
        _refuse(replies.wrong_form(text[:4].upper()))
    while text.startswith(" ", at):
        at += 1
    try:
        if lenient and at < len(text) and text[at] != "<":
            mailbox, end = scan_mailbox(text, at, unqualified=True)
            path = Path(mailbox)
        else:
            path, end = scan_path(text, at, unqualified=lenient)
    except AddressError as error:
        _refuse(wrong(error.position + 1, error.reason))
    if end < len(text) and text[end] != " ":
        _refuse(wrong(end + 1, "a blank is missing behind the address"))
    return path, end


def _parse_parameters(text: str, at: int, offered: Mapping[str, Check]) -> Mapping[str, str]:
    """The parameters from a position to the end of the line, checked by their extensions."""
    if at == len(text):
        return _NO_PARAMETERS
    parameters: dict[str, str] = {}
    for word in _WORD.finditer(text, at):
        match = _PARAMETER.fullmatch(word[0])
        if match is None:
            _refuse(replies.wrong_argument(word.start() + 1, "a parameter looks like KEYWORD or KEYWORD=value"))
        keyword, value = match[1].upper(), match[2]
        check = offered.get(keyword)
        if check is None:
            _refuse(replies.unknown_parameter(text[:4].upper(), keyword))
        if keyword in parameters:
            _refuse(replies.wrong_parameter(keyword, "given twice"))
        try:
            parameters[keyword] = check(value)
        except ValueError as error:
            _refuse(replies.wrong_parameter(keyword, str(error)))
    return parameters


def _parse_bdat(text: str, _: Dialect) -> Bdat:
    chunk = _CHUNK.fullmatch(text.encode())
    if chunk is None or len(chunk[1]) > _CHUNK_DIGITS:
        _refuse(replies.wrong_form("BDAT"))
    return Bdat(int(chunk[1]), chunk[2] is not None)


def _parse_help(text: str, _: Dialect) -> Help:
    return Help(text[5:].strip(" "))


def _name_asked_for(text: str, dialect: Dialect) -> tuple[str, bool]:
    """The argument of VRFY or EXPN, and whether the client understands UTF-8 (RFC 6531 3.7.4.2)."""
    argument = text[5:].strip(" ")
    utf8 = dialect.utf8 and argument.upper().endswith(" SMTPUTF8")
    if utf8:
        argument = argument[: -len(" SMTPUTF8")].rstrip(" ")
    if not argument:
        _refuse(replies.wrong_form(text[:4].upper()))
    if not (argument.isascii() or utf8):
        _refuse(replies.NON_ASCII_ADDRESS)
    return argument, utf8


def _parse_vrfy(text: str, dialect: Dialect) -> Vrfy:
    return Vrfy(*_name_asked_for(text, dialect))


def _parse_expn(text: str, dialect: Dialect) -> Expn:
    return Expn(*_name_asked_for(text, dialect))


def _parse_etrn(text: str, _: Dialect) -> Etrn:
    node = text[5:].strip(" ")
    if not node or " " in node:
        _refuse(replies.wrong_form("ETRN"))
    name = node[1:] if node[0] in "@#" else node
    if not (_QUEUE_NAME.fullmatch(name) if node[0] == "#" else is_domain(name)):
        _refuse(replies.wrong_argument(text.index(node) + 1, "a domain is needed, @domain, or #name of a route"))
    return Etrn(node)


def _parse_auth(text: str, _: Dialect) -> Auth:
    match = _AUTH.fullmatch(text)
    if match is None:
        _refuse(replies.wrong_form("AUTH"))
    mechanism, response = match.groups()
    if response is None:
        return Auth(mechanism.upper(), None)
    if response == "=":  # an initial response of no octets (RFC 4954 4)
        return Auth(mechanism.upper(), b"")
    initial = decode_response(response.encode())
    if isinstance(initial, Reply):
        _refuse(replies.NOT_BASE64)
    return Auth(mechanism.upper(), initial)


def _parse_xclient(text: str, _: Dialect) -> Xclient:
    attributes = text[8:].strip(" ")
    if not attributes:
        _refuse(replies.wrong_form("XCLIENT"))
    try:
        return Xclient(parse_xclient(attributes))
    except ValueError as error:
        _refuse(replies.wrong_parameter("of XCLIENT", str(error)))


def _parse_noop(_text: str, _: Dialect) -> Noop:
    return _NOOP


def _alone(command: Command) -> Callable[[str, Dialect], Command]:
    """The parser of a command that takes no argument."""

    def parse(text: str, _: Dialect) -> Command:
        if " " in text:
            _refuse(replies.wrong_form(text.partition(" ")[0].upper()))
        return command

    return parse


def _refuse(reply: Reply) -> NoReturn:
    raise _Fault(reply)


_NOOP = Noop()
_PARSERS: dict[bytes, Callable[[str, Dialect], Command]] = {
    b"HELO": _parse_helo,
    b"EHLO": _parse_helo,
    b"MAIL": _parse_mail,
    b"RCPT": _parse_rcpt,
    b"DATA": _alone(Data()),
    b"BDAT": _parse_bdat,
    b"RSET": _alone(Rset()),
    b"NOOP": _parse_noop,
    b"HELP": _parse_help,
    b"VRFY": _parse_vrfy,
    b"EXPN": _parse_expn,
    b"ETRN": _parse_etrn,
    b"STARTTLS": _alone(Starttls()),
    b"AUTH": _parse_auth,
    b"XCLIENT": _parse_xclient,
    b"QUIT": _alone(Quit()),
}
VERBS = frozenset(_PARSERS)
# Lines that may be as long as an AUTH exchange needs; others end at limits.ACCEPTED_COMMAND_LINE.
LONG_LINES = {b"AUTH": limits.AUTH_LINE}
