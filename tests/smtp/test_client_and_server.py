"""Both sides of the language talking to each other in memory: what one sends, the other reads, octet for octet."""

from collections.abc import Iterator

from fake_owner import FakeOwner, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp import command, extensions
from mta.smtp.answers import AnswerReader
from mta.smtp.asking import Mail, Peer, Wishes
from mta.smtp.client import Delivery, How, Next, bye, deliver
from mta.smtp.opening import open_up
from mta.smtp.reply import Reply
from mta.smtp.settings import ServerSettings
from mta.smtp.steps import Commands, Content, Dialogue, Greeting

ALL = ServerSettings(message_size=1_000_000)
IN_TURN = ServerSettings(extensions=tuple(one for one in ALL.extensions if one.keyword != "PIPELINING"))


class Line:
    """A connection that cuts what is sent into pieces of every size."""

    def __init__(self, owner: FakeOwner, pieces: Iterator[int]) -> None:
        self._owner = owner
        self._pieces = pieces
        self._reader = AnswerReader()
        self._replies = self._cut_replies(owner.greet())

    def hold(self, dialogue: Dialogue[object]) -> object:
        step = next(dialogue)
        while True:
            if isinstance(step, Commands):
                self._send(b"".join(step.lines))
            elif isinstance(step, Content):
                for block in step.blocks:
                    assert not self._replies, "a reply before the end of the content"
                    self._send(block)
                step.sent = True
            else:
                assert isinstance(step, Greeting)
            assert len(self._replies) == step.replies
            replies, self._replies = self._replies, []
            try:
                step = dialogue.send(replies)
            except StopIteration as end:
                return end.value

    def _send(self, octets: bytes) -> None:
        for piece in self._cut(octets):
            self._replies += self._cut_replies(self._owner.hear(piece))

    def _cut_replies(self, octets: bytes) -> list[Reply]:
        return [reply for piece in self._cut(octets) for reply in self._reader.receive(piece)]

    def _cut(self, octets: bytes) -> Iterator[bytes]:
        while octets:
            size = next(self._pieces)
            yield octets[:size]
            octets = octets[size:]


def endlessly(sizes: list[int]) -> Iterator[int]:
    while True:
        yield from sizes


def whole(content: bytes) -> bytes:
    """As it is kept: lines end with CRLF, the last one too."""
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


pieces = st.lists(st.sampled_from([b".", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"\r", b"\n", b"a", b"\xff\x00", b"QUIT"]))
contents = st.one_of(pieces.map(b"".join), st.binary(max_size=200))
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=20)


@settings(deadline=None, max_examples=200)
@given(st.lists(contents, min_size=1, max_size=3), sizes, sizes, st.sampled_from([ALL, IN_TURN]))
def test_what_the_client_sends_the_server_reads(
    bodies: list[bytes], cuts: list[int], blocks: list[int], server: ServerSettings
) -> None:
    owner = FakeOwner(server)
    line = Line(owner, endlessly(cuts))
    peer = line.hold(open_up("me.example"))
    assert isinstance(peer, Peer)
    assert ("PIPELINING" in peer.extensions) is (server is ALL)
    after = Next.MAIL
    for body in bodies:

        def in_blocks(body: bytes = body) -> Iterator[bytes]:
            sizes = endlessly(blocks)
            while body:
                size = next(sizes)
                yield body[:size]
                body = body[size:]

        eight_bit = not body.isascii()
        mail = Mail("s@example.com", ["a@example.org", "unknown@example.org"], len(body), eight_bit, True, in_blocks)
        delivery = line.hold(deliver(peer, mail, after))
        assert isinstance(delivery, Delivery)
        assert [ending.how for ending in delivery.endings] == [How.TAKEN, How.REFUSED]
        after = delivery.next
    line.hold(bye())
    assert owner.messages == [Message("s@example.com", ("a@example.org",), whole(body)) for body in bodies]
    assert owner.session.closing


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", "unknown"]), min_size=1, max_size=14), st.sampled_from([ALL, IN_TURN]))
def test_every_recipient_that_the_server_knows_is_reached_once(names: list[str], server: ServerSettings) -> None:
    """The server takes five recipients at a time."""
    owner = FakeOwner(server)
    line = Line(owner, endlessly([1000]))
    peer = line.hold(open_up("me.example"))
    assert isinstance(peer, Peer)
    addresses = [f"{name}{number}@example.org" for number, name in enumerate(names)]
    mail = Mail("", addresses, 6, False, False, lambda: iter([b"hello\r\n"]))
    delivery = line.hold(deliver(peer, mail))
    assert isinstance(delivery, Delivery)
    known = [address for address in addresses if not address.startswith("unknown")]
    taken = [one for one, end in zip(addresses, delivery.endings, strict=True) if end.how is How.TAKEN]
    assert taken == known
    assert sorted(one for message in owner.messages for one in message.recipients) == sorted(known)


@settings(deadline=None, max_examples=100)
@given(st.lists(contents, min_size=1, max_size=3), sizes, sizes, st.booleans())
def test_binary_content_is_read_octet_for_octet(
    bodies: list[bytes], cuts: list[int], blocks: list[int], pipelining: bool
) -> None:
    """RFC 3030."""
    owner = FakeOwner(ALL if pipelining else IN_TURN)
    line = Line(owner, endlessly(cuts))
    peer = line.hold(open_up("me.example"))
    assert isinstance(peer, Peer)
    after = Next.MAIL
    for body in bodies:

        def in_blocks(body: bytes = body) -> Iterator[bytes]:
            sizes = endlessly(blocks)
            while body:
                size = next(sizes)
                yield body[:size]
                body = body[size:]

        mail = Mail("s@example.com", ["a@example.org", "unknown@example.org"], len(body), True, True, in_blocks, True)
        delivery = line.hold(deliver(peer, mail, after))
        assert isinstance(delivery, Delivery)
        assert [ending.how for ending in delivery.endings] == [How.TAKEN, How.REFUSED]
        after = delivery.next
    line.hold(bye())
    assert owner.messages == [Message("s@example.com", ("a@example.org",), body) for body in bodies]


EVERYTHING = ServerSettings(
    extensions=(*extensions.EXTENSIONS, *extensions.auth(["PLAIN"]), extensions.REQUIRETLS, extensions.MT_PRIORITY)
)
WISHES = Wishes(
    ret="HDRS",
    envid="QQ+2B314",
    notifications=[("NEVER", "utf-8;ü\\x{2B}@é.example"), ("SUCCESS,DELAY", "rfc822;b+2Bc@example.org")],
    auth="e+mc2@example.com",
    utf8=True,
    requiretls=True,
    priority=-3,
    by=3600,
    by_mode="RT",
)


def test_what_is_wished_for_is_understood() -> None:
    owner = FakeOwner(EVERYTHING)
    line = Line(owner, endlessly([7]))
    peer = line.hold(open_up("me.example"))
    assert isinstance(peer, Peer)
    peer = peer._replace(tls="TLSv1.3", verified=True, authenticated=True)
    paths = ["ä@example.org", "b@example.org"]
    mail = Mail("ö@ü.example", paths, 6, True, False, lambda: iter([b"hello\r\n"]), wishes=WISHES)
    delivery = line.hold(deliver(peer, mail))
    assert isinstance(delivery, Delivery)
    assert [ending.how for ending in delivery.endings] == [How.TAKEN, How.TAKEN]
    [(path, parameters)] = [(one.reverse_path, one.parameters) for one in owner.events if isinstance(one, command.Mail)]
    assert path.address == "ö@ü.example"
    assert parameters == {
        "SIZE": "6",
        "BODY": "8BITMIME",
        "SMTPUTF8": "",
        "RET": "HDRS",
        "ENVID": "QQ+2B314",
        "AUTH": "e+mc2@example.com",
        "REQUIRETLS": "",
        "MT-PRIORITY": "-3",
        "BY": "3600;RT",
    }
    rcpts = [(one.forward_path.address, one.parameters) for one in owner.events if isinstance(one, command.Rcpt)]
    assert rcpts == [
        (paths[0], {"NOTIFY": "NEVER", "ORCPT": WISHES.notifications[0][1]}),
        (paths[1], {"NOTIFY": "SUCCESS,DELAY", "ORCPT": WISHES.notifications[1][1]}),
    ]
