"""What is explained is what happens: in many configurations, drawn from seeds, each with a mail that is then sent."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import pytest
from explain_world import Case, Seen, draw, explained, happened, written

from mta.operating.explain import Explanation, NextHop
from mta.policy.addressing import Addressed, Addressing
from mta.policy.exchangers import Candidates
from mta.policy.routing import Decision, Routing
from mta.transports import search

CASES = 200
ENOUGH = 80  # cases within which a planted bug is found


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where nothing has to be waited for."""
    made = Path(mkdtemp(prefix="mta-explain-", dir="/dev/shm"))
    yield made
    shutil.rmtree(made)


def differences(
    seed: int,
    folder: Path,
    planting: AbstractContextManager[Any] = nullcontext(),  # noqa: B008  it holds nothing
) -> tuple[list[str], Explanation]:
    """Where the explanation of a case is not what happens. planting: makes something else happen."""
    place = folder / str(seed)
    place.mkdir()
    case = draw(seed)
    config = written(case, place)
    told = explained(case, config)
    with planting:
        seen = happened(case, config)
    shutil.rmtree(place)
    return list(compare(case, told, seen)), told


def compare(case: Case, told: Explanation, seen: Seen) -> Iterator[str]:
    """Each difference, in words."""
    if (told.command, str(told.reply)) != (seen.command, seen.reply):
        yield f"the reply: said {told.command} {told.reply}, was {seen.command} {seen.reply}"
        return
    recipients = {one.address for way in told.ways for one in way.recipients}
    if (recipients if told.expanded else None) != seen.expanded:
        yield f"expanded into: said {recipients if told.expanded else None}, was {seen.expanded}"
    ends = {(one.address, end_of(case, way)) for way in told.ways for one in way.recipients}
    if ends != seen.ends:
        yield f"ends: said {sorted(ends)}, were {sorted(seen.ends)}"
    taken = {
        (way.reverse_path, one.address)
        for way in told.ways
        for one in way.recipients
        if end_of(case, way) == "delivered"
    }
    others = {pair for pair in seen.taken if pair[0]} - taken  # all but notices
    if taken - seen.taken or others:
        yield f"delivered: said {sorted(taken)}, were {sorted(seen.taken)}"
    if told.schedule is not None:
        first, second = told.schedule.tries[:2]
        wrong = [wait for wait in seen.waits if not 1 <= wait / (second - first) <= 1.1]
        if wrong:
            yield f"waits: said {second - first} s, were {wrong}"
    elif seen.waits:
        yield f"waits: said none, were {seen.waits}"
    hops = {way.hop.destination: way.hop for way in told.ways if way.hop is not None}
    tried = {name for name, hop in hops.items() if hop.hosts}
    if tried != set(seen.tried):
        yield f"destinations: said {sorted(tried)}, were {sorted(seen.tried)}"
    for name in tried & set(seen.tried):
        yield from compare_order(case, hops[name], seen.tried[name])


def compare_order(case: Case, hop: NextHop, tried: list[str]) -> Iterator[str]:
    """The hosts that were tried are the first of those that were said, where equal preferences may change places."""
    said = [f"{one.name}[{address}]:{one.port}" for one in hop.hosts for address in one.addresses]
    zone = case.zones.get(hop.destination.partition("?")[0])
    preferences = {one.host: one.preference for one in zone.mx} if zone is not None else {}

    def rank(places: list[str]) -> list[int]:
        return [preferences.get(place.partition("[")[0], 0) for place in places]

    def addresses(places: list[str], host: str) -> list[str]:
        return [place for place in places if place.partition("[")[0] == host]

    if rank(said)[: len(tried)] != rank(tried):
        yield f"order of preference at {hop.destination}: said {said}, was {tried}"
    for host in {place.partition("[")[0] for place in tried}:
        if addresses(said, host)[: len(addresses(tried, host))] != addresses(tried, host):
            yield f"addresses of {host}: said {said}, was {tried}"
    if not is_up(case, hop) and set(said) != set(tried):
        yield f"hosts of {hop.destination}: said {said}, were {tried}"


def end_of(case: Case, way: Any) -> str:
    """The end of those who go one way, as the timeline has it; of a mail that is tried, given who is up."""
    if way.end == "tried":
        return "delivered" if is_up(case, way.hop) else "deferred"
    return way.end if way.reply is None else f"{way.end} {way.reply}"


def is_up(case: Case, hop: NextHop) -> bool:
    """Would some host take it? None of them speaks TLS."""
    up = any((address, one.port) in case.up for one in hop.hosts for address in one.addresses)
    return up and not hop.tls.text.startswith("require")


def test_what_is_explained_happens(folder: Path) -> None:
    kinds: Counter[str] = Counter()
    for seed in range(CASES):
        found, told = differences(seed, folder)
        assert not found, f"case {seed}: {found}"
        kinds[f"refused at {told.command}" if not told.is_accepted else "accepted"] += 1
        kinds[f"expanded: {told.expanded}"] += 1
        kinds.update({f"end: {way.end}" for way in told.ways})
        kinds.update({step.what for step in told.steps})
        kinds.update({f"via: {way.hop.via}" for way in told.ways if way.hop is not None})
    # Each kind of thing was there, and not just once.
    for kind in (
        *("refused at MAIL", "refused at RCPT", "accepted", "expanded: alias", "expanded: list", "expanded: forward"),
        *("end: tried", "end: discarded", "end: failed", "end: deferred", "via: mx", "via: smtp", "via: lmtp"),
        *("source route", "completed", "postmaster", "directory", "why", "login"),
    ):
        assert kinds[kind] >= 3, f"{kind}: {kinds}"


def without_owner(real: Callable[..., Addressed]) -> Callable[..., Addressed]:
    """What members of a list get comes from whoever wrote to it."""

    def resolve(self: Addressing, reverse_path: str, *of: Any) -> Addressed:
        addressed = real(self, reverse_path, *of)
        kept = tuple(one._replace(reverse_path=reverse_path) for one in addressed.forwardings)
        return addressed._replace(forwardings=kept)

    return resolve


def worst_first(real: Callable[..., Candidates]) -> Callable[..., Candidates]:
    """The hosts are tried in the wrong order."""

    def candidates(*of: Any) -> Candidates:
        found = real(*of)
        return found._replace(hosts=found.hosts[::-1])

    return candidates


def last_route(real: Callable[..., Decision]) -> Callable[..., Decision]:
    """The last route that matches wins, once the mail is in the queue."""

    def decide(self: Addressing, reverse_path: str, address: str) -> Decision:
        decision = real(self, reverse_path, address)
        return Routing(self._routing.routes[::-1]).decide(reverse_path, address) if decision.hop else decision

    return decide


@pytest.mark.parametrize(
    ("where", "name", "bug", "found"),
    [
        (Addressing, "resolve", without_owner, "delivered"),
        (search, "candidates", worst_first, "order of preference"),
        (Addressing, "decide", last_route, "destinations"),
    ],
)
def test_a_relay_that_does_something_else_is_found_out(
    folder: Path, where: Any, name: str, bug: Callable[..., Any], found: str
) -> None:
    planting = patch.object(where, name, bug(getattr(where, name)))
    words = (one for seed in range(ENOUGH) for one in differences(seed, folder, planting)[0])
    assert any(one.startswith(found) for one in words), f"nothing of the kind in {ENOUGH} cases"
