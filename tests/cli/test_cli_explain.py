"""`mta explain`: what would become of a mail; its answers come from a name server of the tests' and from the queue."""

import json
import os
import re
from collections.abc import Iterator

import pytest
from cli_ground import Ground
from dns_server import DnsServer

from mta.dns.memory import Name
from mta.policy.exchangers import Exchanger

ZONES = {"there.test": Name(mx=[Exchanger(10, "mx.there.test")]), "mx.there.test": Name(a=["192.0.2.9"])}


@pytest.fixture
def server() -> Iterator[DnsServer]:
    made = DnsServer(ZONES)
    yield made
    made.stop()


@pytest.fixture
def asking(ground: Ground, server: DnsServer) -> Ground:
    """A relay that asks this server, and has a route."""
    routes = 'routes:\n  - {to: "*", from: "<>", via: "smtp://192.0.2.8:25"}\n'
    ground.file.write_text(f'{ground.file.read_text()}dns: {{nameservers: ["{server}"]}}\n{routes}')
    return ground


def test_what_would_become_of_a_mail(asking: Ground) -> None:
    printed = asking.mta("explain", "bob@there.test").stdout
    assert re.search(r"^mail +from somebody@relay.test for bob@there.test$", printed, re.M)
    assert re.search(r"^accepted +at RCPT: 250 2.1.5 recipient ok$", printed, re.M)
    assert re.search(r"^to +bob@there.test: tried at there.test$", printed, re.M)
    assert re.search(
        r"^  hosts +MX of there.test: mx.there.test \(10\)\n    mx.there.test \[192.0.2.9\]:25$", printed, re.M
    )
    assert re.search(r"^  queue +nothing waits for it$", printed, re.M)
    assert asking.rows("SELECT count(*) FROM message") == [(0,)]


def test_a_route_is_told_with_its_line(asking: Ground) -> None:
    printed = asking.mta("explain", "--from", "<>", "bob@there.test").stdout
    assert re.search(rf"^  route +routes\[0\]: from <>  \({re.escape(str(asking.file))}:6\)$", printed, re.M)
    assert "    [192.0.2.8]:25\n" in printed


def test_as_json(asking: Ground) -> None:
    asking.add("carol@there.test")
    told = json.loads(asking.mta("explain", "--json", "bob@there.test", "--client", "192.0.2.77").stdout)
    assert (told["accepted"], told["command"], told["reply"][:9], told["ways"]) == (False, "RCPT", "550 5.7.1", [])
    told = json.loads(asking.mta("explain", "--json", "bob@there.test").stdout)
    assert told["question"] == {
        "address": "bob@there.test",
        "sender": "somebody@relay.test",
        "client": "127.0.0.1",
        "account": "",
        "listener": "127.0.0.1:2525",
    }
    [way] = told["ways"]
    assert (way["recipients"], way["reverse_path"], way["end"]) == (["bob@there.test"], "somebody@relay.test", "tried")
    assert way["next_hop"]["hosts"] == [{"name": "mx.there.test", "addresses": ["192.0.2.9"], "port": 25}]
    assert way["next_hop"]["queue"]["waiting"] == 1
    assert told["retry"]["tries"][0] == told["time"]


def test_a_dns_that_does_not_answer_is_said_to(asking: Ground, server: DnsServer) -> None:
    server.failures.add("there.test")
    printed = asking.mta("explain", "bob@there.test").stdout
    assert re.search(r"^to +bob@there.test: is deferred: 451 4.4.3 the DNS look-up of there.test failed", printed, re.M)


def test_a_queue_that_cannot_be_read_does_not_matter(asking: Ground) -> None:
    os.truncate(asking.spool / "queue-0.db", 0)
    (asking.spool / "queue-0.db").write_bytes(b"no database" * 1000)
    done = asking.mta("explain", "bob@there.test")
    assert "tried at there.test" in done.stdout
    assert "queue  " not in done.stdout
    assert "mta: how things stand in the queue is not known: " in done.stderr


def test_what_makes_no_sense_is_used_wrongly(asking: Ground) -> None:
    assert "the client must be an IP address" in asking.mta("explain", "a@b.test", "--client", "x", status=2).stderr
    assert "names no accounts" in asking.mta("explain", "a@b.test", "--account", "alice", status=2).stderr


def test_on_a_terminal_it_is_laid_out(asking: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta.cli.output.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    printed = asking.mta("explain", "bob@there.test").stdout
    assert "mx.there.test [192.0.2.9]:25" in printed
    assert max(map(len, printed.splitlines())) <= 60
