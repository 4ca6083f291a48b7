"""What the world answers: greetings and policies, whatever it does to be a nuisance."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest
import trustme
from dns_server import DnsServer, serving

from mta.config.load import load
from mta.dns.inquirer import Inquirer
from mta.dns.memory import Name
from mta.net.local import is_local
from mta.operating.advising import Adviser
from mta.operating.doctor.examination import examined
from mta.operating.doctor.machine import judge_other_clock
from mta.operating.doctor.outside import Outside
from mta.web.seams import NotDone, Unusable

Act = Callable[[socket.socket], None]


@contextmanager
def listening(act: Act, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that does this to each who connects; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=meet, args=(connection,), daemon=True).start()

        def meet(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                if context is None:
                    act(connection)
                    return
                with context.wrap_socket(connection, server_side=True) as encrypted:
                    act(encrypted)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def says(octets: bytes) -> Act:
    def act(connection: socket.socket) -> None:
        connection.sendall(octets)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1000)

    return act


def drips(octets: bytes) -> Act:
    """One octet now and then, for ever."""

    def act(connection: socket.socket) -> None:
        while True:
            connection.sendall(octets)
            time.sleep(0.02)

    return act


@pytest.fixture(scope="module")
def zone() -> Iterator[DnsServer]:
    with serving({"mta-sts.good.net": Name(a=["127.0.0.1"])}) as server:
        yield server


@pytest.mark.parametrize(
    ("act", "greeting", "why"),
    [
        (says(b"220 mx.good.net ESMTP\r\nmore"), "220 mx.good.net ESMTP", ""),
        (says(b"220-mx\r\n220 more\r\n"), "220-mx", ""),
        (says(b"220 \xff\x1b[2J\r\n"), "220 \\xff\x1b[2J", ""),
        (says(b""), "", "it says nothing"),
        (says(b"x" * 100_000), "x" * 512, ""),
        (drips(b"y"), "", "no answer in time"),
    ],
)
def test_greetings(zone: DnsServer, act: Act, greeting: str, why: str) -> None:
    with listening(act) as port:
        outside = Outside(Inquirer([str(zone)], 1.0, time.time), smtp_port=port, patience=0.5)
        began = time.monotonic()
        reached = outside.greeting("mx.good.net", "127.0.0.1")
        assert time.monotonic() - began < 3
    assert (reached.greeting, reached.why) == (greeting, why)


def test_nobody_listens(zone: DnsServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    outside = Outside(Inquirer([str(zone)], 1.0, time.time), smtp_port=port)
    assert outside.greeting("mx.good.net", "127.0.0.1").why == "connection refused"


OK = b"HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


@pytest.mark.parametrize(
    ("act", "octets", "why"),
    [
        (says(OK + b"Content-Length: 3\r\n\r\nabc"), b"abc", ""),
        (says(OK + b"\r\nversion: STSv1\n"), b"version: STSv1\n", ""),
        (says(OK + b"\r\n" + b"z" * 100_000), b"z" * 65_537, ""),
        (says(b"HTTP/1.1 301 Moved\r\nLocation: https://else.net/\r\n\r\n"), b"", "it is answered with status 301"),
        (says(b"HTTP/1.1 500 \x1b[2J\r\n\r\n"), b"", "it is answered with status 500"),
        (says(b"220 mx ESMTP\r\n"), b"", "220 mx ESMTP\r\n"),
        (says(OK + b"X: y\r\n" * 1000 + b"\r\n"), b"", "got more than 100 headers"),
        (says(b""), b"", "Remote end closed connection without response"),
        (drips(b"HTTP/1.1 200 OK\r\nX: "), b"", "no answer in time"),
    ],
)
def test_policies(zone: DnsServer, tmp_path: Path, act: Act, octets: bytes, why: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mta-sts.good.net").configure_cert(context)

    def hear_and_act(connection: socket.socket) -> None:
        connection.recv(1000)
        act(connection)

    with listening(hear_and_act, context) as port:
        dns = Inquirer([str(zone)], 1.0, time.time)
        outside = Outside(dns, tmp_path / "ca.pem", https_port=port, patience=0.7)
        began = time.monotonic()
        fetched, ahead = outside.policy("good.net")
        assert time.monotonic() - began < 4
    assert fetched.octets == octets
    assert fetched.why == why
    assert (ahead is not None) == bool(octets)
    if ahead is not None:
        assert judge_other_clock(ahead, "mta-sts.good.net") is not None  # it has not been 1994 for a while


def test_a_policy_host_without_an_address(zone: DnsServer) -> None:
    outside = Outside(Inquirer([str(zone)], 1.0, time.time))
    assert outside.policy("else.net")[0].why == "mta-sts.else.net has no address"


def test_the_whole_for_programs(zone: DnsServer, tmp_path: Path) -> None:
    file = tmp_path / "mta.yml"
    file.write_text(f"hostname: mail.good.net\nspool: spool\ndns: {{nameservers: ['{zone}'], timeout: 1s}}\n")
    found = examined(load(file), "Good.NET.")
    assert found["domains"] == ["good.net"]
    assert {"addresses", "mx", "spf", "disk", "clock"} <= {one["check"] for one in found["findings"]}
    assert "itself has failed" not in str(found)
    with pytest.raises(ValueError, match=r'"\\x1b" is not a domain'):
        examined(load(file), "\x1b")


def test_the_console_asks_the_same(zone: DnsServer, tmp_path: Path) -> None:
    file = tmp_path / "mta.yml"
    file.write_text(f"hostname: mail.good.net\nspool: spool\ndns: {{nameservers: ['{zone}'], timeout: 1s}}\n")
    stopping = Event()
    adviser = Adviser(load(file), stopping=stopping)
    assert adviser.doctor("")["domains"] == ["good.net"]
    with pytest.raises(Unusable, match='"good" is not a domain such as'):
        adviser.doctor("good")
    stopping.set()
    with pytest.raises(NotDone, match="being stopped"):
        adviser.doctor("good.net")


def test_what_listens_to_the_world_is_named_and_not_judged(zone: DnsServer, tmp_path: Path) -> None:
    file = tmp_path / "mta.yml"
    listen = "listen: [{address: '0.0.0.0:25'}, {address: '127.0.0.1:25'}, {address: '[::]:2525'}, {address: 'unix:x'}]"
    dns = f"dns: {{nameservers: ['{zone}'], timeout: 1s}}"
    file.write_text(f"hostname: mail.good.net\nspool: spool\n{listen}\n{dns}\n")
    (finding,) = (one for one in examined(load(file))["findings"] if one["check"] == "port 25 in")
    assert finding["level"] == "unknown"
    assert finding["seen"].startswith("whether the world reaches 0.0.0.0:25 cannot be found out from here")


def test_what_this_machine_sends_from(zone: DnsServer) -> None:
    """Addresses of its own, whichever it has."""
    for address in Outside(Inquirer([str(zone)], 1.0, time.time)).sources():
        assert is_local(address)
