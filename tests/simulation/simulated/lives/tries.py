"""Tries: how often the relay has asked others, seen from outside, against what its schedule allows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from simulated.lives.domains import HOSTS, LIST, NOBODY_LISTENS, OWNER
from simulated.lives.plan import HOUR, seconds
from simulated.network import START

if TYPE_CHECKING:
    from simulated.lives.life import Life

SPARE = 4  # more tries than the schedule has: the first one, the last one, what was under way when it was hit


def storms(life: Life) -> Iterator[str]:
    """Nobody is asked again and again without a pause."""
    machine, plan = life.machine, life.plan
    waits = [seconds(one) for one in plan.retry[0].split()]
    upsets = len(plan.verbs) + len(machine.tainted) + 2 * bool(plan.disk)
    clocks = sum(blow.how == "clock" for blow in plan.blows)
    # A start brings again what was under way when the last process ended, and no more: pauses outlive it.
    most = _within_an_hour(waits) + SPARE + len(machine.starts) + 2 * upsets + clocks * len(waits) * SPARE
    tried: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for peer in life.peers:
        for at, sender, recipient in peer.tried:
            if sender:  # of notices there may be several for one recipient
                tried[peer.name, sender, recipient].append(at)
    for (host, sender, recipient), times in tried.items():
        letters = sum(
            letter.unsure + len(letter.accepted)
            for letter in life.letters
            if letter.posted.sender == sender or (sender == OWNER and LIST in letter.posted.recipients)
        )
        yield from _crowded(times, most * max(1, letters), f"{host} was asked for {recipient}")
    connected = [at for at, address in life.world.asked if address == HOSTS[NOBODY_LISTENS]]
    mails = sum(one.endswith("@dead.test") for letter in life.letters for one in letter.posted.recipients)
    # All of them may be under way there, for as long as nobody answers, and are tried again after each start.
    yield from _crowded(connected, (most + mails * len(machine.starts)) * plan.workers, f"{NOBODY_LISTENS} was tried")


def _within_an_hour(waits: list[float]) -> int:
    """The most tries that a schedule has in an hour."""
    tries = at = 0
    while at <= HOUR:
        at += int(waits[min(tries, len(waits) - 1)])
        tries += 1
    return max(tries, int(HOUR / min(waits[-1], 1800.0)) + 1)


def _crowded(times: list[float], most: int, what: str) -> Iterator[str]:
    for first, last in zip(times, times[most:], strict=False):
        if last - first < HOUR:
            yield f"{what} more than {most} times in the hour from {first - START:.0f} s on"
            return
