"""Language: command lines, addresses and what parameters hold, as the side that answers reads them."""

from contextlib import suppress

from mta.smtp import extensions, limits, notification, parameters, xtext
from mta.smtp.address import AddressError, is_address_literal, is_domain, parse_mailbox, parse_path, scan_path
from mta.smtp.allowance import Allowance
from mta.smtp.command import Command, Mail, Rcpt
from mta.smtp.ip import dotted_decimal
from mta.smtp.parser import VERBS, Dialect, decode_response, may_be_login, octets_announced, parse_command
from mta.smtp.reply import Reply, render
from mta.smtp.xclient import parse_xclient
from targets.choices import Choices
from targets.measures import Target, stretch

_OFFERED = (
    *extensions.EXTENSIONS,
    extensions.REQUIRETLS,
    extensions.MT_PRIORITY,
    extensions.future_release(604_800, "2030-01-31T08:00:00Z"),
    *extensions.auth(["PLAIN", "SCRAM-SHA-256"]),
)
_MAIL, _RCPT = extensions.mail_parameters(_OFFERED), extensions.rcpt_parameters(_OFFERED)
_DIALECTS = tuple(Dialect(_MAIL, _RCPT, lenient, utf8) for lenient in (False, True) for utf8 in (False, True))
_CHECKS = tuple({**_MAIL, **_RCPT}.values())


def commands(octets: bytes) -> None:
    """Any line is a command or a reply that refuses it; in any dialect."""
    for dialect in _DIALECTS:
        with stretch():
            understood = parse_command(octets, dialect)
        if isinstance(understood, Reply):
            is_reply(understood)
            assert understood.code >= 500, understood
        else:
            is_command(understood, dialect)
    may_be_login(octets)
    assert octets_announced(octets) >= 0
    decoded = decode_response(octets)
    assert isinstance(decoded, Reply | bytes)


def is_reply(reply: Reply) -> None:
    """Its octets are lines of the length that RFC 5321 4.5.3.1.5 allows, in ASCII, with one code."""
    lines = render(reply).split(b"\r\n")
    assert lines.pop() == b""
    for line in lines:
        assert line.isascii() and line.decode().isprintable(), line
        assert len(line) + 2 <= limits.REPLY_LINE, line
        assert line[:3] == b"%d" % reply.code, line


def is_command(command: Command, dialect: Dialect) -> None:
    """Nothing in it is longer than it may be, or cannot be printed."""
    assert repr(command).isprintable()
    if isinstance(command, Mail | Rcpt):
        path = command.reverse_path if isinstance(command, Mail) else command.forward_path
        assert len(path.address.encode()) <= limits.PATH
        offered = dialect.mail if isinstance(command, Mail) else dialect.rcpt
        for keyword, value in command.parameters.items():
            # The normal form of a value has itself for its normal form; AUTH= is decoded.
            if keyword not in ("AUTH", "SMTPUTF8", "REQUIRETLS"):
                assert offered[keyword](value) == value, (keyword, value)


def addresses(octets: bytes) -> None:
    """What is an address is written so that it is read as the same one, for each who reads it."""
    text = octets.decode(errors="replace")
    for utf8 in (False, True):
        with stretch():
            try:
                path = parse_path(text, utf8)
            except AddressError as error:
                assert 0 <= error.position <= len(text)
                continue
        again = parse_path(str(path), utf8)
        assert again == path._replace(route=()), (path, again)
    for unqualified in (False, True):
        with suppress(AddressError), stretch():
            _, end = scan_path(text, 0, unqualified)
            assert 0 < end <= len(text)
    with suppress(AddressError), stretch():
        mailbox = parse_mailbox(text, utf8=True)
        assert parse_mailbox(str(mailbox), utf8=True) == mailbox
    is_domain(text)
    is_address_literal(text)
    with suppress(ValueError):
        assert str(dotted_decimal(text)) == text


def values(octets: bytes) -> None:
    """The values of parameters: xtext, those of RFC 3461, times; and what XCLIENT says."""
    choices = Choices(octets)
    check = _CHECKS[choices.number(len(_CHECKS))]
    text = choices.text()
    with stretch():
        try:
            check(text if choices.flag() else None)
            check(text)
        except ValueError as error:
            assert str(error).isprintable(), error
    with stretch(), suppress(ValueError):
        decoded = xtext.decode(text, utf8=True)
        assert xtext.decode(xtext.encode(decoded), utf8=True) == decoded
    assert xtext.decode(xtext.encode(text), utf8=True) == text
    with stretch(), suppress(ValueError):
        assert notification.decode_utf8(notification.encode_utf8(text)) == text
    with stretch(), suppress(ValueError):
        notification.decode_utf8(text)
    with stretch(), suppress(ValueError):
        moment = parameters.date_time(text)
        parameters.release_time({"HOLDUNTIL": moment}, 1_800_000_000.0, 1 << 60)
    with stretch():
        try:
            attributes = parse_xclient(text if text.isprintable() else "")  # the line of a command always is
        except ValueError as error:
            assert len(str(error)) < 300 and str(error).isprintable(), error
        else:
            assert repr(attributes).isprintable()
    with stretch():
        Allowance(text).take([text, "a@b"], [0, 1])


_PATHS = (
    b"<", b">", b"@", b"<>", b"<a@b>", b"a@b", b'"', b"\\", b'"a b"@c', b".", b"-", b"_", b"[", b"]", b"[192.0.2.1]",
    b"[IPv6:2001:db8::1]", b"IPv6:", b"::", b"@a,@b:", b",", b":", b"postmaster", b"example.org", b"\xc3\xa9",
    b"a" * 64, b"a" * 63 + b".", b"xn--", b"%", b"/", b" ", b"\t", b"\0", b"\r", b"\n",
)  # fmt: skip
_PARAMETERS = (
    b"SIZE=", b"BODY=8BITMIME", b"SMTPUTF8", b"RET=FULL", b"ENVID=", b"NOTIFY=SUCCESS,FAILURE", b"NEVER", b"ORCPT=",
    b"rfc822;", b"utf-8;", b"\\x{2B}", b"+2B", b"+", b"=", b";", b"AUTH=<>", b"BY=", b"-1;NT", b"HOLDFOR=1",
    b"HOLDUNTIL=", b"2030-01-31T08:00:00Z", b"0001-01-01T00:00:00+23:59", b"MT-PRIORITY=-9", b"REQUIRETLS", b"9" * 20,
)  # fmt: skip
_ATTRIBUTES = (b"ADDR=", b"NAME=", b"[UNAVAILABLE]", b"PORT=65535", b"PROTO=ESMTP", b"LOGIN=", b"DESTADDR=")
TARGETS = (
    Target(
        "commands",
        commands,
        (*(verb + b" " for verb in sorted(VERBS)), b"FROM:", b"TO:", b"SMTPUTF8", *_PATHS, *_PARAMETERS, *_ATTRIBUTES),
        limits.AUTH_LINE,
    ),
    Target("addresses", addresses, _PATHS, limits.ACCEPTED_COMMAND_LINE),
    Target(
        "values",
        values,
        (*(bytes((number,)) for number in range(16)), b"\xff", *_PARAMETERS, *_ATTRIBUTES, b"RCPTMAX=1", b"MAILMAX=0"),
        limits.ACCEPTED_COMMAND_LINE,
    ),
)
