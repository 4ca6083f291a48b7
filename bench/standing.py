"""Standing: what is measured of a relay at rest, with a queue, and under a tracer."""

import resource
import socket
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.lanes import Lane
from bench.ledger import faults
from bench.load import Load, to_accept
from bench.measure import calls_of, counting_calls
from bench.tables import Column, Run
from bench.trials import drain

WATCHED = 3.0  # seconds

IDLE = [
    Column("at_rest", "MiB at rest"),
    Column("greeted", "sessions"),
    Column("memory", "MiB with them"),
    Column("each", "KiB per session", ratio=True),
    Column("cpu", "CPU ms per second"),
]
BACKLOG = [
    Column("empty", "accepted/s, empty queue"),
    Column("full", "with the backlog"),
    Column("slower", "one to the other"),
    Column("memory", "MiB with the backlog", spread=False),
    Column("restart", "restart to greeting, s", spread=False),
    Column("drained", "delivered/s after it", spread=False),
]
CALLS = [Column("calls", "system calls each", ratio=True, spread=False)]


def idle(lane: Lane, sessions: int) -> Run:
    """Memory per session that has said EHLO and is silent since: the relay's, not the kernel's for its sockets."""
    group = lane.peer.group
    group.settle()
    at_rest, own = group.memory(), group.memory("Pss_Anon")
    opened: list[socket.socket] = []
    try:
        for _ in range(min(sessions, lane.peer.most_sessions)):
            if (one := _greeted(lane.peer.port)) is None:
                break
            opened.append(one)
        group.settle()
        memory, grown, cpu = group.memory(), group.memory("Pss_Anon") - own, group.cpu()
        time.sleep(WATCHED)
        spent = (group.cpu() - cpu) * 1000 / WATCHED
    finally:
        for one in opened:
            one.close()
    each = grown * 1024 / max(1, len(opened))  # pages of files come and go with other things on the machine
    figures = {"at_rest": at_rest, "greeted": len(opened), "memory": memory, "each": each, "cpu": spent}
    return Run(lane.peer.name, figures)


def many_files() -> int:
    """As many open files as this process may have; how many that are."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def backlog(all_lanes: list[Lane], load: Load, waiting: int, repeats: int) -> list[Run]:
    """How fast mail is accepted while the next hop is down, with an empty queue and with so many messages waiting; then
    a restart with all of them, and what comes out in the end: each once."""
    firsts = {lane.peer.name: (lane.sink.ledger.totals(), lane.sink.ledger.reserve(0)) for lane in all_lanes}
    for lane in all_lanes:
        lane.sink.down()
    empty = _accepting(all_lanes, load, repeats)
    for lane in all_lanes:
        lane.sink.send(Load(size=1024, messages=waiting, many=True), lane.peer.port)
        lane.peer.group.settle()
    full = _accepting(all_lanes, load, repeats)
    runs = []
    for lane in all_lanes:
        name = lane.peer.name
        before, first = firsts[name]
        sent = lane.sink.ledger.reserve(0) - first
        memory = lane.peer.group.memory()
        lane.peer.stop()
        restart = lane.peer.start()
        lane.sink.up()
        seconds = drain(lane, before.distinct + sent)
        fault = faults(lane.sink.ledger.entries(first, sent), before, lane.sink.ledger.totals())
        for rates in zip(empty[name], full[name], strict=True):
            figures = {"empty": rates[0], "full": rates[1], "slower": rates[1] / rates[0]}
            figures |= {"memory": memory, "restart": restart, "drained": sent / seconds}
            runs.append(Run(name, figures, fault))
    return runs


def calls(lane: Lane, load: Load) -> tuple[Run, str]:
    """System calls per message, and a sentence with the most frequent ones."""
    before = lane.sink.ledger.totals()
    lane.peer.group.settle()
    with TemporaryDirectory(prefix="mta-bench-") as scratch:
        report = Path(scratch, "calls")
        with counting_calls(lane.peer.group.pids(), report):
            sent = lane.sink.send(load, lane.peer.port)
            lane.sink.arrival(before.distinct + load.messages)
            time.sleep(0.5)
        counted = calls_of(report)
    total = counted.pop("total", 0)
    entries = lane.sink.ledger.entries(sent.first, load.messages)
    fault = faults(entries, before, lane.sink.ledger.totals())
    most = sorted(counted.items(), key=lambda pair: -pair[1])[:10]
    named = ", ".join(f"{count / load.messages:.1f} {name}" for name, count in most)
    return Run(lane.peer.name, {"calls": total / load.messages}, fault), f"{lane.peer.name}: {named}"


def _accepting(all_lanes: list[Lane], load: Load, repeats: int) -> dict[str, list[float]]:
    """Messages a second that each accepts, repeat by repeat."""
    rates: dict[str, list[float]] = {lane.peer.name: [] for lane in all_lanes}
    for _ in range(repeats):
        for lane in all_lanes:
            lane.peer.group.settle()
            sent = lane.sink.send(load, lane.peer.port)
            entries = lane.sink.ledger.entries(sent.first, load.messages)
            last = max(one.accepted for one in entries)
            rates[lane.peer.name].append(len(to_accept(entries)) / ((last - sent.began) / 1e9))
    return rates


def _greeted(port: int) -> socket.socket | None:
    """A session that has had the reply to its EHLO; None where there is none within a second or two."""
    with suppress(OSError):
        session = socket.create_connection(("127.0.0.1", port), 2)
        with suppress(OSError):
            if session.recv(1024).startswith(b"220"):
                session.sendall(b"EHLO idle.bench.test\r\n")
                if session.recv(4096).startswith(b"250"):
                    return session
        session.close()
    return None
