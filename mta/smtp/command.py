"""Commands: one line of the client, without its end, to a value; or to the reply that says what is wrong with it.

RFC 5321 4.1.1 has the commands, 4.1.1.11 the parameters.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, NoReturn, TypeAlias

from mta.smtp import replies
from mta.smtp.address import AddressError, Path, is_address_literal, is_domain, scan_mailbox, scan_path
from mta.smtp.extensions import Check
from mta.smtp.reply import Reply

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_WORD = re.compile(r"[^ ]+")
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
# Known from RFC 821 and from extensions that are not in use: 502, where nonsense gets 500.
_OFF = frozenset({b"SEND", b"SOML", b"SAML", b"TURN", b"EXPN", b"ETRN", b"ATRN", b"AUTH", b"STARTTLS", b"BDAT"})
_HTTP = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI"})
_HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:")


@dataclass(frozen=True, slots=True)
class Helo:
    """HELO or EHLO (`extended`), with what the client calls itself."""

    domain: str
    extended: bool


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL. parameters: by keyword in upper case, in the normal form of their extension."""

    reverse_path: Path
    parameters: Mapping[str, str]

    @property
    def size(self) -> int:
        """SIZE= in octets, 0 where it was not given (RFC 1870)."""
        return int(self.parameters.get("SIZE", "0"))

    @property
    def body(self) -> str:
        """BODY=, "7BIT" or "8BITMIME"; "" where it was not given (RFC 6152)."""
        return self.parameters.get("BODY", "")


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT. parameters: as with `Mail`."""

    forward_path: Path
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """DATA."""


@dataclass(frozen=True, slots=True)
class Rset:
    """RSET."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP, whatever came with it."""


@dataclass(frozen=True, slots=True)
class Help:
    """HELP. topic: "" where none was given."""

    topic: str


@dataclass(frozen=True, slots=True)
class Vrfy:
    """VRFY. argument: as it was given, a user name or a mailbox."""

    argument: str


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT."""


Command: TypeAlias = Helo | Mail | Rcpt | Data | Rset | Noop | Help | Vrfy | Quit


class Dialect(NamedTuple):
    """What a session takes: the parameters that were offered, and how strict it is.

    lenient: for clients that may relay, printers and scripts among them: an address without its angle brackets, and
    any word as the argument of HELO.
    """

    mail: Mapping[str, Check]
    rcpt: Mapping[str, Check]
    lenient: bool = False


class _Fault(Exception):
    """The line is wrong; the reply says how."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply


def verb_of(line: bytes) -> bytes:
    """The first word of a line in upper case."""
    return line.partition(b" ")[0].upper()


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
    if not line.isascii():
        return replies.NON_ASCII_ADDRESS if verb in (b"MAIL", b"RCPT") else replies.STRANGE_CHARACTERS
    text = line.decode("ascii")
    if not text.isprintable():
        return replies.STRANGE_CHARACTERS
    try:
        return _PARSERS[verb](text, dialect)
    except _Fault as fault:
        return fault.reply


def _parse_helo(text: str, dialect: Dialect) -> Helo:
    verb, _, argument = text.partition(" ")
    name = argument.strip(" ")
    if not name or (" " in name and dialect.lenient):
        _refuse(replies.wrong_form(verb.upper()))
    if not (dialect.lenient or is_domain(name) or is_address_literal(name)):
        column = text.index(name) + 1
        _refuse(replies.wrong_argument(column, 'a host name is needed, or an address as "[192.0.2.1]"'))
    return Helo(name, verb.upper() == "EHLO")


def _parse_mail(text: str, dialect: Dialect) -> Mail:
    path, end = _parse_path(text, "FROM:", dialect.lenient, replies.wrong_sender)
    if path.mailbox is not None and not path.mailbox.domain:
        _refuse(replies.wrong_sender(end, "the @ and the domain are missing"))
    return Mail(path, _parse_parameters(text, end, dialect.mail))


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
            mailbox, end = scan_mailbox(text, at)
            path = Path(mailbox)
        else:
            path, end = scan_path(text, at)
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


def _parse_help(text: str, _: Dialect) -> Help:
    return Help(text[5:].strip(" "))


def _parse_vrfy(text: str, _: Dialect) -> Vrfy:
    argument = text[5:].strip(" ")
    if not argument:
        _refuse(replies.wrong_form("VRFY"))
    return Vrfy(argument)


def _parse_noop(_text: str, _: Dialect) -> Noop:
    return _NOOP


def _alone(command: Command) -> Callable[[str, Dialect], Command]:
    """The parser of a command that takes no argument."""

    def parse(text: str, _: Dialect) -> Command:
        if len(text) > 4:
            _refuse(replies.wrong_form(text[:4].upper()))
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
    b"RSET": _alone(Rset()),
    b"NOOP": _parse_noop,
    b"HELP": _parse_help,
    b"VRFY": _parse_vrfy,
    b"QUIT": _alone(Quit()),
}
VERBS = frozenset(_PARSERS)
