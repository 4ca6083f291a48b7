"""File systems that lose their power, are full, or can only be read, under a relay that is at work."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers.books import FIGURES, Books
from peers.clients import QUEUED, Talk, submit
from peers.daemon import StartRelay
from peers.disks import Mounted
from peers.ground import wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Sinks
from peers.stubborn import Client
from test_live_bad_days import once_each, send
from test_soak_crash import letters

pytestmark = pytest.mark.soak

MIB = 1024 * 1024
CUTS = 25
CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Mounted]:
    """A file system with a journal, on a device that can lose its power."""
    made = Mounted(tmp_path / "device", 400 * MIB, tmp_path / "image")
    yield made
    made.forget()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Mounted]:
    """A small file system."""
    made = Mounted(tmp_path / "memory", 128 * MIB)
    yield made
    made.forget()


def test_what_had_its_250_is_there_after_the_power_was_cut(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks, device: Mounted
) -> None:
    """Again and again, at any moment, with deliveries under way and with none; then all of it arrives.

    With real power everything stops at once, so at every other cut the relay is stopped before it. At the others it
    goes on for a moment, on a device that takes nothing any more. A sync that is under way at such a cut can be told
    by ext4 that it went well, although nothing was kept (seen with a program that only writes and syncs). So what has
    its 250 after such a cut may be lost; what had it before may not.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    hop = sink()
    books = Books(("power.test",), doomed=0.0)
    dns.zone("power.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay = make_relay(spool=str(device.folder / "spool"))
    late: set[str] = set()  # marks of what had its 250 after the cut
    for cut in range(CUTS):
        relay.start()
        before = len(books.accepted)
        clients = [Client(relay, books, letters(books), 10 * cut + number, 10**9) for number in range(5)]
        for client in clients:
            client.start()
        enough = before + chance.randint(1, 400)
        wait_until(lambda: len(books.accepted) >= enough, f"{enough} are accepted", 60, 0.002)  # noqa: B023
        time.sleep(chance.uniform(0.0, 0.05))
        if cut % 2:
            relay.freeze()
        said = set(books.accepted)
        device.cut_power()
        time.sleep(chance.uniform(0.0, 0.2))  # whoever believes that it goes on, is wrong now
        for client in clients:
            client.stop()
        relay.kill()
        for client in clients:
            client.join(20)
        if not cut % 2:
            late |= set(books.accepted) - said
        device.unmount()
        device.mount()
    relay.start()
    relay.wait_until_empty(120)
    for one in hop.taken:
        books.keep(one, False)
    too_late = {recipient for mark in late for recipient in books.recipients(mark)}
    lost, owed = [one for one in books.lost() if one not in too_late], list(books.owed())
    copies = sum(len(arrivals) - 1 for arrivals in books.arrived.values())
    FIGURES.append(
        f"{CUTS} power cuts: {len(owed):,} recipients of {len(books.accepted):,} accepted messages, {len(lost)} lost "
        f"({len(books.lost())} with those of the {len(late)} that had their 250 after the cut), "
        f"{len(books.corrupt)} corrupt, {copies} extra copies, {len(set(books.refused))} kinds of refusals"
    )
    assert lost == []
    assert books.corrupt == []
    assert {reply[:3] for reply in books.refused} <= {"451", "452"}


def test_while_there_is_not_an_octet_left_mail_is_refused_for_now_and_nothing_is_lost_or_sent_twice(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks, memory: Mounted
) -> None:
    hop, down = sink(), sink()
    sinks.pause(down)
    dns.zone("full.test", f"@ MX 10 mx\nmx A {hop.address}")
    dns.zone("down-full.test", f"@ MX 10 mx\nmx A {down.address}")
    relay = make_relay(spool=str(memory.folder / "spool"))
    relay.start()
    waiting = [f"w{number}@down-full.test" for number in range(50)]
    for recipient in waiting:
        submit(relay, "a@sender.test", [recipient], CONTENT)
    with Talk(relay.address, relay.port) as talk, Talk(relay.address, relay.port) as busy:
        for one, size in ((talk, CONTENT), (busy, LARGE)):
            one.reply()
            one.say("EHLO client.test")
            one.send(b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<under-way@full.test>\r\nDATA\r\n")
            assert [one.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
            one.send(size[: len(size) // 2])
        ballast = fill(memory.folder)
        for one, size in ((talk, CONTENT), (busy, LARGE)):
            one.send(size[len(size) // 2 :] + b".\r\n")
        said = [one.reply() for one in (talk, busy)]
        assert [reply[:9] for reply in said if not QUEUED.match(reply)] in (["452 4.3.1"] * 2, ["452 4.3.1"]), said
        time.sleep(1.1)
        assert send(talk, "more@full.test").startswith("452 4.3.1")
        sinks.resume(down)
        time.sleep(5)  # what of it can be noted on the disk is tried
        meanwhile = len(down.taken)
        ballast.unlink()
        time.sleep(1.1)
        assert QUEUED.match(send(talk, "after@full.test"))
    once_each(down, waiting)
    relay.wait_until_empty()
    hop.wait_for("after@full.test")
    assert len(hop.messages_for("under-way@full.test")) == sum(bool(QUEUED.match(reply)) for reply in said)
    FIGURES.append(
        f"not an octet left: {meanwhile} of {len(waiting)} that waited were delivered meanwhile, the others when there "
        f"was room; {len(down.taken)} arrived"
    )


def fill(folder: Path) -> Path:
    """Use up all that there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"\0" * 65536):
                pass
        except OSError:
            return ballast
    raise AssertionError("it has no end")


def test_while_the_disk_can_only_be_read_mail_is_refused_for_now(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, device: Mounted
) -> None:
    hop = sink()
    dns.zone("read-only.test", f"@ MX 10 mx\nmx A {hop.address}")
    relay = make_relay(spool=str(device.folder / "spool"))
    relay.start()
    kept = []
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        for number in range(5):
            assert QUEUED.match(send(talk, f"before{number}@read-only.test"))
            kept.append(f"before{number}@read-only.test")
        relay.wait_until_empty()  # and the results of the deliveries are on the disk as well
        device.turn_read_only()
        assert {send(talk, "during@read-only.test")[:9] for _ in range(3)} == {"451 4.3.0"}
        assert send(talk, "during@read-only.test", LARGE)[:9] == "451 4.3.0"
        assert talk.say("NOOP").startswith("250")
    relay.kill()
    device.unmount()
    device.mount()
    relay.start()
    submit(relay, "a@sender.test", ["after@read-only.test"], CONTENT)
    once_each(hop, [*kept, "after@read-only.test"])
