"""The relay as strangers meet it: somebody else's scanner, a lax next hop behind it, and a crowd of hostile clients."""

import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dialogue import all_dialogues
from dialogue_ground import STRANGER, TRUSTED, configuration, listener, write_files
from peers.clients import Talk
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port, needs_port_25, tool, wait_until
from peers.hostile import Crowd, spoilt
from peers.knot import Dns
from peers.postfix import Postfix, running_postfix
from peers.sinks import MakeSink, Transaction

QUEUED = re.compile(rb"^250 2\.0\.0 queued as (\w+)\r$", re.MULTILINE)
TRACE_ID = re.compile(rb"\AReceived: .*?\bid (\w{12})\b", re.DOTALL)
SEED = 20_260_101
SESSIONS = 150
WAYS = [
    {"tls": "offered", "etrn": "yes", "vrfy": "all"},
    {"tls": "offered", "bare_lf": "fix", "source_routes": "follow"},
    {"tls": "required", "auth": "required"},
    {"tls": "offered", "auth": "offered", "plaintext_auth": "yes", "xclient": "yes"},
    {"tls": "implicit", "auth": "offered"},
    {"tls": "offered", "proxy": "yes"},
]

SMUGGLED = b"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@lax.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
ENDS = [
    first + b"." + last
    for first in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0\r\n")
    for last in (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\0\r\n")
    if not (first.endswith(b"\r\n") and last == b"\r\n")
]


def nmap(scripts: str, *targets: str) -> dict[str, str]:
    """What nmap's scripts say of port 25 of each address."""
    done = subprocess.run(
        [tool("nmap", "nmap"), "-Pn", "-n", "-sT", "-p", "25", "--script", scripts, *targets],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    reports = re.split(r"^Nmap scan report for ", done.stdout, flags=re.MULTILINE)[1:]
    return {report.split()[0]: report for report in reports}


@pytest.fixture
def strangers_relay(tmp_path: Path, loopback: Loopback) -> Iterator[Relay]:
    """A relay on port 25 that knows the names of its domain, and to which everybody is a stranger."""
    address = loopback.address()
    needs_port_25(address)
    directory = "ours.test:\n  mailboxes: {root: {name: Root}, admin: , test: , webmaster: }\n"
    (tmp_path / "directory.yml").write_text(directory)
    settings = {"relay": {"networks": [], "domains": ["ours.test"]}, "directory": "directory.yml"}
    with running_relay(Relay(tmp_path, address, 25, settings)) as running:
        yield running


def test_nmap_finds_no_open_relay_and_no_names(strangers_relay: Relay, relay: Relay) -> None:
    """The relay that all tests share lets this machine send anywhere: nmap does notice that."""
    scripts = "smtp-open-relay,smtp-enum-users,smtp-vuln-cve2010-4344"
    seen = nmap(scripts, strangers_relay.address, relay.address)
    assert "doesn't seem to be an open relay, all tests failed" in seen[strangers_relay.address]
    assert "Couldn't find any accounts" in seen[strangers_relay.address]
    assert "NOT VULNERABLE" in seen[strangers_relay.address]
    assert "Server is an open relay" in seen[relay.address]


def test_a_next_hop_that_takes_any_line_end_sees_no_more_messages_than_we_do(
    tmp_path: Path, loopback: Loopback, scratch: Path
) -> None:
    """Ends of content as nobody should write them, in content that is refused, or put right, or binary."""
    hop = Postfix(scratch / "lax", loopback.address(), "mx.lax.test", domain="lax.test", users=["bob"])
    hop.set(smtpd_forbid_bare_newline="no", smtpd_forbid_unauth_pipelining="no")
    address = loopback.address()
    strict, fixing = free_port(address), free_port(address)
    settings = {
        "listen": [
            {"address": f"{address}:{strict}", "tls": "none"},
            {"address": f"{address}:{fixing}", "tls": "none", "bare_lf": "fix"},
        ],
        "relay": {"domains": ["lax.test"]},
        "routes": [{"to": "*", "via": f"smtp://{hop.address}", "tls": "none"}],
    }
    with running_postfix(hop), running_relay(Relay(tmp_path, address, strict, settings)) as relay:
        _postfix_itself_is_fooled(hop)
        taken = [
            queue_id
            for port, ways in ((strict, ("DATA", "BINARYMIME")), (fixing, ("DATA", "BDAT")))
            for end in ENDS
            for way in ways
            if (queue_id := _smuggle(address, port, end, way))
        ]
        assert len(taken) >= 3 * len(ENDS), "only the strict listener refuses, and only what is not binary"
        relay.wait_until_empty()
        arrived = hop.wait_for("bob", len(taken) + 2)
        assert len(arrived) == len(taken) + 2, "a message each, and the two of before"
        assert sum(one.startswith(b"Return-Path: <evil@sender.test>") for one in arrived) == 1


def _postfix_itself_is_fooled(hop: Postfix) -> None:
    """Without us in between it does see two messages: the one above would not pass for want of a lax reader."""
    with Talk(hop.address, 25) as talk:
        talk.reply()
        for line in ("EHLO client.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<bob@lax.test>", "DATA"):
            talk.say(line)
        talk.send(b"Subject: outer\r\n\r\nouter\n.\n" + SMUGGLED + b".\r\n")
        replies = [talk.reply() for _ in range(5)]
        assert [one[:3] for one in replies] == ["250", "250", "250", "354", "250"], replies


def _smuggle(address: str, port: int, end: bytes, way: str) -> str:
    """The queue id of a message that has a second one behind such an end; "" where it was refused. One reply only."""
    content = b"Subject: outer\r\n\r\nouter" + end + SMUGGLED
    with Talk(address, port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        body = " BODY=BINARYMIME" if way == "BINARYMIME" else ""
        for line in (f"MAIL FROM:<a@sender.test>{body}", "RCPT TO:<bob@lax.test>"):
            assert talk.say(line).startswith("250")
        if way == "DATA":
            assert talk.say("DATA").startswith("354")
            talk.send(content + b".\r\n")
        else:
            talk.send(b"BDAT %d LAST\r\n" % len(content) + content)
        reply = talk.reply()
        assert talk.say("NOOP") == "250 2.0.0 ok"
        assert talk.say("QUIT").startswith("221")
    assert reply.startswith(("250 2.0.0 queued as ", "550 5.5.2 ")), reply
    return reply.removeprefix("250 2.0.0 queued as ") if reply.startswith("250") else ""


@pytest.mark.alone
def test_a_crowd_of_hostile_clients_costs_nothing_and_loses_nothing(
    tmp_path: Path, loopback: Loopback, sink: MakeSink, dns: Dns
) -> None:
    """Dialogues that were spoilt by chance, from one seed; what was accepted among them arrives."""
    _attack(tmp_path, loopback, sink, dns, SEED, SESSIONS)


@pytest.mark.soak
def test_a_crowd_of_hostile_clients_for_long(tmp_path: Path, loopback: Loopback, sink: MakeSink, dns: Dns) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    _attack(tmp_path, loopback, sink, dns, seed, 40 * SESSIONS)


def test_one_seed_makes_the_same_sessions() -> None:
    dialogues = all_dialogues()
    first, again = ([spoilt(random.Random(number), dialogues) for number in range(50)] for _ in range(2))
    assert first == again
    assert len({repr(one) for one in first}) > 40


def _attack(folder: Path, loopback: Loopback, sink: MakeSink, dns: Dns, seed: int, sessions: int) -> None:
    """Let a crowd loose on a relay with all that a listener can be set to, and balance the books."""
    hop, address = sink(), loopback.address()
    ports: list[int] = []
    while len(ports) < len(WAYS):
        ports = [*dict.fromkeys([*ports, free_port(address)])]
    write_files(folder)
    entries = [{"address": f"{address}:{port}", **listener(way)} for port, way in zip(ports, WAYS, strict=True)]
    settings = configuration(0, 100, entries)
    settings["routes"][-1] = {"to": "*", "via": f"smtp://{hop.address}", "tls": "none"}
    settings["dns"] = {"nameservers": [dns.nameserver], "timeout": "2s"}
    crowd = Crowd(address, ports, [STRANGER, TRUSTED], all_dialogues(), seed)
    with running_relay(Relay(folder, address, ports[0], settings)) as relay:
        _ask_once(relay)
        opened = _descriptors(relay)
        with _asking(relay) as times:
            crowd.play(sessions, at_once=48)
        accepted = {found.decode() for said in crowd.said for found in QUEUED.findall(said)}
        assert len(accepted) > sessions / 20, "it was no more than noise"
        # Sessions with the next hop are kept for some seconds; the sockets of clients are gone.
        wait_until(lambda: _descriptors(relay) <= opened + 10, "the sockets of the crowd are closed", 20)
        wait_until(lambda: _missing(relay, accepted, hop.transactions) == set(), "what was accepted has an end", 20)
        assert relay.process.is_alive
        assert max(times) < 2, f"a client that behaves was kept waiting: {max(times):.2f} s (seed {seed})"
        assert not re.search("Traceback|Unhandled", relay.output), f"seed {seed}"
        assert relay.resident() < 200e6, f"seed {seed}"


def _missing(relay: Relay, accepted: set[str], transactions: list[Transaction]) -> set[str]:
    """What was accepted and is neither at the next hop nor in the queue, nor has ended in another way."""
    arrived = {found[1].decode() for one in transactions if (found := TRACE_ID.match(one.content))}
    queued = {one["id"] for one in relay.queue("--limit", "100000")["messages"]}
    return {one for one in accepted - arrived - queued if not relay.story_of(one)["ended"]}


def _descriptors(relay: Relay) -> int:
    return len(list(Path(f"/proc/{relay.process.pid}/fd").iterdir()))


def _ask_once(relay: Relay) -> float:
    """A well-behaved session; how long it took, in seconds."""
    began = time.monotonic()
    with Talk(relay.address, relay.port, TRUSTED) as talk:
        said = [talk.reply()]
        said += [talk.say(line) for line in ("EHLO client.test", "MAIL FROM:<a@sender.test>", "RSET", "QUIT")]
    assert [one[:3] for one in said] == ["220", "250", "250", "250", "221"], said
    return time.monotonic() - began


@contextmanager
def _asking(relay: Relay) -> Iterator[list[float]]:
    """Meanwhile well-behaved sessions come one after the other; how long they take, in seconds."""
    times: list[float] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.1):
            times.append(60.0)  # until it has ended: a session that fails has taken too long
            times[-1] = _ask_once(relay)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    yield times
    over.set()
    asking.join(10)
    assert len(times) > 3
