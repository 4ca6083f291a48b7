"""Disks that fail for a while, and too few open files: what was accepted arrives, the rest is refused for now."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from peers.clients import QUEUED, Talk, submit
from peers.daemon import StartRelay
from peers.disks import failing
from peers.ground import tool, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Sink, Sinks

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"


def send(talk: Talk, recipient: str, content: bytes = CONTENT) -> str:
    """The reply that decided: to the last dot, or the first refusal."""
    for command in ("MAIL FROM:<a@sender.test>", f"RCPT TO:<{recipient}>", "DATA"):
        reply = talk.say(command)
        if reply[0] not in "23":
            talk.say("RSET")
            return reply
    talk.send(content + b".\r\n")
    return talk.reply()


def once_each(hop: Sink, recipients: list[str]) -> None:
    """All of these have got theirs, once."""
    wait_until(lambda: len(hop.taken) >= len(recipients), "what was accepted arrives")
    assert Counter(one.recipients[0] for one in hop.taken) == Counter(recipients)


@pytest.mark.parametrize(
    ("calls", "error", "first", "reply"),
    [
        ("fsync,fdatasync", "EIO", 15, "451 4.3.0"),
        ("pwrite64", "ENOSPC", 50, "452 4.3.1"),
        pytest.param("pwrite64", "EROFS", 50, "451 4.3.0", marks=pytest.mark.soak),
        pytest.param("pwrite64", "EIO", 50, "451 4.3.0", marks=pytest.mark.soak),
    ],
)
def test_while_the_disk_fails_mail_is_refused_for_now_and_then_it_goes_on(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, calls: str, error: str, first: int, reply: str
) -> None:
    hop = sink()
    dns.zone("failing.test", f"@ MX 10 mx\nmx A {hop.address}")
    sound = make_relay()
    sound.start()  # its queue file is made
    sound.stop()
    relay = make_relay(folder=sound.folder, before=failing(calls, error, first, first + 5))
    relay.start(within=60)
    accepted: list[str] = []
    refused: list[str] = []
    since = 0  # accepted in a row
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        while len(accepted) < 100 and not (refused and since >= 5):
            recipient = f"r{len(accepted) + len(refused)}@failing.test"
            said = send(talk, recipient)
            if QUEUED.match(said):
                accepted.append(recipient)
                since += 1
            else:
                refused.append(said)
                since = 0
    assert refused, f"{error} was noticed by nobody"
    assert {one[:9] for one in refused} == {reply}
    once_each(hop, accepted)
    relay.wait_until_empty()
    os.kill(relay.pid_behind(), signal.SIGTERM)  # strace itself takes no signals
    relay.process.wait()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_with_too_few_open_files_it_serves_who_is_there_and_later_the_others(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks, workers: int
) -> None:
    limit = 48
    few = [tool("prlimit", "util-linux"), f"--nofile={limit}:{limit}", "--"]
    relay, hop = make_relay(before=few, workers=workers), sink()
    dns.zone("few.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay.start()
    pids = list(relay.workers().values()) if workers > 1 else [relay.process.pid]
    with Talk(relay.address, relay.port) as first:
        first.reply()
        first.say("EHLO client.test")
        crowd = [Talk(relay.address, relay.port) for _ in range(workers * (limit + 20))]
        try:
            wait_until(lambda: max(map(open_files, pids)) >= limit - 2, "they are used up")
            used = sum(map(cpu_seconds, pids))
            time.sleep(1.0)
            used = sum(map(cpu_seconds, pids)) - used
            queued = send(first, "first@few.test")
            large = send(first, "large@few.test", b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 20_000)
        finally:
            for talk in crowd:
                talk.close()
    assert used < 0.5 * workers, f"{used:.2f} s of CPU in a second of waiting"
    assert QUEUED.match(queued), queued
    assert large.startswith(("250 ", "451 4.3.0 ")), large
    submit(relay, "a@sender.test", ["later@few.test"], CONTENT)
    expected = ["first@few.test", "later@few.test", *["large@few.test"] * large.startswith("250")]
    once_each(hop, expected)
    relay.wait_until_empty()


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100
