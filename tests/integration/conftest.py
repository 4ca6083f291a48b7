"""What integration tests stand on: real peers, shared by all where they can be, and relays started from files."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers.books import FIGURES
from peers.daemon import Relay, StartRelay, running_relay
from peers.dovecot import Dovecot, running_dovecot
from peers.ground import Loopback, Process, free_port, needs_port_25
from peers.hops import HOST, OTHER_NAME, Hops, running_hops
from peers.knot import Dns, serving
from peers.postfix import Postfix, running_postfix
from peers.sinks import MakeSink, Sink, Sinks, thread_of_sinks
from peers.submission import USER, Office, Papers, open_office
from peers.web import TOKEN, Admin, StartAdmin


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that fails shows what the relays and peers of that moment have written."""
    report = yield
    if report.failed:
        for process in Process.everyone:
            tail = process.output[-12_000 if process.name.startswith("relay") else -1_500 :]
            report.sections.append((f"output of {process.name}", tail))
    return report


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The books of the soaks are the last that is printed; all other runs end with pytest's summary."""
    if config.getoption("markexpr") == "soak":
        for figures in FIGURES:
            print(figures)


@pytest.fixture(scope="session")
def loopback() -> Loopback:
    return Loopback()


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder with a short name that every user of the machine may pass through, as some peers need it."""
    folder = Path(tempfile.mkdtemp(prefix="mta-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def dns(scratch: Path, loopback: Loopback) -> Iterator[Dns]:
    """Knot, which the relays ask. Zones are added by the tests, each its own."""
    folder = scratch / "knot"
    folder.mkdir()
    with serving(folder, loopback.address()) as server:
        yield server


@pytest.fixture(scope="session")
def sinks() -> Iterator[Sinks]:
    with thread_of_sinks() as thread:
        yield thread


@pytest.fixture
def sink(sinks: Sinks, loopback: Loopback) -> Iterator[MakeSink]:
    """Makes mail exchangers: a new address each, port 25."""
    made: list[Sink] = []

    def make(name: str = "sink.test", address: str = "", port: int = 25) -> Sink:
        made.append(sinks.listen(address or loopback.address(), port, name))
        return made[-1]

    yield make
    for one in made:
        sinks.pause(one)


@pytest.fixture(scope="session")
def senders(dns: Dns, sinks: Sinks, loopback: Loopback) -> Sink:
    """Where mail for sender.test goes: the bounces of all tests, each with its own sender."""
    sink = sinks.listen(loopback.address(), 25, "mx.sender.test")
    dns.zone("sender.test", f"@ MX 10 mx\nmx A {sink.address}")
    return sink


@pytest.fixture
def sender(request: pytest.FixtureRequest, senders: Sink) -> str:
    """A reverse-path that only this test uses; its mail arrives at `senders`."""
    return f"{request.node.originalname.removeprefix('test_')[:50]}@sender.test"


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory, dns: Dns, senders: Sink, loopback: Loopback) -> Iterator[Relay]:
    """The relay that most tests share.

    Clients of 127.0.0.1 may relay, others of 127.0.0.0/8 may not. It also listens on port 25 of its address, so that
    MX records can lead to it; refusals and domains of its own serve the tests of the door.
    """
    address = loopback.address()
    needs_port_25(address)
    port = free_port(address)
    settings = {
        "postmaster": "postmaster@sender.test",
        "listen": [{"address": f"{address}:{one}", "tls": "none"} for one in (port, 25)],
        "relay": {"networks": ["127.0.0.1/32"], "domains": ["ours.test"]},
        "routes": [
            {"to": "closed.test", "via": "550 5.7.1 this domain takes no mail"},
            {"to": "nobody@ours.test", "via": "550 5.1.1 there is nobody of that name"},
        ],
        "dns": {"nameservers": [dns.nameserver], "timeout": "2s"},
    }
    with running_relay(Relay(tmp_path_factory.mktemp("shared"), address, port, settings)) as running:
        yield running


@pytest.fixture
def make_relay(tmp_path: Path, dns: Dns, loopback: Loopback) -> Iterator[StartRelay]:
    """Makes relays of one's own, not started yet: keyword arguments are keys of the configuration."""
    made: list[Relay] = []

    def make(folder: Path | None = None, options: Any = (), before: Any = (), **settings: Any) -> Relay:
        where = folder or tmp_path / f"relay{len(made)}"
        where.mkdir(exist_ok=True)
        address = loopback.address()
        chosen = {"dns": {"nameservers": [dns.nameserver], "timeout": "2s"}, **settings}
        made.append(Relay(where, address, free_port(address), chosen, options, before))
        return made[-1]

    yield make
    for relay in made:
        with contextlib.suppress(pytest.fail.Exception):
            if relay.process.is_alive:
                relay.stop()
        relay.process.forget()


@pytest.fixture
def start_relay(make_relay: StartRelay) -> StartRelay:
    """Makes relays of one's own and waits until they greet."""

    def start(**settings: Any) -> Relay:
        relay = make_relay(**settings)
        relay.start()
        return relay

    return start


@pytest.fixture
def start_admin(make_relay: StartRelay, loopback: Loopback, tmp_path: Path) -> StartAdmin:
    """Starts a relay with an admin address; keyword arguments are keys of the configuration."""

    def start(**settings: object) -> tuple[Relay, Admin]:
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        address = loopback.address()
        where = f"{address}:{free_port(address)}"
        relay = make_relay(admin={"listen": where, "token_file": str(tmp_path / "token")}, **settings)
        relay.start()
        return relay, Admin(where)

    return start


@pytest.fixture(scope="session")
def postfix(scratch: Path, loopback: Loopback, dns: Dns) -> Iterator[Postfix]:
    """Postfix with the mailboxes bob and carol in post.test, found through MX."""
    address = loopback.address()
    dns.zone("post.test", f"@ MX 10 mx\nmx A {address}")
    with running_postfix(Postfix(scratch / "postfix", address, "mx.post.test", "post.test", ["bob", "carol"])) as one:
        yield one


@pytest.fixture(scope="session")
def dovecot(scratch: Path, loopback: Loopback) -> Iterator[Dovecot]:
    """Dovecot with the mailboxes of bob and carol in store.test, over LMTP."""
    folder = scratch / "dovecot"
    folder.mkdir()
    with running_dovecot(Dovecot(folder, loopback.address(), ["bob@store.test", "carol@store.test"])) as one:
        yield one


@pytest.fixture(scope="session")
def hops(scratch: Path, loopback: Loopback, dns: Dns, senders: Sink) -> Iterator[Hops]:
    """Postfix as a next hop of many kinds, in hops.test."""
    address = loopback.address()
    names = "\n".join(f"{name}. A {address}" for name in (HOST, OTHER_NAME))
    dns.zone("hops.test", f"@ MX 10 {HOST}.\n{names}")
    with running_hops(Hops(scratch / "hops", address, senders.address)) as one:
        yield one


@pytest.fixture(scope="session")
def office(scratch: Path, loopback: Loopback, sinks: Sinks) -> Iterator[Office]:
    """A relay that people log in to, and the next hop of all its mail."""
    address, onward = loopback.address(), loopback.address()
    hop = sinks.listen(onward, free_port(onward), "hop.test")
    hop.extensions += ("DSN", "SMTPUTF8")
    folder = scratch / "office"
    folder.mkdir()
    with open_office(folder, address, Papers(scratch / "papers", address, USER), hop) as one:
        yield one
    sinks.pause(hop)
