"""A plan: everything that is going to happen in a life, drawn from a seed before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from simulated.lives.domains import ALIAS, LIST, MAILBOXES, MOVED, REFUSED, REMOTE, UNKNOWN
from simulated.machine import CrashPoint

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST = 30 * DAY

RETRIES = (
    ("1m 2m 4m", "5m", "10m"),
    ("1m 2m 4m 10m 20m", "5m", "2h"),
    ("10s 1m", "never", "30m"),
    ("5m 10m 20m 40m 1h 2h 4h", "4h", "5d"),
    ("30m", "1h", "1d"),
)
MANNERS = ("pipelining", "lockstep", "pieces", "stalls", "breaks", "half-closes", "hangs up", "chunks", "falls silent")
MOODS = (
    "is down",
    "is unreachable",
    "says 421",
    "says 554",
    "defers MAIL",
    "defers RCPT",
    "defers .",
    "refuses MAIL",
    "refuses RCPT",
    "refuses .",
    "closes with 421 at RCPT",
    "talks nonsense at EHLO",
    "talks nonsense at MAIL",
    "talks nonsense at RCPT",
    "talks nonsense at .",
    "hangs at greeting",
    "hangs at RCPT",
    "hangs at .",
    "leaves at greeting",
    "leaves at MAIL",
    "leaves at DATA",
    "leaves at .",
    "never ends its line at EHLO",
    "never ends its line at .",
    "never ends its reply at RCPT",
    "is slow",
    "speaks in pieces",
)
DNS_TROUBLES = ("servfail", "no name", "no records", "null MX", "elsewhere", "nowhere", "alias", "ourselves")
DISK_TROUBLES = ("full", "full unawares", "sync fails", "sync fails long")
VERBS = ("hold", "drop", "retry")


class Posted(NamedTuple):
    """A mail that somebody is going to hand over. at: seconds from the beginning. manners: of one try after another."""

    mark: str
    at: float
    sender: str
    recipients: tuple[str, ...]
    size: int
    kind: str  # of content
    manners: tuple[str, ...]


class Spell(NamedTuple):
    """Something is so for some time. begins, ends: seconds from the beginning."""

    begins: float
    ends: float
    whom: str
    what: str


class Blow(NamedTuple):
    """Something happens to the machine at some time."""

    at: float
    how: str  # kill, power, stop, freeze, clock
    amount: float = 0.0


@dataclass
class Plan:
    """A life. calm: from when on nothing goes wrong any more; length: when it ends. Seconds from the beginning."""

    seed: int
    retry: tuple[str, str, str]
    workers: int
    calm: float
    length: float
    mails: list[Posted] = field(default_factory=list)
    moods: list[Spell] = field(default_factory=list)
    dns: list[Spell] = field(default_factory=list)
    disk: list[Spell] = field(default_factory=list)
    network: list[Spell] = field(default_factory=list)
    blows: list[Blow] = field(default_factory=list)
    points: list[CrashPoint] = field(default_factory=list)
    verbs: list[Spell] = field(default_factory=list)

    def lines(self) -> list[str]:
        """It, for people."""
        schedule, warn, give_up = self.retry
        return [
            f"seed {self.seed}: {self.workers} workers, tries after {schedule}, warns after {warn}, gives up after "
            f"{give_up}; calm from {self.calm:.0f} s on, ends at {self.length:.0f} s",
            *(f"{one.at:12.0f} {one.mark} from <{one.sender}> to {' '.join(one.recipients)}: {one.size} octets "
              f"({one.kind}), {', '.join(one.manners)}" for one in self.mails),
            *(f"{one.begins:12.0f} to {one.ends:.0f}: {one.whom} {one.what}"
              for one in (*self.moods, *self.dns, *self.disk, *self.network, *self.verbs)),
            *(f"{one.at:12.0f} {one.how} {one.amount:.0f}" for one in self.blows),
            *map(str, self.points),
        ]  # fmt: skip


def draw(seed: int) -> Plan:
    """The life that belongs to a seed."""
    chance = Random(f"life {seed}")
    retry = chance.choice(RETRIES)
    give_up = seconds(retry[2])
    calm = min(LONGEST - 2 * give_up, chance.choice((0.2, 1.0, 3.0)) * give_up * chance.uniform(0.5, 1.5))
    plan = Plan(seed, retry, chance.choice((1, 1, 2)), calm, calm + 2 * give_up + DAY)
    _post(plan, chance)
    _trouble_others(plan, chance, give_up)
    _trouble_us(plan, chance)
    return plan


def seconds(text: str) -> float:
    """A duration as the configuration has it."""
    return float(text[:-1]) * {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}[text[-1]]


def _when(plan: Plan, chance: Random) -> float:
    """Some time before the calm, rather early: that is when most happens."""
    return float(plan.calm * chance.random() ** chance.choice((1, 2, 5)))


def _post(plan: Plan, chance: Random) -> None:
    bursts = [0.0, *(_when(plan, chance) for _ in range(chance.randrange(3)))]
    for number in range(chance.randint(2, 10)):
        mark = f"m{number}"
        sender = "" if chance.random() < 0.1 else f"{mark}@client.test"
        people: Sequence[str] = [f"{user}.{mark}@{domain}" for user in ("ann", "bob", "nobody") for domain in REMOTE]
        to = set(chance.sample(people, chance.choice((1, 1, 2, 3, 8))))
        if chance.random() < 0.5:
            to |= set(chance.sample([*MAILBOXES, ALIAS, LIST, MOVED, UNKNOWN, REFUSED], chance.choice((1, 2, 4))))
        size = chance.choice((200, 2_000, 20_000, 70_000, 300_000))
        kind = chance.choice(("text", "text", "dots"))
        manners = tuple(chance.choice(MANNERS) for _ in range(chance.choice((1, 1, 2, 3))))
        at = chance.choice(bursts) + 1 + chance.random() * chance.choice((0.01, 5, 60))
        # A null reverse-path tells nobody whose the mail is: its recipients have to.
        recipients = tuple(sorted(to)) if sender else tuple(sorted(to & set(people)))
        plan.mails.append(Posted(mark, at, sender, recipients, size, kind, manners))


def _trouble_others(plan: Plan, chance: Random, give_up: float) -> None:
    for domain in (*REMOTE, "store", "client.test"):
        at = 0.0
        while at < plan.calm:
            until = at + chance.choice((MINUTE, 10 * MINUTE, HOUR, give_up / 3, give_up * 1.2)) * chance.uniform(0.5, 2)
            if chance.random() < (0.3 if domain == "client.test" else 0.6):
                mood = chance.choice(MOODS)
                if mood.startswith(("hangs", "never ends")):
                    until = min(until, at + HOUR)  # meanwhile the relay looks at its queue each second
                plan.moods.append(Spell(at, min(until, plan.calm), domain, mood))
            at = until
        if chance.random() < 0.3:
            at = _when(plan, chance)
            until = at + chance.choice((MINUTE, HOUR, give_up)) * chance.uniform(0.5, 1.5)
            plan.dns.append(Spell(at, min(until, plan.calm), domain, chance.choice(DNS_TROUBLES)))
    for what in ("splits", "is late", "breaks"):
        if chance.random() < 0.35:
            at = 0.0 if chance.random() < 0.5 else _when(plan, chance)
            until = min(plan.calm, at + chance.choice((5, MINUTE, HOUR, DAY)))
            plan.network.append(Spell(at, until, "the network", what))


def _trouble_us(plan: Plan, chance: Random) -> None:
    for _ in range(chance.choice((0, 1, 2, 4, 8))):
        event, moment = chance.choice(("sync", "sync", "answer")), chance.choice(("before", "after"))
        how = chance.choice(("kill", "power", "power", "stop", "seize"))
        plan.points.append(CrashPoint(event, int(400 * chance.random() ** 1.5) + 1, moment, how))
    for _ in range(chance.choice((0, 0, 1, 3))):
        at = _when(plan, chance)
        how = chance.choice(("kill", "power", "stop", "freeze", "clock"))
        amount = 0.0
        if how == "freeze":
            amount = HOUR
        elif how == "clock":
            amount = chance.choice((-HOUR, -MINUTE, MINUTE, HOUR, DAY))
        plan.blows.append(Blow(at, how, amount))
    if chance.random() < 0.35:
        at = _when(plan, chance)
        until = min(plan.calm, at + chance.choice((5, MINUTE, 10 * MINUTE)))
        plan.disk.append(Spell(at, until, "the disk:", chance.choice(DISK_TROUBLES)))
    if chance.random() < 0.3:
        for _ in range(chance.randint(1, 3)):
            at = _when(plan, chance)
            plan.verbs.append(Spell(at, plan.calm, chance.choice(("", *REMOTE)), chance.choice(VERBS)))


def draw_shaken(seed: int) -> Plan:
    """A short life in which much mail comes in while syncs fail, now and then several of them in a row."""
    chance = Random(f"shaken {seed}")
    calm = 10 * MINUTE
    plan = Plan(seed, RETRIES[0], 1, calm, calm + 2 * seconds(RETRIES[0][2]) + DAY)
    for number in range(15):
        mark = f"m{number}"
        to = tuple(f"ann.{mark}@{domain}" for domain in chance.sample(REMOTE, 2))
        size = chance.choice((200, 20_000, 300_000))
        at = 1 + 90 * chance.random()
        plan.mails.append(Posted(mark, at, f"{mark}@client.test", to, size, "text", ("pipelining",)))
    for _ in range(6):
        at = 90 * chance.random()
        until = at + chance.choice((0.01, 0.5, 3, 10))
        plan.disk.append(Spell(at, until, "the disk:", chance.choice(("sync fails", "sync fails long"))))
    return plan
