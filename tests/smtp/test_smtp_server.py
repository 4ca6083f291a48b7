"""The server's side of a session: order, cutting, limits, ends. Sessions as text are in tests/dialogues."""

from itertools import pairwise
from random import Random

import pytest
from fake_owner import EVERYTHING, HOSTNAME, FakeOwner, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp import replies
from mta.smtp.command import Data, Mail, Noop, Quit, Rcpt
from mta.smtp.events import NEED_OCTETS, Content, EndOfContent, Rejected
from mta.smtp.limits import SessionLimits
from mta.smtp.reply import Reply
from mta.smtp.server import ServerSession
from mta.smtp.settings import ServerSettings
from mta.smtp.states import State

ENDURING = SessionLimits(bad_commands=1_000_000, idle_commands=1_000_000, refusals=1_000_000)
TRANSACTION = b"MAIL FROM:<smith@client.example>\r\nRCPT TO:<jones@example.org>\r\nDATA\r\n"


def greeted(**what: object) -> FakeOwner:
    owner = FakeOwner(ServerSettings(**what))  # type: ignore[arg-type]
    owner.greet()
    return owner


def introduced(**what: object) -> FakeOwner:
    owner = greeted(**what)
    owner.hear(b"EHLO client\r\n")
    return owner


def codes(octets: bytes) -> list[int]:
    """The codes of the replies among octets, one per reply however many lines it has."""
    assert octets == b"" or octets.endswith(b"\r\n")
    return [int(line[:3]) for line in octets.split(b"\r\n")[:-1] if line[3:4] == b" "]


# ---- Every way of cutting

CLIENT = st.lists(
    st.sampled_from(
        [
            b"EHLO client\r\n",
            b"HELO\r\n",
            b"MAIL FROM:<smith@client.example>\r\n",
            b"MAIL FROM:<> SIZE=9999\r\n",
            b"RCPT TO:<jones@example.org>\r\n",
            b"RCPT TO:<unknown@example.org>\r\n",
            TRANSACTION,
            TRANSACTION + b"Hello\r\n..\r\n.\r\n",
            b"DATA\r\n",
            b"Hello\r\n",
            b"..dots\r\n",
            b".\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b".",
            b"\xe9\r\n",
            b"x" * 3000,
            b"RSET\r\n",
            b"NOOP\r\n",
            b"GET / HTTP/1.1\r\n",
            b"QUIT\r\n",
        ]
    ),
    max_size=12,
)


@given(CLIENT, st.lists(st.integers(0, 400), max_size=12), st.sampled_from(["refuse", "fix"]), st.booleans())
@settings(max_examples=1000, deadline=None)
def test_every_way_of_cutting_gives_the_same_events_and_replies(
    said: list[bytes], cuts: list[int], bare_lf: str, octet_by_octet: bool
) -> None:
    octets = b"EHLO client\r\n" + b"".join(said)
    borders = range(len(octets) + 1) if octet_by_octet else [0, *sorted(cuts), len(octets)]

    def play(pieces: list[bytes]) -> tuple[bytes, list[object], list[Message], State, bool]:
        owner = greeted(bare_lf=bare_lf, message_size=2000)
        answers = b"".join([owner.hear(piece) for piece in pieces])
        events = [event for event in owner.events if not isinstance(event, Content)]
        return answers, events, owner.messages, owner.session.state, owner.session.closing

    assert play([octets[start:end] for start, end in pairwise(borders)]) == play([octets])


# ---- One reply for each command, in order


class Model:
    """What RFC 5321 says a server that takes mail for example.org answers, by the code."""

    def __init__(self) -> None:
        self.introduced = False
        self.leave()

    def leave(self) -> None:
        self.mail, self.tried, self.accepted = False, False, 0

    def code(self, line: bytes) -> int:
        match line.split(b" ")[0]:
            case b"EHLO" | b"HELO":
                if line.endswith(b"O"):
                    return 501
                self.introduced = True
                self.leave()
                return 250
            case b"RSET":
                self.leave()
                return 250
            case b"NOOP":
                return 250
            case b"VRFY":
                return 252
            case b"XYZZY":
                return 500
            case b"TURN":
                return 502
            case b"MAIL":
                return self.code_of_mail(line)
            case b"RCPT":
                return self.code_of_rcpt(line)
        if not self.tried:
            return 503
        return 354 if self.accepted else 554

    def code_of_mail(self, line: bytes) -> int:
        if not self.introduced or self.mail:
            return 503
        if b">" not in line:
            return 501
        if b"FUTURE" in line:
            return 555
        self.mail = True
        return 250

    def code_of_rcpt(self, line: bytes) -> int:
        if not self.mail:
            return 503
        if b"@" not in line:
            return 501
        self.tried = True
        if self.accepted == 5:
            return 452
        if not line.startswith(b"RCPT TO:<jones@example.org>"):
            return 550
        self.accepted += 1
        return 250


LINES = [
    *[b"EHLO client", b"HELO client", b"EHLO", b"RSET", b"VRFY jones", b"XYZZY", b"TURN", b"NOOP", b"NOOP x"],
    *[b"MAIL FROM:<smith@client.example>", b"MAIL FROM:<>"] * 3,
    *[b"MAIL FROM:<smith@client.example", b"MAIL FROM:<> FUTURE=1"],
    *[b"RCPT TO:<jones@example.org>", b"RCPT TO:<unknown@example.org>", b"RCPT TO:<a@elsewhere.example>"] * 3,
    *[b"RCPT TO:<>", b"DATA", b"DATA", b"DATA"],
]


def test_fifty_thousand_commands_get_one_reply_each_in_order() -> None:
    """Pipelined without mercy, content behind a DATA that will be accepted included; reads of any size."""
    chance = Random(5321)
    for _ in range(100):
        owner, model = greeted(limits=ENDURING), Model()
        sent, expected = [], []
        for _ in range(500):
            line = chance.choice(LINES)
            code = model.code(line)
            sent.append(line)
            expected.append(code)
            if code == 354:
                sent += [b"NOOP", b"..", b"."]
                expected.append(250)
                model.leave()
        octets = b"".join(line + b"\r\n" for line in sent)
        answers, at = b"", 0
        while at < len(octets):
            size = chance.choice([1, 10, 100, 1000, 10000])
            answers += owner.hear(octets[at : at + size])
            at += size
        assert codes(answers) == expected
        assert len(owner.messages) == expected.count(354)


def test_nothing_comes_out_while_a_reply_is_owed() -> None:
    session = ServerSession(HOSTNAME, ServerSettings())
    session.receive(b"EHLO client\r\n" + TRANSACTION + b"NOOP\r\n.\r\nQUIT\r\nNOOP\r\n")
    assert session.next_event() is NEED_OCTETS, "not greeted yet"
    session.greet()
    answers = [replies.helo(HOSTNAME), replies.SENDER_OK, replies.RECIPIENT_OK, replies.START_CONTENT]
    for reply in answers:
        assert session.next_event() is not NEED_OCTETS
        assert session.next_event() is NEED_OCTETS
        session.receive(b"")
        assert session.next_event() is NEED_OCTETS
        session.reply(reply)
    assert session.next_event() == Content(b"NOOP\r\n")
    assert session.next_event() == EndOfContent(6, False, False, None)
    assert session.next_event() is NEED_OCTETS
    session.reply(replies.queued("ID"))
    assert session.next_event() == Quit()
    session.reply(replies.bye(HOSTNAME))
    assert session.closing
    assert session.next_event() is NEED_OCTETS
    assert codes(session.octets_to_send()) == [220, 250, 250, 250, 354, 250, 221]
    assert session.octets_to_send() == b""


def test_what_an_owner_may_not_do() -> None:
    session = ServerSession(HOSTNAME, ServerSettings(message_size=1))
    session.greet()
    with pytest.raises(RuntimeError, match="nothing waits"):
        session.reply(replies.OK)
    session.receive(b"EHLO client\r\n" + TRANSACTION + b"too much\r\n.\r\n")
    for reply in (replies.OK, replies.OK, replies.OK, replies.START_CONTENT):
        session.next_event()
        session.reply(reply)
    event = session.next_event()
    assert isinstance(event, EndOfContent)
    assert event.fault == replies.MESSAGE_TOO_BIG
    with pytest.raises(RuntimeError, match="to be refused"):
        session.reply(replies.OK)
    session.reply(event.fault)


# ---- Content


def test_content_and_its_facts() -> None:
    owner = introduced()
    assert codes(owner.hear(TRANSACTION)) == [250, 250, 354]
    assert owner.session.in_content
    assert owner.hear(b"caf\xe9\r\n..\r\n") == b""
    assert codes(owner.hear(b"..x\r\n.\r\nNOOP\r\n")) == [250, 250]
    assert owner.messages == [Message("smith@client.example", ("jones@example.org",), b"caf\xe9\r\n.\r\n.x\r\n")]
    assert EndOfContent(13, True, True) in owner.events


@pytest.mark.parametrize("reply", [replies.LOCAL_ERROR, replies.DISK_FULL, replies.OK, Reply(554, "5.3.0", ("no",))])
def test_no_content_is_read_after_any_other_answer_to_data(reply: Reply) -> None:
    session = ServerSession(HOSTNAME, ServerSettings())
    session.greet()
    session.receive(b"EHLO client\r\n" + TRANSACTION + b"NOOP\r\n")
    for answer in (replies.OK, replies.OK, replies.OK):
        session.next_event()
        session.reply(answer)
    assert session.next_event() == Data()
    session.reply(reply)
    assert not session.in_content
    assert session.state is State.RECIPIENTS
    assert session.next_event() == Noop()


def test_a_refused_message_ends_its_transaction() -> None:
    owner = introduced(message_size=3)
    owner.hear(TRANSACTION)
    assert codes(owner.hear(b"four\r\n.\r\nRCPT TO:<jones@example.org>\r\n")) == [552, 503]


def test_content_of_a_megabyte_is_handed_on_as_it_arrives() -> None:
    owner = introduced()
    owner.hear(TRANSACTION)
    for _ in range(16):
        owner.hear(b"x" * 65536)
        assert owner.session.backlog <= 4
    assert codes(owner.hear(b"\r\n.\r\n")) == [250]
    assert owner.messages[0].content == b"x" * (1 << 20) + b"\r\n"


# ---- Limits


def refused_recipients(owner: FakeOwner, count: int) -> list[int]:
    return codes(owner.hear(b"MAIL FROM:<>\r\n" + b"RCPT TO:<unknown@example.org>\r\n" * count))


def test_refusals_are_bounded_but_generously() -> None:
    owner = introduced(limits=SessionLimits(refusals=10))
    assert refused_recipients(owner, 13) == [250, *[550] * 11, 421]
    assert owner.session.closing


def test_a_message_that_is_taken_begins_all_counts_anew() -> None:
    owner = introduced(limits=SessionLimits(bad_commands=3, idle_commands=4, refusals=3))
    once = b"XYZZY\r\n" * 3 + TRANSACTION[:-6] + b"RCPT TO:<unknown@example.org>\r\n" * 3 + b"DATA\r\nHello\r\n.\r\n"
    for _ in range(5):
        answers = codes(owner.hear(b"NOOP\r\n" * 3 + once))
        assert answers == [*[250] * 3, *[500] * 3, 250, 250, *[550] * 3, 354, 250]


def test_the_421_is_the_one_reply_of_the_command_that_was_too_many() -> None:
    owner = introduced(limits=SessionLimits(bad_commands=2))
    assert codes(owner.hear(b"A\r\nB\r\nC\r\nD\r\n")) == [500, 500, 421]
    assert [event.line for event in owner.events if isinstance(event, Rejected)] == [b"A", b"B", b"C"]
    assert owner.hear(b"NOOP\r\n") == b""
    assert owner.session.backlog == 0


# ---- Beginnings and ends


def test_a_client_refused_with_554_may_still_say_quit() -> None:
    """RFC 5321 3.1."""
    owner = FakeOwner(ServerSettings())
    owner.session.greet(Reply(554, "5.7.0", ("no mail service here for your address",)))
    assert not owner.session.closing
    assert codes(owner.hear(b"EHLO client\r\nMAIL FROM:<>\r\nXYZZY\r\nQUIT\r\nNOOP\r\n")) == [554, 503, 503, 500, 221]
    assert owner.session.closing


def test_a_greeting_with_421_ends_the_session() -> None:
    owner = FakeOwner(ServerSettings())
    owner.session.greet(replies.too_many_connections(HOSTNAME))
    assert owner.session.closing
    assert codes(owner.hear(b"EHLO client\r\n")) == [421]


@pytest.mark.parametrize("said", [b"", b"NOO", TRANSACTION, TRANSACTION + b"Hel"])
def test_shut_down_at_any_moment(said: bytes) -> None:
    owner = introduced()
    owner.hear(said)
    owner.session.shut_down(replies.shutting_down(HOSTNAME))
    assert owner.session.closing
    assert codes(owner.hear(b"P\r\nlo\r\n.\r\n")) == [421]
    owner.session.shut_down(replies.shutting_down(HOSTNAME))
    assert owner.hear(b"") == b""
    assert owner.messages == []


def test_an_answer_that_comes_after_the_end_is_not_sent() -> None:
    session = ServerSession(HOSTNAME, ServerSettings())
    session.greet()
    session.receive(b"NOOP\r\n")
    assert session.next_event() == Noop()
    session.shut_down(replies.shutting_down(HOSTNAME))
    session.reply(replies.OK)
    assert codes(session.octets_to_send()) == [220, 421]


def test_an_owner_may_end_the_session_with_any_421() -> None:
    session = ServerSession(HOSTNAME, ServerSettings())
    session.greet()
    session.receive(b"NOOP\r\nNOOP\r\n")
    session.next_event()
    session.reply(replies.too_many_from_client(HOSTNAME))
    assert session.closing
    assert session.next_event() is NEED_OCTETS


def test_nothing_said_in_the_clear_counts_inside_tls() -> None:
    """CVE-2011-0411."""
    owner = introduced()
    owner.session.change(ServerSettings(extensions=EVERYTHING))
    assert codes(owner.hear(b"STARTTLS\r\nMAIL FROM:<smith@client.example>\r\nNOO")) == [220]
    assert owner.session.awaits_handshake
    assert owner.hear(b"P\r\nNOO") == b""
    owner.session.reset_for_tls(ServerSettings())
    assert owner.session.state is State.GREETED
    assert codes(owner.hear(b"P\r\nRCPT TO:<jones@example.org>\r\nMAIL FROM:<>\r\nEHLO client\r\n")) == [
        500,
        503,
        503,
        250,
    ]


def test_what_is_offered_may_differ_inside_tls() -> None:
    owner = introduced(message_size=10)
    owner.session.reset_for_tls(ServerSettings(message_size=20))
    assert codes(owner.hear(b"EHLO client\r\nMAIL FROM:<> SIZE=20\r\n")) == [250, 250]


# ---- What the owner is told


def test_events_carry_what_was_said() -> None:
    owner = introduced()
    owner.hear(b'MAIL FROM:<@one:"a b"@Client.example> SIZE=5 BODY=8BITMIME\r\nRCPT TO:<Jones@Example.org>\r\n')
    mail, rcpt = owner.events[1:]
    assert isinstance(mail, Mail)
    assert (mail.reverse_path.address, mail.size, mail.body) == ('"a b"@Client.example', 5, "8BITMIME")
    assert isinstance(rcpt, Rcpt)
    assert rcpt.forward_path.address == "Jones@Example.org"


def test_rejected_lines_come_with_the_reply_that_was_given() -> None:
    owner = greeted()
    answer = owner.hear(b"MAIL FROM:<>\r\n")
    assert owner.events == [Rejected(b"MAIL FROM:<>", replies.HELO_FIRST)]
    assert answer == b"503 5.5.1 say EHLO or HELO first\r\n"
