"""A configuration in the place of another: all of it or nothing, and what is under way goes on as it began."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import fail
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from mta.config.load import load
from mta.config.model import Config
from mta.dns.memory import MemoryResolver
from mta.ground import Ground
from mta.interfaces import SpoolBroken
from mta.policy.routing import Via
from mta.service import ALIKE, Relay
from mta.wiring.retired import LINGER
from mta.wiring.trouble import CannotStart

BASE = "{spool: spool, hostname: %s, admin: {listen: null}, listen: [%s], %s}\n"


class Reactor(MemoryReactorClock):
    """Remembers what is listened on. taken: ports that cannot be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: dict[int, Any] = {}
        self.taken: set[int] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        self.open[port] = factory
        reactor = self

        class Port:
            def stopListening(self) -> None:
                del reactor.open[port]

        return Port()


class Log:
    """Takes the lines of the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)

    def flush(self) -> None:
        """They are there already."""


class Standing:
    """A relay in memory, but for its spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reactor = Reactor()
        log = Log()
        self.lines = log.lines
        self.resolvers: list[MemoryResolver] = []
        self.relay = Relay(self.config(), Ground(self.reactor, log, inline=True, resolver=self._resolver))
        self.relay.startService()

    def _resolver(self, reactor: Any, config: Config) -> MemoryResolver:
        self.resolvers.append(MemoryResolver(reactor))
        return self.resolvers[-1]

    def config(self, more: str = "", ports: tuple[int, ...] = (25,), hostname: str = "one.test") -> Config:
        listen = ", ".join(f"{{address: '127.0.0.1:{port}', tls: none}}" for port in ports)
        (self.folder / "mta.yml").write_text(BASE % (hostname, listen, more))
        return load(self.folder / "mta.yml")

    def change(self, more: str = "", **how: Any) -> list[str]:
        """SIGHUP with another configuration; what the log says of it."""
        self.config(more, **how)
        del self.lines[:]
        self.relay.reload()
        return [line.split(" - ", 1)[1] for line in self.lines]

    def connect(self, port: int) -> StringTransport:
        protocol = self.reactor.open[port].buildProtocol(IPv4Address("TCP", "127.0.0.1", 4711))
        transport = StringTransport()
        protocol.makeConnection(transport)
        transport.talker = protocol
        return transport


def say(transport: StringTransport, line: str) -> str:
    transport.clear()
    transport.talker.dataReceived(f"{line}\r\n".encode())
    return transport.value().decode()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Standing]:
    made = Standing(tmp_path)
    yield made
    made.relay.stopService()
    made.reactor.advance(LINGER)


def test_who_is_here_stays_with_what_there_was_and_who_comes_finds_what_is_new(ground: Standing) -> None:
    old = ground.connect(25)
    say(old, "EHLO client.test")
    assert say(old, "MAIL FROM:<a@client.test>").startswith("250")
    told = ground.change('routes: [{to: b.test, via: "550 5.7.1 no"}], limits: {recipients: 1}', hostname="two.test")
    assert told == ["reloaded changed=hostname,postmaster,routes,limits.recipients"]
    new = ground.connect(25)
    assert new.value().startswith(b"220 two.test ")
    assert "LIMITS RCPTMAX=1\r\n" in say(new, "EHLO client.test")
    say(new, "MAIL FROM:<a@client.test>")
    assert say(new, "RCPT TO:<b@b.test>") == "550 5.7.1 no\r\n"
    for name in ("b", "c"):
        assert say(old, f"RCPT TO:<{name}@b.test>").startswith("250")
    assert say(old, "QUIT").startswith("221 2.0.0 one.test ")


def test_deliveries_that_begin_now_have_new_means_and_others_keep_theirs(ground: Standing) -> None:
    before = ground.relay._onward.means
    ground.change('routes: [{to: "*", via: discard}], retry: {after: [7s], warn: never}, history: 3s')
    after = ground.relay.manager._means
    assert before.route("", "a@b.test").hop.via is Via.MX
    assert after.route("", "a@b.test").hop.via is Via.DISCARD
    assert (before.policy.after[0], after.policy.after) == (300.0, (7.0,))
    assert ground.relay.manager._limits.pauses == (7.0,) * 6
    assert ground.relay.manager._history.keep == 3.0
    assert after.transports[Via.MX] is not before.transports[Via.MX], "it may call itself by another name now"


def test_a_port_that_cannot_be_had_leaves_everything_as_it_was(ground: Standing) -> None:
    ground.reactor.taken.add(27)
    before = (ground.relay.config, ground.relay._onward, ground.relay._inward, ground.relay._listeners)
    [told] = ground.change("history: 1d", ports=(26, 27), hostname="two.test")
    assert told == 'not-reloaded why="cannot listen on 127.0.0.1:27: Address already in use"'
    assert (ground.relay.config, ground.relay._onward, ground.relay._inward, ground.relay._listeners) == before
    assert set(ground.reactor.open) == {25}
    assert ground.connect(25).value().startswith(b"220 one.test ")


def test_listeners_come_and_go_and_those_that_stay_are_not_touched(ground: Standing) -> None:
    factory = ground.reactor.open[25]
    assert ground.change(ports=(26, 25)) == ["reloaded changed=listen"]
    assert ground.reactor.open[25] is factory
    assert ground.change(ports=(26,)) == ["reloaded changed=listen"]
    assert set(ground.reactor.open) == {26}
    assert ground.change(ports=(26,)) == ["reloaded changed=nothing"]
    assert ground.relay.deaf() == []


def test_who_is_asked_for_addresses_stays_where_nothing_of_it_has_changed(ground: Standing) -> None:
    ground.change("history: 1d")
    assert len(ground.resolvers) == 1
    stopped: list[int] = []
    stop = ground.resolvers[0].stop
    ground.resolvers[0].stop = lambda: (stopped.append(1), stop())[1]  # type: ignore[method-assign]
    ground.change("dns: {timeout: 1s}")
    assert len(ground.resolvers) == 2
    ground.reactor.advance(LINGER - 1)
    assert not stopped, "a delivery may use it yet"
    ground.reactor.advance(1)
    assert stopped


def test_logins_that_failed_are_remembered_whatever_is_changed_of_accounts(ground: Standing) -> None:
    for name in ("one", "two"):
        (ground.folder / f"{name}.yml").write_text("a@one.test: {senders: [a@one.test]}\n")
    ground.change("accounts: one.yml")
    first = ground.relay._inward.authentication
    assert first is not None
    ground.change("accounts: one.yml, history: 1d")
    assert ground.relay._inward.authentication is first
    ground.change("accounts: two.yml")
    second = ground.relay._inward.authentication
    assert second is not None
    assert second is not first
    assert second._judge.guessing is first._judge.guessing
    (ground.folder / "two.yml").write_text("broken")
    [told, done] = ground.change("accounts: two.yml")
    assert told.startswith(f"accounts-not-read file={ground.folder}/two.yml why=")
    assert done == "reloaded changed=nothing"
    [told] = ground.change("accounts: three.yml")
    assert told.startswith(f'not-reloaded why="{ground.folder}/three.yml: cannot be read')


def test_the_log_changes_its_form(ground: Standing) -> None:
    ground.config("log: {format: json}")
    del ground.lines[:]
    ground.relay.reload()
    assert '"event": "reloaded", "changed": ["log.format"]' in ground.lines[-1]


def test_a_relay_that_stops_takes_up_nothing(ground: Standing) -> None:
    change = ground.relay.prepare(ground.config(ports=(25, 26)))
    ground.relay.stopService()
    with pytest.raises(CannotStart, match="stopping"):
        ground.relay.adopt(change)
    assert not ground.reactor.open


def test_a_queue_file_that_fails_is_no_bug_of_those_who_are_told_of_events(
    ground: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says itself what is the matter with it, so there is no traceback."""
    monkeypatch.setattr(ground.relay.spool.outbox, "forget_others", lambda limit: fail(SpoolBroken("no disk")))
    with capturedLogs() as said:
        ground.relay.adopt(ground.relay.prepare(ground.config()))
        ground.reactor.advance(1)
    assert [formatEvent(one) for one in said] == ["who is told of events could not be written: no disk"]
    assert not [one for one in said if "log_failure" in one]


def passed_on(standing: Standing, listener: str) -> socket.socket:
    """A client whom another process has accepted there, and passed on to this one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 5)
        accepted, _ = server.accept()
    standing.relay.take(listener, accepted.detach())
    return client


def hears(standing: Standing, client: socket.socket) -> bytes:
    for one in list(standing.reactor.getWriters()):
        if why := one.doWrite():
            one.connectionLost(Failure(why))
    return client.recv(100)


def test_others_may_go_by_it_a_moment_before_and_pass_clients_on(ground: Standing) -> None:
    with passed_on(ground, "127.0.0.1:26") as early, passed_on(ground, "127.0.0.1:27") as lost:
        ground.change(ports=(25, 26))
        ground.reactor.advance(ALIKE)
        assert hears(ground, early).startswith(b"220 one.test ")
        assert lost.recv(100) == b"", "nobody listens there any more"
    for one in list(ground.reactor.getReaders()):
        one.connectionLost(Failure(ConnectionDone()))


def test_who_is_passed_on_to_one_that_stops_is_told_so(tmp_path: Path) -> None:
    standing = Standing(tmp_path)
    standing.relay.stopService()
    with passed_on(standing, "127.0.0.1:25") as late:
        assert hears(standing, late).startswith(b"421 4.3.2 one.test ")
        assert late.recv(100) == b""
