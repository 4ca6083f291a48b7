"""A small scenario: three mails for five domains, which end in every way that mail can, in a quarter of an hour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from twisted.internet.defer import Deferred

from mta.config.load import load
from mta.config.model import Config
from mta.dns.memory import Name
from mta.policy.exchangers import Exchanger
from simulated.disk import Volume
from simulated.machine import CrashPoint, Machine
from simulated.network import START, World
from simulated.people import Client, Mail, Server

MINUTE = 60.0
RETRY = "{after: [1m, 2m, 4m], warn: 5m, give_up: 10m}"
CONFIGURATION = """
hostname: relay.test
spool: spool
listen: [{{address: "192.0.2.1:25"}}]
relay: {{networks: [198.51.100.0/24]}}
retry: {retry}
history: {history}
"""
RELAY = "192.0.2.1"
LENGTH = 15 * MINUTE  # when all has ended, whatever has happened meanwhile
SOON = 5.0  # seconds
GREYLISTED = 1.5 * MINUTE  # for so long later.test takes nothing
LARGE = 300 * 1024  # octets: such a content gets a file of its own
DEAD = "203.0.113.4"

ADDRESSES = {
    "mx.up.test": "203.0.113.1",
    "mx.later.test": "203.0.113.2",
    "mx.refusing.test": "203.0.113.3",
    "mx.dead.test": DEAD,
    "mail.client.test": "203.0.113.5",
}
EXCHANGERS = {
    "up.test": "mx.up.test",
    "later.test": "mx.later.test",
    "refusing.test": "mx.refusing.test",
    "dead.test": "mx.dead.test",
    "client.test": "mail.client.test",
    "relay.test": "mail.client.test",  # the postmaster's mailbox
}

BOB, NOBODY, CAROL, DAVE, ERIN = "bob@up.test", "nobody@up.test", "carol@later.test", "dave@gone.test", "erin@dead.test"
FRANK, GRACE = "frank@up.test", "grace@refusing.test"
ALICE, ZED, POSTMASTER = "alice@client.test", "zed@refusing.test", "postmaster@relay.test"

DELIVERED = {BOB: "mx.up.test", FRANK: "mx.up.test", CAROL: "mx.later.test"}
"""Who gets what is sent to him, and where. All others are failed recipients, of whom the sender is told."""

MAILBOXES = {ALICE: "mail.client.test", POSTMASTER: "mail.client.test"}
"""Who gets notices."""


class Play(NamedTuple):
    """How it went."""

    world: World
    machine: Machine
    mails: Sequence[Mail]
    servers: Sequence[Server]


def configuration(folder: Path, retry: str = RETRY, history: str = "12h") -> Config:
    """The relay's configuration, from a file in this folder; its spool is there as well."""
    file = folder / "mta.yml"
    file.write_text(CONFIGURATION.format(retry=retry, history=history))
    return load(file)


def zones() -> dict[str, Name]:
    """The DNS. gone.test is not in it."""
    domains = {domain: Name(mx=[Exchanger(10, host)]) for domain, host in EXCHANGERS.items()}
    return domains | {host: Name(a=[address]) for host, address in ADDRESSES.items()}


@cache
def content(mark: str, size: int, seed: int) -> bytes:
    """A content of about this size, many of whose lines begin with dots, and one of which is just a dot."""
    chance = Random(f"{mark}/{seed}")
    # With all that a submission needs, or the relay would add it.
    lines = [f"From: {mark}@client.test", "Date: Fri, 15 Jan 2027 08:00:00 +0000", f"Message-ID: <{mark}@client.test>"]
    lines += [f"Subject: {mark}", f"X-Mark: {mark}", "", "."]
    longest = 900 if size >= LARGE else 70
    while size > 0:
        lines.append("." * chance.randrange(3) + "x" * chance.randrange(longest))
        size -= len(lines[-1]) + 2
    return "".join(f"{line}\r\n" for line in lines).encode()


def mails(seed: int) -> dict[str, list[Mail]]:
    """What is sent, by the address of the client that does."""
    return {
        "198.51.100.1": [
            Mail("letter", ALICE, (BOB, NOBODY, CAROL, DAVE, ERIN), content("letter", 2000, seed)),
            Mail("report", "", (ERIN,), content("report", 1000, seed)),  # nobody is told of what becomes of it
        ],
        "198.51.100.2": [
            Mail("large", ZED, (FRANK, GRACE), content("large", LARGE, seed)),  # its bounce is refused: a double bounce
        ],
    }


def servers(world: World) -> list[Server]:
    """The mail servers of others."""

    def up(now: float, verb: str, path: str) -> str | None:
        return "550 5.1.1 no such user" if path == NOBODY else None

    def later(now: float, verb: str, path: str) -> str | None:
        return "451 4.7.1 greylisted" if verb == "RCPT" and now < START + GREYLISTED else None

    def refusing(now: float, verb: str, path: str) -> str | None:
        return "554 5.7.1 we do not want this" if verb == "." else None

    return [
        Server(world, "mx.up.test", ADDRESSES["mx.up.test"], up),
        Server(world, "mx.later.test", ADDRESSES["mx.later.test"], later, pipelining=False),
        Server(world, "mx.refusing.test", ADDRESSES["mx.refusing.test"], refusing),
        Server(world, "mail.client.test", ADDRESSES["mail.client.test"]),
    ]


def play(
    config: Config,
    points: Sequence[CrashPoint] = (),
    seed: int = 0,
    length: float = LENGTH,
    silent: bool = False,
    workers: Sequence[int] = (1,),
) -> Play:
    """Let it all happen, with crashes at these points, and stop the relay after `length` seconds.

    silent: the dead host does not even refuse a connection. workers: how many processes the relay has; where there is
    more than one number, it is stopped and started with the next one a few seconds after the mail has come in.
    """
    world = World()
    if silent:
        world.silent.add(DEAD)
    poll = {} if len(workers) == 1 else {"poll": 1.0}  # what is taken over is noticed as an operator's writing is
    machine = Machine(world, Volume(config.spool), config, zones(), points, seed, workers[0], **poll)
    around = servers(world)
    to_send = mails(seed)
    machine.start()
    try:
        world.run(1)
        for address, theirs in to_send.items():
            Deferred.fromCoroutine(Client(world, address, RELAY, theirs).work())
        for number in workers[1:]:
            world.run(SOON)
            machine.stop()
            world.run_until(lambda: machine.stopped, 2 * MINUTE)
            if machine.stopped:
                machine.start(number)
        world.run(length)
        for _ in range(1 + len(points)):  # it may be hit while it stops, and is started again then
            if not machine.stopped:
                machine.stop()
                world.run(MINUTE)
    except BaseException:
        machine.abandon()
        raise
    if not machine.stopped:
        machine.abandon()
        machine.left.append("the relay, which does not stop")
    return Play(world, machine, [mail for theirs in to_send.values() for mail in theirs], around)
