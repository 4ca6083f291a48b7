"""The admin address over a reload: what was under way goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from set_clock import SetClock
from test_site import HEAD, Transport
from twisted.internet.testing import MemoryReactorClock
from web_ground import TOKEN, Running

from mta.admin.pages import Seen
from mta.admin.service import Admin
from mta.config.load import load
from mta.net.threads import NoThreads
from mta.web.access import COOKIE, FIRST_WAIT, FORGOTTEN, LASTS
from mta.web.console.errands import Errand
from mta.web.console.watch import Watch
from mta.web.listening import HEARTBEAT
from mta.web.seams import NotDone


class Relay(Running):
    """Remembers who wants to be told of events."""

    def __init__(self) -> None:
        super().__init__()
        self.take: Callable[[dict[str, Any]], None] | None = None

    def listen(self, take: Callable[[dict[str, Any]], None] | None) -> None:
        self.take = take


def test_who_listens_to_events_goes_on_listening(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    file = tmp_path / "mta.yml"
    file.write_text("spool: spool\nlisten: [{address: 127.0.0.1:0}]\nadmin: {listen: 127.0.0.1:0, token_file: token}\n")
    config, relay, reactor = load(file), Relay(), MemoryReactorClock()
    admin = Admin(config, reactor, relay, lambda *_, **__: None, Seen(Watch(), lambda _: None, lambda: None))

    def listener() -> tuple[Any, Transport]:
        protocol, transport = admin.site.buildProtocol(None), Transport()
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET /api/v1/events HTTP/1.1\r\n{HEAD}\r\n".encode())
        reactor.advance(HEARTBEAT)
        return protocol, transport

    first, heard = listener()
    admin.adopt(config)
    second, heard_later = listener()
    assert relay.take is not None
    relay.take({"event": "delivered", "id": "A"})
    assert '"id": "A"' in heard.value().decode() and '"id": "A"' in heard_later.value().decode()
    second.connectionLost(None)
    assert relay.take is not None
    relay.take({"event": "delivered", "id": "B"})
    assert '"id": "B"' in heard.value().decode()
    first.connectionLost(None)
    assert relay.take is None


def test_what_is_being_found_out_goes_on_and_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.admin.service.PooledThreads", lambda *_: NoThreads())
    (tmp_path / "token").write_text(TOKEN)
    file = tmp_path / "mta.yml"
    text = "spool: spool\nlisten: [{address: 127.0.0.1:0}]\nadmin: {listen: 127.0.0.1:0, token_file: token}\n"
    file.write_text(text)
    reactor = MemoryReactorClock()
    admin = Admin(load(file), reactor, Relay(), lambda *_, **__: None, Seen(Watch(), lambda _: None, lambda: None))

    def page(domain: str) -> str:
        protocol, transport = admin.site.buildProtocol(None), Transport()
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET /doctor?domain={domain} HTTP/1.1\r\n{HEAD}\r\n".encode())
        reactor.advance(1)
        return transport.value().decode().partition("\r\n\r\n")[2].partition("<footer>")[0]  # which has the time

    adviser = admin._adviser
    admin._found._errands["doctor", "example.org"] = Errand(0.0)
    before = page("example.org")
    assert before.replace("example.org", "") != page("example.net").replace("example.net", "")
    file.write_text(text + "history: 1d\n")
    admin.adopt(load(file))
    assert page("example.org") == before
    adviser._go_on()  # or it would raise, and so end what it is at
    admin.startService()
    admin.stopService()
    for one in (adviser, admin._adviser):
        with pytest.raises(NotDone):
            one._go_on()


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_sessions_and_guesses_last_as_long_however_the_clock_is_set(
    step: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mta.admin.service.PooledThreads", lambda *_: NoThreads())
    (tmp_path / "token").write_text(TOKEN)
    file = tmp_path / "mta.yml"
    file.write_text("spool: spool\nlisten: [{address: 127.0.0.1:0}]\nadmin: {listen: 127.0.0.1:0, token_file: token}\n")
    clock = SetClock(monkeypatch, 1_800_000_000.0)
    admin = Admin(load(file), clock, Relay(), lambda *_, **__: None, Seen(Watch(), lambda _: None, lambda: None))
    admission, client = admin._admission, "192.0.2.7"
    cookie = f"{COOKIE}={admission.sessions.begin(None)}"
    admission._friends.add(client, None)
    assert [admission._guessing.begin(client) for _ in range(2)] == [FIRST_WAIT, 2 * FIRST_WAIT]
    clock.set(step)
    clock.advance(FORGOTTEN - 1)
    assert admission._guessing.begin(client) == 4 * FIRST_WAIT
    clock.advance(FORGOTTEN + 1)
    assert admission._guessing.begin(client) == FIRST_WAIT
    clock.advance(LASTS - 2 * FORGOTTEN - 1)
    assert admission.sessions.find(cookie, None) is not None
    assert admission._friends.has(client, None)
    clock.advance(2)
    assert admission.sessions.find(cookie, None) is None
    assert not admission._friends.has(client, None)
