"""Verbs: what the command line can say, and the rows of a whole run."""

import argparse
import functools
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import standing, trials
from bench.lanes import BASE, KNOWN, PEERS, check_peers, cost_of_sync, lanes, needs_tls, sink_alone
from bench.load import Load
from bench.measure import has_strace
from bench.tables import Column, Report, Run

ABOUT = """Measures this relay beside Postfix, on 127.0.0.1.

Without a verb: a short run of everything, about five minutes; --all: all rows, about half an hour. Each row can be
measured alone: its title is what to say. Medians of the repeats, the least and the greatest; ratios are to tuned
Postfix, within each repeat. Needs a C compiler, and root and the Debian package postfix for the peer."""

SHORT = """
ceiling
relay
relay --many --messages 1000
relay --many --pipelined --messages 1000
accept --messages 1000
latency --messages 100
idle --count 1000
backlog --count 3000 --messages 500
calls --messages 200
tls --messages 500
"""
ALL = """
ceiling --messages 20000
ceiling --messages 20000 --many
ceiling --messages 20000 --many --pipelined
ceiling --messages 5000 --tls
relay --size 1k
relay --size 1k --many
relay --size 1k --many --pipelined
relay --size 10k
relay --size 10k --many
relay --size 10k --many --pipelined
relay --size 100k
relay --size 100k --many
relay --size 100k --many --pipelined
relay --size 1m
relay --size 1m --many
relay --size 1m --many --pipelined
accept
accept --many
accept --many --pipelined
latency
idle --count 10000
backlog --count 20000 --messages 1000
calls
calls --many
calls --many --pipelined
tls
tls --resume
tls --many
tls --many --resume
"""


def main() -> None:
    parser = make_parser()
    asked = parser.parse_args()
    if asked.verb and asked.all:
        parser.error("a verb, or --all")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    if asked.verb != "ceiling":
        check_peers(_peers_of(asked))
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, a sync on the disk takes {cost_of_sync():.2f} ms"
    print(f"{machine}; {time.strftime('%Y-%m-%d %H:%M')}\n", flush=True)
    if asked.verb:
        asked.run(asked, re.sub(r" --json[ =]\S+", "", shlex.join(sys.argv[1:])))
        return
    given = {name: getattr(asked, name) for name in ("peers", "workers", "repeats", "json") if hasattr(asked, name)}
    for line in (ALL if asked.all else SHORT).strip().splitlines():
        one = parser.parse_args(line.split(), argparse.Namespace(**given))
        one.run(one, line)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench/run", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--all", action="store_true", help="all rows, not the short run")
    _add_common(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    for name, (run, help_text) in VERBS.items():
        verb = verbs.add_parser(name, help=help_text, description=" ".join((run.__doc__ or "").split()))
        verb.set_defaults(run=run)
        _add_common(verb)
        if name != "idle":
            _add_load(verb)
        if name in WAITING:
            default, what = WAITING[name]
            verb.add_argument("--count", type=_count, default=default, help=f"{what} ({default})")
    return parser


def ceiling(asked: argparse.Namespace, title: str) -> None:
    """The generator straight to the sink: the limit of what can be measured here, and what both cost."""
    load = _load(asked)
    if load.tls and not needs_tls():
        return
    report = _report(asked, title, load.described())
    with sink_alone(load.tls, asked.rsa) as sink:
        for _ in range(_repeats(asked)):
            report.add(trials.straight(sink, load))
    report.show(trials.CEILING)


def relay(asked: argparse.Namespace, title: str) -> None:
    """Relaying, end to end: from the generator's first connection to the last arrival at the next hop, each message
    exactly once. CPU is that of all processes of a relay, until all is done."""
    _side_by_side(asked, title, _load(asked), trials.relayed, trials.RELAYED)


def accept(asked: argparse.Namespace, title: str) -> None:
    """Accepting alone: connections to the next hop are refused, so that the relay only queues. Behind each repeat the
    next hop comes up, and everything has to arrive there."""
    _side_by_side(asked, title, _load(asked), trials.accepted, trials.ACCEPTED)


def latency(asked: argparse.Namespace, title: str) -> None:
    """One message at a time, 50 a second, for a relay that has nothing else to do: from MAIL until it is at the next
    hop, and until the 250."""
    load = _load(asked, Load(messages=200, sessions=1, rate=50))
    _side_by_side(asked, title, load, trials.relayed, trials.LATENCY)


def tls(asked: argparse.Namespace, title: str) -> None:
    """Relaying with STARTTLS from the client and to the next hop. With --resume generator and sink offer to resume TLS
    sessions, without it every handshake is a full one; the table tells how many were resumed."""
    asked.tls = True
    if needs_tls():
        _side_by_side(asked, title, _load(asked), trials.relayed, trials.SECURED)


def idle(asked: argparse.Namespace, title: str) -> None:
    """Memory of sessions that have said EHLO and nothing since. Postfix is asked for 500 at most: each is a process,
    and as installed it has 100."""
    standing.many_files()
    report = _report(asked, title, f"{asked.count} idle sessions")
    with lanes(_peers_of(asked), _workers_of(asked)) as made:
        for lane in made:
            report.add(standing.idle(lane, asked.count))
    report.show(standing.IDLE)


def backlog(asked: argparse.Namespace, title: str) -> None:
    """A growing queue: how fast mail is accepted with an empty queue and with so many messages waiting for a next hop
    that is down; how long a restart takes with all of them; how fast they go when the next hop is up again."""
    load = _load(asked)
    report = _report(asked, title, f"{asked.count} messages of 1 KiB waiting; {load.described()}")
    with lanes(_peers_of(asked), _workers_of(asked)) as made:
        for run in standing.backlog(made, load, asked.count, _repeats(asked)):
            report.add(run)
    report.show(standing.BACKLOG)


def calls(asked: argparse.Namespace, title: str) -> None:
    """System calls per message, of all processes of a relay, counted by strace in a run that is not timed."""
    if not has_strace():
        print("bench: counting system calls needs strace: install the Debian package strace", file=sys.stderr)
        return
    load = _load(asked, Load(messages=500))
    report = _report(asked, title, load.described())
    named = []
    with lanes(_peers_of(asked), _workers_of(asked)) as made:
        for lane in made:
            run, most = standing.calls(lane, load)
            report.add(run)
            named.append(most)
    report.show(standing.CALLS)
    print("\n".join(f"{line}\n" for line in named), flush=True)


VERBS: dict[str, tuple[Callable[[argparse.Namespace, str], None], str]] = {
    "ceiling": (ceiling, "generator straight to sink: what can be measured at most"),
    "relay": (relay, "end to end: messages a second, CPU, memory"),
    "accept": (accept, "the next hop is down: messages taken in a second"),
    "latency": (latency, "one message at a time: MAIL to the next hop, MAIL to 250"),
    "idle": (idle, "memory of idle sessions"),
    "backlog": (backlog, "a growing queue: accepting, restarting, delivering"),
    "calls": (calls, "system calls per message"),
    "tls": (tls, "end to end with STARTTLS on both sides"),
}
WAITING = {"idle": (10_000, "sessions"), "backlog": (20_000, "messages that wait")}


def _side_by_side(
    asked: argparse.Namespace, title: str, load: Load, trial: Callable[..., Run], columns: list[Column]
) -> None:
    report = _report(asked, title, load.described())
    with lanes(_peers_of(asked), _workers_of(asked), load.tls, rsa=asked.rsa) as made:
        if load.tls:
            for lane in made:
                lane.sink.down()
                lane.sink.up(resume=load.resume)
        for _ in range(_repeats(asked)):
            for lane in made:
                report.add(trial(lane, load))
    report.show(columns)


def _report(asked: argparse.Namespace, title: str, described: str) -> Report:
    file = getattr(asked, "json", None)
    print(f"bench: {title}", file=sys.stderr, flush=True)
    return Report(f"{title}: {described}", BASE, file)


def _load(asked: argparse.Namespace, usual: Load | None = None) -> Load:
    """What is asked for. Large messages are fewer, unless a number was said."""
    usual = usual or Load(messages=min(2000, max(200, (200 << 20) // asked.size)))
    return Load(
        size=asked.size,
        messages=asked.messages or usual.messages,
        sessions=asked.sessions or usual.sessions,
        many=asked.many,
        pipelined=asked.pipelined,
        rate=usual.rate,
        tls=asked.tls,
        resume=asked.resume,
    )


def _peers_of(asked: argparse.Namespace) -> tuple[str, ...]:
    return getattr(asked, "peers", PEERS)


def _workers_of(asked: argparse.Namespace) -> tuple[int, ...]:
    return getattr(asked, "workers", (1, 2))


def _repeats(asked: argparse.Namespace) -> int:
    return getattr(asked, "repeats", 3)


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Options that may stand before a verb, and behind one: without a default, which would undo what stood before."""
    add = functools.partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--peers", type=_peers, help=f"which ({','.join(PEERS)}; also {KNOWN[-1]}: see bench/compiled.py)")
    add("--workers", type=_counts, help="processes of mta; a row for each (1,2)")
    add("--repeats", type=_count, help="interleaved repeats (3); idle and calls are done once")
    add("--json", type=Path, metavar="FILE", help="append each repeat to this file, as a line of JSON")


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--size", type=_size, default=10240, help="octets of a message, such as 1k or 1m (10k)")
    add("--messages", "-n", type=_count, help="messages in each run (2000; of large ones fewer)")
    add("--sessions", type=_count, help="sessions at once (20)")
    add("--many", action="store_true", help="many messages per session, not one")
    add("--pipelined", action="store_true", help="the client pipelines")
    add("--tls", action="store_true", help="STARTTLS in every session, as `tls` has it")
    add("--resume", action="store_true", help="TLS sessions may be resumed")
    add("--rsa", action="store_true", help="TLS with keys of RSA, 2048 bits, not P-256")


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([km]?)", text.lower())
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r}: a size is a number of octets, or one with k or m")
    return int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[found[2]]


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r}: a number, 1 or more")
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(word) for word in text.split(","))


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in KNOWN:
            raise argparse.ArgumentTypeError(f"{name!r}: one of {', '.join(KNOWN)}")
    return names
