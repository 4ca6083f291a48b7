"""Command lines to values, or to the replies that refuse them (RFC 5321 4.1.1)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp import replies
from mta.smtp.address import NULL_PATH, Mailbox, Path
from mta.smtp.command import Data, Helo, Help, Mail, Noop, Quit, Rcpt, Rset, Vrfy
from mta.smtp.extensions import EXTENSIONS, mail_parameters, rcpt_parameters
from mta.smtp.parser import Dialect, is_not_mail, parse_command
from mta.smtp.reply import Reply

STRICT = Dialect(mail_parameters(EXTENSIONS), rcpt_parameters(EXTENSIONS))
LENIENT = STRICT._replace(lenient=True)
JONES = Path(Mailbox("jones", "example.org"))

GOOD = [
    (b"HELO client.example.com", Helo("client.example.com", False)),
    (b"eHlO [192.0.2.1]", Helo("[192.0.2.1]", True)),
    (b"EHLO  client", Helo("client", True)),
    (b"MAIL FROM:<jones@example.org>", Mail(JONES, {})),
    (b"mail from:<>", Mail(NULL_PATH, {})),
    (
        b"MAIL FROM:  <jones@example.org>  SIZE=010   body=8bitMIME \t ",
        Mail(JONES, {"SIZE": "010", "BODY": "8BITMIME"}),
    ),
    (b'MAIL FROM:<"a> SIZE=1 "@example.org>', Mail(Path(Mailbox('"a> SIZE=1 "', "example.org")), {})),
    (b"RCPT TO:<jones@example.org>", Rcpt(JONES, {})),
    (b"RCPT TO:<@one,@two:jones@example.org>", Rcpt(JONES._replace(route=("one", "two")), {})),
    (b"RCPT TO:<Postmaster>", Rcpt(Path(Mailbox("postmaster", "")), {})),
    (b"DATA", Data()),
    (b"DATA \t", Data()),
    (b"rset", Rset()),
    (b"NOOP", Noop()),
    (b"NOOP <>!?", Noop()),
    (b"HELP", Help("")),
    (b"HELP  mail", Help("mail")),
    (b"VRFY  Fred Smith ", Vrfy("Fred Smith")),
    (b"QUIT", Quit()),
]

BAD = [
    (b"", 500, "5.5.2"),
    (b" ", 500, "5.5.2"),
    (b"MAILFROM:<jones@example.org>", 500, "5.5.2"),
    (b"DATA\x00", 500, "5.5.2"),
    (b"\x80\x81", 500, "5.5.2"),
    (b"QUIT\r", 500, "5.5.2"),
    (b"EXPN", 501, "5.5.4"),
    (b"ETRN", 501, "5.5.4"),
    (b"ETRN two words", 501, "5.5.4"),
    (b"ETRN -", 501, "5.5.4"),
    (b"ETRN @", 501, "5.5.4"),
    (b"AUTH", 501, "5.5.4"),
    (b"AUTH PLAIN two words", 501, "5.5.4"),
    (b"AUTH PLAIN not!base64", 501, "5.5.2"),
    (b"bdat", 501, "5.5.4"),
    (b"bdat ten", 501, "5.5.4"),
    (b"bdat -1", 501, "5.5.4"),
    (b"bdat 1000000000000000000", 501, "5.5.4"),
    (b"bdat 10 FIRST", 501, "5.5.4"),
    (b"STARTTLS now", 501, "5.5.4"),
    (b"XCLIENT", 501, "5.5.4"),
    (b"HELO", 501, "5.5.4"),
    (b"HELO a b", 501, "5.5.4"),
    (b"HELO -", 501, "5.5.4"),
    (b"HELO [192.0.2.1", 501, "5.5.4"),
    (b"HELO \xe9", 501, "5.5.2"),
    (b"MAIL FROM <jones@example.org>", 501, "5.5.4"),
    (b"MAIL FROM:\t<jones@example.org>", 501, "5.5.2"),
    (b"MAIL FROM:", 501, "5.1.7"),
    (b"MAIL FROM:<postmaster>", 501, "5.1.7"),
    (b"MAIL FROM:<jones@example.org>,", 501, "5.1.7"),
    (b"MAIL FROM:<j\xc3\xb6n@example.org>", 553, "5.6.7"),
    (b"MAIL FROM:<jones@example.org> X", 555, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> NOTIFY=NEVER", 555, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> SIZE", 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> SIZE=", 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> SIZE=-1", 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> SIZE=" + b"1" * 21, 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> BODY=", 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> size=1 SIZE=2", 501, "5.5.4"),
    (b"MAIL FROM:<jones@example.org> -A=1", 501, "5.5.4"),
    (b"RCPT FROM:<jones@example.org>", 501, "5.5.4"),
    (b"RCPT TO:<>", 501, "5.1.3"),
    (b"RCPT TO:<jones>", 501, "5.1.3"),
    (b"RCPT TO:<jones@example.org> SIZE=1", 555, "5.5.4"),
    (b"DATA now", 501, "5.5.4"),
    (b"RSET now", 501, "5.5.4"),
    (b"QUIT now", 501, "5.5.4"),
    (b"VRFY", 501, "5.5.4"),
    (b"VRFY \x1b[2J", 501, "5.5.2"),
]


@pytest.mark.parametrize(("line", "command"), GOOD)
def test_good(line: bytes, command: object) -> None:
    got = parse_command(line, STRICT)
    assert (type(got), got) == (type(command), command)
    assert parse_command(line, LENIENT) == command


@pytest.mark.parametrize(("line", "code", "enhanced"), BAD)
def test_bad(line: bytes, code: int, enhanced: str) -> None:
    reply = parse_command(line, STRICT)
    assert isinstance(reply, Reply)
    assert (reply.code, reply.enhanced) == (code, enhanced)


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (b"HELO -", "column 6"),
        (b"MAIL FROM:<jon es@example.org>", "column 15"),
        (b"RCPT TO: jones@example.org", "column 10"),
        (b"MAIL FROM:<a@b> SIZE=1 =1", "column 24"),
    ],
)
def test_a_refusal_names_the_place(line: bytes, place: str) -> None:
    reply = parse_command(line, STRICT)
    assert isinstance(reply, Reply)
    assert place in reply.text


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"HELO my_printer!", Helo("my_printer!", False)),
        (b"MAIL FROM:jones@example.org", Mail(JONES, {})),
        (b"MAIL FROM: jones@example.org SIZE=1", Mail(JONES, {"SIZE": "1"})),
        (b"RCPT TO:jones@example.org", Rcpt(JONES, {})),
    ],
)
def test_a_client_that_may_relay_is_forgiven(line: bytes, command: object) -> None:
    assert parse_command(line, LENIENT) == command
    assert isinstance(parse_command(line, STRICT), Reply)


@pytest.mark.parametrize(
    "line",
    [
        b"HELO",
        b"HELO a b",
        b"HELO \x07",
        b"MAIL FROM:",
        b"RCPT TO:jones@example.org>",
        b"MAIL FROM:a@b,",
    ],
)
def test_what_nobody_is_forgiven(line: bytes) -> None:
    assert isinstance(parse_command(line, LENIENT), Reply)


def test_the_values_of_parameters() -> None:
    mail = parse_command(b"MAIL FROM:<> SIZE=007 BODY=7bit", STRICT)
    assert isinstance(mail, Mail)
    assert (mail.size, mail.body) == (7, "7BIT")
    assert (Mail(NULL_PATH, {}).size, Mail(NULL_PATH, {}).body) == (0, "")


def test_what_is_not_announced_is_unknown() -> None:
    reply = parse_command(b"MAIL FROM:<> SIZE=1", Dialect({}, {}))
    assert reply == replies.unknown_parameter("MAIL", "SIZE")


@pytest.mark.parametrize("verb", [b"GET", b"POST", b"CONNECT", b"HOST:", b"CONTENT-TYPE:"])
def test_what_a_browser_says_is_not_mail(verb: bytes) -> None:
    assert is_not_mail(verb)


@pytest.mark.parametrize("verb", [b"XYZZY", b"", b"MAILFROM:<A@B>", b":", b"\x16\x03\x01"])
def test_other_nonsense_may_be_a_mistake(verb: bytes) -> None:
    assert not is_not_mail(verb)


@given(
    st.binary(max_size=40) | st.tuples(st.sampled_from([line for line, _ in GOOD]), st.binary(max_size=8)).map(b"".join)
)
@settings(max_examples=1000, deadline=None)
def test_no_line_raises_and_no_reply_repeats_its_octets_blindly(line: bytes) -> None:
    for dialect in (STRICT, LENIENT):
        result = parse_command(line.replace(b"\n", b""), dialect)
        if isinstance(result, Reply):
            assert result.code in (500, 501, 502, 553, 555)
            assert result.text.isascii()
            assert result.text.isprintable()
