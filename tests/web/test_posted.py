"""Messages that programs post: composed, with their line ends put right, and handed over."""

import io
import re
import socket
import threading
from email.header import decode_header, make_header
from email.utils import getaddresses
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta.smtp.address import parse_mailbox
from mta.web import patterns
from mta.web.compose import compose
from mta.web.patterns import is_like, mailboxes_in
from mta.web.seams import OutOfOrder, Unusable
from mta.web.submission import AllRefused, Letter, addressed, composed, submit

PLAIN = {"from": "Ann <ann@example.org>", "to": "bob@example.net", "text": "hello"}


class Relay:
    """Says what it is told to, and remembers what it was told. answers: by verb; the last one for all that follow."""

    def __init__(self, **answers: list[str]) -> None:
        self.heard: list[bytes] = []
        self.content = b""
        self._answers = answers
        self.ours, theirs = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, args=(theirs,), daemon=True)
        self._thread.start()

    def wait_for_the_end(self) -> None:
        """Until the other side has closed."""
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _serve(self, theirs: socket.socket) -> None:
        with theirs, theirs.makefile("rwb") as line:
            line.write(b"220 relay\r\n")
            line.flush()
            while words := line.readline():
                self.heard.append(words.rstrip())
                verb, _, rest = words.decode().strip().partition(" ")
                if verb.upper() == "BDAT":
                    self.content += line.read(int(rest.split()[0]))
                    verb = "LAST" if "LAST" in rest else "BDAT"
                answers = self._answers.get(verb.upper(), ["250 2.0.0 queued as ABC" if verb == "LAST" else "250 ok"])
                line.write((answers.pop(0) if len(answers) > 1 else answers[0]).encode() + b"\r\n")
                line.flush()


def letter(content: bytes = b"Subject: x\r\n\r\nbody\r\n", *to: str) -> Letter:
    return addressed("ann@example.org", to or ("bob@example.net",), io.BytesIO(content))


def refuses(asked: Any) -> str:
    with pytest.raises(Unusable) as error:
        compose(asked)
    return str(error.value)


def test_a_message_is_composed() -> None:
    found = compose({**PLAIN, "cc": ["Carol <carol@example.net>"], "bcc": "dave@example.net", "subject": "Grüße"})
    assert (found.sender, found.recipients) == (
        "ann@example.org", ("bob@example.net", "carol@example.net", "dave@example.net"),
    )  # fmt: skip
    octets = found.message.as_bytes()
    assert octets.isascii()
    assert b"dave" not in octets
    assert compose({**PLAIN, "sender": ""}).sender == ""


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"to": "a@b.test"},
        {**PLAIN, "from": ["a@b.test", "c@d.test"]},
        {**PLAIN, "to": [1]},
        {**PLAIN, "to": "nobody"},
        {**PLAIN, "subject": "a\r\nBcc: evil@example.net"},
        {**PLAIN, "headers": {"X-A\r\nBcc": "evil@example.net"}},
        {**PLAIN, "headers": {"X-A": "b\r\nBcc: evil@example.net"}},
        {**PLAIN, "headers": {"Content-Type": "text/html"}},
        {**PLAIN, "headers": []},
        {**PLAIN, "attachments": [{"filename": "a", "content": "not base64!"}]},
        {**PLAIN, "attachments": [{"content": "AA==", "type": "multipart/mixed"}]},
        {**PLAIN, "attachments": [{"content": "AA==", "type": "text/plain\r\nX: y"}]},
        {**PLAIN, "text": 3},
        {**PLAIN, "unknown": ""},
    ],
)
def test_what_is_no_message_is_refused(wrong: Any) -> None:
    assert refuses(wrong)


@pytest.mark.parametrize("address", ["a", "a@b>", "a@b.test> SIZE=1", "a@b.test\r\nRSET", "", "@b.test"])
def test_what_is_no_address_never_becomes_a_command(address: str) -> None:
    with pytest.raises(Unusable):
        addressed("ann@example.org", [address], io.BytesIO())


def test_it_is_handed_over() -> None:
    relay = Relay(RCPT=["250 ok", "550 5.1.1 no such user"])
    done = submit(relay.ours, "mx.example.org", letter(b"Subject: x\n\n.body", "bob@example.net", "no@example.net"))
    assert done.told() == {"id": "ABC", "refused": [{"address": "no@example.net", "reply": "550 5.1.1 no such user"}]}
    assert relay.content == b"Subject: x\r\n\r\n.body\r\n"
    assert b"MAIL FROM:<ann@example.org>" in relay.heard


def test_it_asks_for_what_it_needs() -> None:
    for content, wishes in (
        (b"Subject: x\n\n\xc3\xbc\n", b" BODY=8BITMIME"),
        (b"Subject: \xc3\xbc\n\nx\n", b" SMTPUTF8 BODY=8BITMIME"),
        (b"Subject: x\n\n" + b"x" * 70_000 + b"\xff", b" BODY=8BITMIME"),
        (b"Subject: x\n\nx\n", b""),
    ):
        relay = Relay()
        submit(relay.ours, "mx.example.org", letter(content))
        assert b"MAIL FROM:<ann@example.org>" + wishes in relay.heard


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 65_537, 131_072])
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b""])
def test_line_ends_are_put_right_wherever_blocks_end(size: int, end: bytes) -> None:
    relay = Relay()
    submit(relay.ours, "mx.example.org", letter(b"x" * size + end + b"\ny\r\nz" + end))
    expected = (b"x" * size + end + b"\ny\r\nz" + end).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert relay.content == (expected if expected.endswith(b"\n") else expected + b"\r\n")


@pytest.mark.parametrize(
    ("answers", "later"),
    [
        ({"MAIL": ["550 5.7.1 no"]}, False),
        ({"MAIL": ["452 4.3.1 full"]}, True),
        ({"RCPT": ["550 5.1.1 no"]}, False),
        ({"RCPT": ["450 4.2.1 later"]}, True),
        ({"BDAT": ["552 5.3.4 too big"]}, False),
        ({"LAST": ["451 4.3.0 disk"]}, True),
    ],
)
def test_a_refusal_says_whether_to_try_again(answers: dict[str, list[str]], later: bool) -> None:
    relay = Relay(**answers)
    with pytest.raises(AllRefused) as error:
        submit(relay.ours, "mx.example.org", letter())
    assert error.value.later is later
    relay.wait_for_the_end()  # even while somebody holds on to the error


def test_a_relay_that_breaks_off_is_no_success() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(OutOfOrder):
        submit(ours, "mx.example.org", letter())


@pytest.mark.parametrize(
    "odd", ["\r\nX: y", "\nX: y", "\rX: y", "\x0bX: y", "\x0c", "\x1c", "\x85", "\u2028", "\x00", "\x1b[31m"]
)
def test_nothing_in_a_header_controls(odd: str) -> None:
    for name, value in {
        "subject": f"s{odd}",
        "from": f'"n{odd}" <ann@example.org>',
        "to": [f'"n{odd}" <bob@example.net>'],
        "reply_to": f"a{odd}@example.org",
        "headers": {"X-A": f"v{odd}"},
        "attachments": [{"filename": f"f{odd}", "type": "text/plain", "content": "YQ=="}],
    }.items():
        assert "control characters" in refuses({**PLAIN, name: value}), name


def test_a_tab_may_stand_in_a_header() -> None:
    assert compose({**PLAIN, "subject": "a\tb", "text": "a\x0cb"}).message["Subject"] == "a\tb"


def test_a_domain_beyond_ascii_is_refused_not_written_into_the_header_as_something_else() -> None:
    for name in ("from", "to", "reply_to"):
        assert "is not an address" in refuses({**PLAIN, name: "ann@grüße.example"}), name
    assert compose({**PLAIN, "from": "Ann Grüße <ann@xn--gre-3nae.example>"}).sender == "ann@xn--gre-3nae.example"


def read_field(octets: bytes, name: str) -> str:
    """A field of a header, unfolded, each of whose lines is one (RFC 5322 2.2.3)."""
    head = octets.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert re.match(rb"[ \t]+\S|[A-Za-z-]+:", line), octets
    [field] = re.findall(rf"^{name}:((?:[^\r]|\r\n[ \t])*)\r$".encode(), head + b"\r\n", re.MULTILINE)
    return str(field.decode("ascii").replace("\r\n", "").strip())


def decoded(words: str) -> str:
    """Encoded words as another reader than the one of the library that has written them understands them."""
    return str(make_header(decode_header(words)))


def test_names_read_as_they_were_given_however_they_are_folded() -> None:
    names = ["Zoë Müller", "Jürgen Groß", "Ünsal Öztürk", "日本 " * 30 + "日", "Ann, B. (x)", "a " * 60 + "b", "Ä, B."]
    for more in range(0, 31, 3):
        told = [f"{name}{'x' * more}" for name in names]
        cc = ", ".join(f'"{name}" <{number}@here.test>' for number, name in enumerate(told))
        found = getaddresses([read_field(composed({**PLAIN, "cc": cc}).content.read(), "Cc")])
        assert [(decoded(name), mailbox) for name, mailbox in found] == [
            (name, f"{number}@here.test") for number, name in enumerate(told)
        ]


@settings(max_examples=60)
@given(st.text("aäß日,. ()-", max_size=120))
def test_any_name_reads_as_it_was_given(name: str) -> None:
    name = " ".join(name.split())
    octets = composed({**PLAIN, "from": f'"{name}" <ann@example.org>'}).content.read()
    [(told, mailbox)] = getaddresses([read_field(octets, "From")])
    assert (decoded(told), mailbox) == (name, "ann@example.org")
    assert all(len(line) <= 78 for line in octets.split(b"\r\n"))


@settings(max_examples=60)
@given(st.text("aöß日=?_,. \t", max_size=120))
@example(
    "öäö.aa日日 .日 日a日a.aäaa日a ä   ö a  日日日日.a.aä日a  öa.日ö. a日.ö日ö日a日äöö ä  a ä日aö日a.ö..ö. a日aö日"
)
def test_any_subject_reads_as_it_was_given(subject: str) -> None:
    asked = {**PLAIN, "subject": subject.strip(), "headers": {"X-Subject": subject.strip()}}
    octets = composed(asked).content.read()
    for name in ("Subject", "X-Subject"):
        assert decoded(read_field(octets, name)) == subject.strip()


@settings(max_examples=40)
@given(st.lists(st.from_regex(patterns.ADDRESS, fullmatch=True), min_size=1, max_size=3))
def test_what_is_like_an_address_can_be_sent_to(addresses: list[str]) -> None:
    """What the API says that it takes, it takes; and the relay, as an envelope's."""
    letter = composed({**PLAIN, "from": addresses[0], "to": ", ".join(addresses), "cc": addresses})
    assert letter.recipients == tuple(dict.fromkeys(mailbox for one in addresses for mailbox in mailboxes_in(one)))
    assert all(is_like(one, patterns.MAILBOX) and parse_mailbox(one) for one in (letter.sender, *letter.recipients))
    octets = letter.content.read()
    assert octets.partition(b"\r\n\r\n")[0].isascii()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", octets)


@pytest.mark.parametrize(
    ("text", "mailboxes"),
    [
        ("Doe, J. <j@d.test>", None),
        ('"Doe, J." <j@d.test>, x@y.test', ["j@d.test", "x@y.test"]),
        ('"a,b"@x.test,<"c d"@y.test>', ['"a,b"@x.test', '"c d"@y.test']),
        ("a..b@x.test", None),
        ('"a..b"@x.test', ['"a..b"@x.test']),
        (f"{'a' * 64}@{'b' * 63}.test", [f"{'a' * 64}@{'b' * 63}.test"]),
        (f"{'a' * 65}@b.test", None),
        (f"a@{'b' * 64}.test", None),
        ("a@b-.test", None),
        ("undisclosed:;", None),
    ],
)
def test_addresses_as_a_header_has_them(text: str, mailboxes: list[str] | None) -> None:
    assert (mailboxes_in(text) if is_like(text, patterns.ADDRESSES) else None) == mailboxes
