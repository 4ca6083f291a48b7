"""Over octets: what is bounded, and what is answered where a bound is reached."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from web_ground import TOKEN, Web

from mta.net.threads import NoThreads
from mta.web import site
from mta.web.events import Events
from mta.web.events import routes as events_routes
from mta.web.exchange import Answer, Call
from mta.web.routes import Route
from mta.web.site import Site

HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"


class Transport(StringTransport):
    """Remembers that it was cut off."""

    aborting = False

    def abortConnection(self) -> None:
        self.aborting = True
        self.disconnecting = True

    def text(self) -> str:
        return self.value().decode()


async def echo(call: Call) -> Answer:
    return Answer(200, "text/plain", call.text().encode())


async def blocks(call: Call) -> Answer:
    return Answer(200, "text/plain", iter([b"one ", b"two ", b"three"]), length=13)


class House:
    """A site on a clock, and its clients."""

    def __init__(self, folder: Path) -> None:
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.take: Callable[[dict[str, Any]], None] | None = None
        events = Events(self, lambda: self.web.clock.seconds())  # type: ignore[arg-type]
        self.web = Web(
            folder,
            [Route("POST", "/echo", echo, most=100), Route("GET", "/blocks", blocks), *events_routes(events)],
        )
        self.site = Site(self.web.clock, self.web.application, NoThreads(), self._note)

    def listen(self, take: Callable[[dict[str, Any]], None] | None) -> None:
        self.take = take

    def _note(self, kind: str, message: int | None = None, /, **fields: Any) -> None:
        self.notes.append((kind, fields))

    def connect(self) -> tuple[Any, Transport]:
        protocol = self.site.buildProtocol(None)
        assert protocol is not None
        transport = Transport()
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, text: str) -> Transport:
        protocol, transport = self.connect()
        protocol.dataReceived(text.encode())
        return transport


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    for channel in list(one.site.channels):
        channel.connectionLost(Failure(ConnectionDone()))


def status(transport: Transport) -> int:
    return int(transport.text().split(" ")[1])


def test_an_answer_on_the_wire(house: House) -> None:
    text = house.ask("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").text()
    head, _, body = text.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert "Cache-Control: no-store" in head
    head, _, body = house.ask("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").text().partition("\r\n\r\n")
    assert (body, "Content-Length: 34" in head) == ("", True)


def test_what_changes_something_is_logged(house: House) -> None:
    house.ask(f"POST /echo HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\nhi")
    house.ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
    house.ask(f"GET /blocks HTTP/1.1\r\n{HEAD}\r\n")
    assert [(kind, fields["did"]) for kind, fields in house.notes] == [("admin", "POST /echo")]


def test_content_has_a_bound_that_strangers_reach_soon(house: House) -> None:
    def post(length: int, head: str = HEAD, most: int = 10**6) -> Transport:
        return house.ask(f"POST /echo HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{'x' * min(length, most)}")

    assert status(post(100)) == 200
    assert status(post(101)) == 413
    assert status(post(101, "Host: localhost\r\n")) == 401
    for head, expected in ((HEAD, 413), ("Host: localhost\r\n", 401)):
        huge = post(site.SLACK * 2, head, most=0)  # answered before it comes
        assert (status(huge), huge.disconnecting) == (expected, True)


def test_chunks_are_counted_too(house: House) -> None:
    start = f"POST /echo HTTP/1.1\r\n{HEAD}Transfer-Encoding: chunked\r\n\r\n"
    assert status(house.ask(start + "5\r\nhello\r\n0\r\n\r\n")) == 200
    assert status(house.ask(start + "65\r\n" + "x" * 0x65 + "\r\n0\r\n\r\n")) == 413
    protocol, transport = house.connect()
    protocol.dataReceived(start.encode())
    for _ in range(site.SLACK // 65536 + 2):
        protocol.dataReceived(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        if transport.aborting:
            break
    assert transport.aborting


@pytest.mark.parametrize(
    "begun", ["", "GET /healthz HTTP/1.1\r\nHost: loc", "POST /echo HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
)
def test_who_takes_too_long_to_ask_is_cut_off(house: House, begun: str) -> None:
    protocol, transport = house.connect()
    for letter in begun:
        protocol.dataReceived(letter.encode())
    for _ in range(int(site.PATIENCE / 5) - 1):
        house.web.clock.advance(5)
        protocol.dataReceived(b"")
    assert not transport.aborting
    house.web.clock.advance(6)
    assert transport.aborting or transport.disconnecting


def test_connections_have_a_bound(house: House) -> None:
    clients = [house.connect() for _ in range(site.CONNECTIONS)]
    assert house.site.buildProtocol(None) is None
    clients[0][0].connectionLost(None)
    assert house.site.buildProtocol(None) is not None


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + "X-A: b\r\n" * 101 + "\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 20_000 + "\r\n\r\n",
        "GET /" + "x" * 20_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_the_connection(house: House, text: str) -> None:
    transport = house.ask(text)
    assert transport.disconnecting
    assert "200" not in transport.text()[:20]


def test_blocks_wait_for_a_slow_client(house: House) -> None:
    assert house.ask(f"GET /blocks HTTP/1.1\r\n{HEAD}\r\n").text().endswith("one two three")


def test_events_are_told_as_long_as_somebody_listens(house: House) -> None:
    assert house.take is None
    protocol, transport = house.connect()
    protocol.dataReceived(f"GET /api/v1/events?kinds=delivered HTTP/1.1\r\n{HEAD}\r\n".encode())
    house.web.clock.advance(0)
    assert house.take is not None
    transport.clear()
    house.take({"event": "received", "id": "A"})
    house.take({"event": "delivered", "id": "B\n\ndata: forged"})
    told = transport.text()
    assert 'event: delivered\ndata: {"event": "delivered", "id": "B\\n\\ndata: forged"}\n\n' in told
    assert "received" not in told
    transport.clear()
    for number in range(500):
        house.take({"event": "delivered", "id": str(number)})
    assert transport.text().count("event: delivered") <= 100
    house.web.clock.advance(1)
    house.take({"event": "delivered", "id": "later"})
    assert '"event": "skipped", "events": 402}' in transport.text()
    transport.clear()
    house.web.clock.advance(site.HEARTBEAT)
    assert transport.text().endswith(": here\n\n\r\n")
    protocol.connectionLost(None)
    assert house.take is None


def test_who_does_not_read_events_is_cut_off(house: House) -> None:
    protocol, transport = house.connect()
    protocol.dataReceived(f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n".encode())
    house.web.clock.advance(0)
    assert transport.producer is not None
    transport.producer.pauseProducing()
    assert house.take is not None
    house.take({"event": "delivered"})
    house.web.clock.advance(site.LISTENING - 1)
    assert not transport.aborting
    house.web.clock.advance(2)
    assert transport.aborting


def test_streams_have_a_bound(house: House) -> None:
    asked = [house.ask(f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n") for _ in range(site.STREAMS + 1)]
    house.web.clock.advance(0)
    assert [status(one) for one in asked] == [200] * site.STREAMS + [503]


def test_who_may_not_ask_any_more_does_not_listen_either(house: House) -> None:
    by_token, by_session = house.connect(), house.connect()
    cookie = house.web.admission.sessions.begin(house.web.admission.token.generation())
    for (protocol, _), shown in (
        (by_token, f"Authorization: Bearer {TOKEN}"),
        (by_session, f"Cookie: mta_session={cookie}"),
    ):
        protocol.dataReceived(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{shown}\r\n\r\n".encode())
    house.web.clock.advance(site.HEARTBEAT)
    assert not by_token[1].aborting and not by_session[1].aborting
    house.web.admission.sessions.end(f"mta_session={cookie}")
    house.web.clock.advance(site.HEARTBEAT)
    assert not by_token[1].aborting and by_session[1].aborting
    house.web.file.write_text(TOKEN[::-1])
    house.web.clock.advance(site.HEARTBEAT)
    assert by_token[1].aborting


def test_a_length_of_too_many_digits_is_a_bad_request(house: House) -> None:
    transport = house.ask(f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'9' * 8000}\r\n\r\n")
    assert (status(transport), transport.disconnecting) == (400, True)
