"""Over octets: what is bounded, and what is answered where a bound is reached."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from web_ground import TOKEN, Web

from mta.net.threads import NoThreads
from mta.web import listening, site
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
        self.clients: list[tuple[Any, Transport]] = []
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
        self.clients.append((protocol, transport))
        return protocol, transport

    def cut_off(self) -> list[Any]:
        """Those whose connections were ended by us, which a real transport would have told them."""
        return [protocol for protocol, transport in self.clients if transport.aborting]

    def ask(self, text: str) -> Transport:
        protocol, transport = self.connect()
        protocol.dataReceived(text.encode())
        return transport


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    yield one
    for channel in {*one.site.channels, *one.cut_off()}:
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


ASKING = f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n"
STRANGER = "GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong-{}\r\n\r\n"


def test_connections_have_a_bound(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is cut off who has shown the token and is being answered."""
    monkeypatch.setattr(site, "STREAMS", site.CONNECTIONS)
    clients = [house.connect() for _ in range(site.CONNECTIONS)]
    for protocol, _ in clients:
        protocol.dataReceived(ASKING.encode())
    assert house.site.buildProtocol(None) is None
    clients[0][0].connectionLost(None)
    assert house.site.buildProtocol(None) is not None
    assert not any(transport.aborting for _, transport in clients)


@pytest.mark.parametrize(
    "begun",
    ["", "GET /healthz HT", "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx", STRANGER],
)
def test_strangers_who_hold_connections_keep_nobody_out(house: House, begun: str) -> None:
    strangers = []
    for number in range(site.CONNECTIONS):
        protocol, transport = house.connect()
        protocol.dataReceived(begun.replace("{}", str(number)).encode())
        strangers.append(transport)
        house.web.clock.advance(0.001)
    assert status(house.ask(f"GET /blocks HTTP/1.1\r\n{HEAD}\r\n")) == 200
    assert sum(one.aborting for one in strangers) == 1
    assert len(house.site.channels) == site.CONNECTIONS


def test_who_has_shown_the_token_is_spared_as_long_as_there_are_others(house: House) -> None:
    kept = house.ask(f"GET /blocks HTTP/1.1\r\n{HEAD}\r\n")
    listener = house.ask(ASKING)
    house.web.clock.advance(1)
    for _ in range(3 * site.CONNECTIONS):
        house.connect()
    assert not kept.aborting and not listener.aborting
    assert len(house.site.channels) == site.CONNECTIONS
    for _ in range(site.CONNECTIONS - 2):
        house.ask(f"GET /blocks HTTP/1.1\r\n{HEAD}\r\n")
    assert not kept.aborting
    house.connect()
    assert kept.aborting and not listener.aborting, "there is nobody else, and nothing was being done for it"


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
    head, _, body = transport.text().partition("\r\n\r\n")
    assert json.loads(body)["status"] == status(transport) in (400, 414, 431)
    assert "Content-Type: application/problem+json" in head and f"Content-Length: {len(body)}" in head


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
    house.web.clock.advance(listening.HEARTBEAT)
    assert transport.text().endswith(": here\n\n\r\n")
    protocol.connectionLost(None)
    assert house.take is None


def test_a_stream_of_events_ends_where_that_was_asked_for(house: House) -> None:
    counted = house.ask(f"GET /api/v1/events?limit=2&kinds=delivered HTTP/1.1\r\n{HEAD}\r\n")
    timed = house.ask(f"GET /api/v1/events?for=2s HTTP/1.1\r\n{HEAD}\r\n")
    house.web.clock.advance(1)
    assert house.take is not None
    for name in "ABC":
        house.take({"event": "delivered", "id": name})
        house.take({"event": "deferred", "id": name})
    assert counted.text().endswith('"id": "B"}\n\n\r\n0\r\n\r\n') and '"C"' not in counted.text()
    assert not timed.text().endswith("\r\n0\r\n\r\n")
    house.web.clock.advance(1)
    assert timed.text().endswith('"id": "C"}\n\n\r\n0\r\n\r\n')
    assert house.take is None
    assert house.site.streams == 0
    for wrong in ("limit=0", "limit=x", "for=2", "for=", "kinds=", "kinds=a,,b", "kinds=" + "a" * 21):
        assert status(house.ask(f"GET /api/v1/events?{wrong} HTTP/1.1\r\n{HEAD}\r\n")) == 422, wrong


def test_a_slow_listener_gets_all_before_the_end(house: House) -> None:
    protocol, transport = house.connect()
    protocol.dataReceived(f"GET /api/v1/events?limit=2 HTTP/1.1\r\n{HEAD}\r\n".encode())
    house.web.clock.advance(0)
    assert house.take is not None
    transport.producer.pauseProducing()
    for name in "AB":
        house.take({"event": "delivered", "id": name})
    assert '"A"' not in transport.text()
    transport.producer.resumeProducing()
    assert transport.text().endswith('"id": "B"}\n\n\r\n0\r\n\r\n')


def test_who_does_not_read_events_is_cut_off(house: House) -> None:
    protocol, transport = house.connect()
    protocol.dataReceived(f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n".encode())
    house.web.clock.advance(0)
    assert transport.producer is not None
    transport.producer.pauseProducing()
    assert house.take is not None
    house.take({"event": "delivered"})
    house.web.clock.advance(listening.LISTENING - 1)
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
    house.web.clock.advance(listening.HEARTBEAT)
    assert not by_token[1].aborting and not by_session[1].aborting
    house.web.admission.sessions.end(f"mta_session={cookie}")
    house.web.clock.advance(listening.HEARTBEAT)
    assert not by_token[1].aborting and by_session[1].aborting
    house.web.file.write_text(TOKEN[::-1])
    house.web.clock.advance(listening.HEARTBEAT)
    assert by_token[1].aborting


def test_a_length_of_too_many_digits_is_a_bad_request(house: House) -> None:
    transport = house.ask(f"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {'9' * 8000}\r\n\r\n")
    assert (status(transport), transport.disconnecting) == (400, True)
