"""The order of things when a message is accepted, as strace sees it: written, synced, and only then the 250."""

import os
import re
import signal
from pathlib import Path
from typing import NamedTuple

import pytest
from peers.clients import submit
from peers.daemon import Relay, StartRelay
from peers.ground import tool, wait_until
from peers.knot import Dns

CALLS = "pwrite64,pwritev,write,writev,sendto,sendmsg,fsync,fdatasync"
SYNCS = ("fsync", "fdatasync")
BEGUN = re.compile(r"^(\d+) +(\w+)\((\d+)<([^>]*)>")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>")


class Call(NamedTuple):
    """A system call. path: of the file, or "socket:[…]". begun, ended: the numbers of its lines in the trace."""

    name: str
    path: str
    text: str
    begun: int
    ended: int


def read_trace(path: Path) -> list[Call]:
    """The calls of a trace by `strace -f -y`, those that were interrupted by another thread's put together again."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines()):
        if found := RESUMED.match(line):
            begun = open_calls.pop(found[1], None)
            if begun is not None:
                calls.append(begun._replace(text=begun.text + line, ended=number))
        elif found := BEGUN.match(line):
            call = Call(found[2], found[4], line, number, number)
            if line.endswith("<unfinished ...>"):
                open_calls[found[1]] = call
            else:
                calls.append(call)
    return sorted(calls, key=lambda call: call.begun)


@pytest.fixture
def traced(make_relay: StartRelay, tmp_path: Path, dns: Dns) -> Relay:
    """A relay under strace, whose mail goes nowhere for now."""
    dns.broken_zone("traced.test")
    strace = [
        tool("strace", "strace"),
        "-f",
        "-y",
        "-s",
        "400000",
        "-e",
        f"trace={CALLS}",
        "-o",
        str(tmp_path / "trace"),
    ]
    relay = make_relay(before=strace)
    relay.start(within=40)
    return relay


def accept(relay: Relay, tmp_path: Path, content: bytes) -> tuple[list[Call], Call]:
    """Have a message accepted. The calls, and the one that sent the 250."""
    queue_id = submit(relay, "a@client.test", ["bob@traced.test"], content)

    def said() -> list[Call]:
        return [one for one in read_trace(tmp_path / "trace") if f"queued as {queue_id}" in one.text and _talks(one)]

    sent = wait_until(said, "strace has written the 250", pause=0.2)
    os.killpg(relay.process.pid, signal.SIGTERM)  # strace itself takes no signals
    relay.process.wait()
    return read_trace(tmp_path / "trace"), sent[0]


def _talks(call: Call) -> bool:
    return call.path.startswith(("socket:", "TCP"))


def test_the_octets_are_written_to_the_log_of_the_store_and_synced_before_the_250(
    traced: Relay, tmp_path: Path
) -> None:
    mark = "Unique-Mark-8d2f61a0"
    calls, reply = accept(traced, tmp_path, f"Subject: x\r\n\r\n{mark}\r\n".encode())
    written = [one for one in calls if mark in one.text and not _talks(one)]
    assert written, "the octets were written nowhere"
    assert {Path(one.path).name for one in written if one.begun < reply.begun} == {"queue-0.db-wal"}
    first = next(one for one in written if one.path.endswith("queue-0.db-wal"))
    syncs = [one for one in calls if one.name in SYNCS and one.path == first.path and one.begun > first.ended]
    assert syncs, f"{first.path} was not synced after the octets were written"
    assert syncs[0].ended < reply.begun, f"250 before the sync: {syncs[0].text} {reply.text}"
    assert syncs[0].text.endswith("= 0")


def test_a_large_content_is_synced_with_its_folder_before_the_250(traced: Relay, tmp_path: Path) -> None:
    mark = "Unique-Mark-1c9be7f4"
    content = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 8000 + f"{mark}\r\n".encode()
    calls, reply = accept(traced, tmp_path, content)
    written = [one for one in calls if mark in one.text and not _talks(one) and one.begun < reply.begun]
    assert len(written) == 1, "the end of the content was written once"
    file = written[0].path
    assert Path(file).is_relative_to(traced.spool.resolve())
    synced = [one for one in calls if one.name in SYNCS and one.path == file and one.begun > written[0].ended]
    assert synced, f"{file} was not synced"
    folder = [
        one for one in calls if one.name in SYNCS and one.path == str(Path(file).parent) and one.ended < reply.begun
    ]
    assert folder, "its folder was not synced"
    log = [one for one in calls if one.name in SYNCS and one.path.endswith("-wal") and one.begun > synced[0].ended]
    assert log, "the row that names it was not synced"
    assert log[0].begun > max(synced[0].ended, folder[-1].ended), "the row was committed before the content was safe"
    assert log[0].ended < reply.begun, "250 before the row was synced"
