"""Search: the places at which mail for a hop is tried, looked up one after the other, as far as they are needed."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from mta.interfaces import IResolver
from mta.policy.exchangers import Answer, Found, candidates, literal_address, unreachable, usable
from mta.policy.idn import in_a_labels
from mta.policy.routing import Hop, Via
from mta.smtp.ip import is_ip_address
from mta.smtp.reply import Reply

MOST_PLACES = 20  # tried for one message; each may take a connection's time-out

Note = Callable[[str, str], None]


class Place(NamedTuple):
    """Something to connect to. host: the name that led here, "" for a bare address. port: 0 for a Unix socket, whose
    path is the address."""

    host: str
    address: str
    port: int

    def __str__(self) -> str:
        """As outcomes and timelines name it: "mx.example.net[192.0.2.1]:25"."""
        return f"{self.host}[{self.address}]:{self.port}" if self.port else f"unix:{self.address}"


@dataclass(frozen=True)
class Finder:
    """What a search needs to know.

    own_names: the host names of this relay. is_ourselves: do we listen on this address and port? refuse_private:
    exchangers are not tried at addresses that are no part of the public Internet.
    """

    resolver: IResolver
    own_names: frozenset[str]
    chance: Random
    is_ourselves: Callable[[str, int], bool]
    refuse_private: bool = False

    def search(self, hop: Hop, note: Note) -> "Search":
        """The places of a hop. note: is told of each host that has no place, and why."""
        return Search(self, hop, note)


class Search:
    """One search. `next` until it gives None; then, or earlier, `failure` may say why there was no place at all.

    incomplete: a host was left out because nobody knew its addresses, which may be different later. why: how the names
    of the hosts were found, for people; "" where they need not be looked for.
    """

    def __init__(self, finder: Finder, hop: Hop, note: Note) -> None:
        self._finder = finder
        self._hop = hop
        self._note = note
        self._hosts: deque[str] | None = None
        self._implicit = False
        self._places: deque[Place] = deque()
        self._answers: list[Answer[str]] = []
        self._given = 0
        self.failure: Reply | None = None
        self.incomplete = False
        self.why = ""

    async def next(self) -> Place | None:
        """The next place; None when there is no other."""
        if self._hosts is None:
            self._hosts = deque(await self._find_hosts())
        while not self._places and self._hosts:
            await self._find_places(self._hosts.popleft())
        if not self._places or self._given >= MOST_PLACES:
            self._explain()
            return None
        place = self._places.popleft()
        if self._finder.is_ourselves(place.address, place.port):
            # What is less preferred than ourselves would hand the mail back to us (RFC 5321 5.1).
            self._places.clear()
            self._hosts.clear()
            self.failure = Reply(554, "5.4.6", (f"mail for {self._hop.destination} loops back to this relay",))
            self._note(str(place), "this relay itself")
            return None
        self._given += 1
        return place

    async def _find_hosts(self) -> tuple[str, ...]:
        """The names to look up the addresses of. Where addresses are known without that, they become places."""
        hop = self._hop
        if hop.via is Via.LMTP_UNIX:
            self._places.append(Place("", hop.path, 0))
            return ()
        if hop.via is not Via.MX:
            if not is_ip_address(hop.host):
                return (hop.host,)
            self._places.append(Place("", hop.host, hop.port))
            return ()
        if hop.host.startswith("["):
            self._add_literal(hop.host)
            return ()
        domain = in_a_labels(hop.host)
        answer = await self._finder.resolver.exchangers(domain)
        found = candidates(domain, answer, self._finder.own_names, self._finder.chance)
        self._implicit = found.implicit
        self.why = found.why
        self.failure = found.failure
        return found.hosts

    def _add_literal(self, domain: str) -> None:
        address = literal_address(domain)
        allowed = usable([address], self._finder.refuse_private) if address else None
        if allowed and allowed.addresses:
            self._places += [Place("", one, self._hop.port) for one in allowed.addresses]
        else:
            why = f": {allowed.refused}" if allowed else ""
            self.failure = Reply(550, "5.1.2", (f"mail is not sent to the address {domain}{why}",))

    async def _find_places(self, host: str) -> None:
        """The addresses of one host."""
        hop = self._hop
        answer = await self._finder.resolver.addresses(host)
        self._answers.append(answer)
        if answer.found is not Found.RECORDS:
            self.incomplete |= answer.found is Found.FAILED
            self._note(host, f"no address: {answer.found}{f' ({answer.why})' if answer.why else ''}")
            return
        refuse_private = self._finder.refuse_private and hop.via is Via.MX
        allowed = usable(answer.records, refuse_private)
        if allowed.refused:
            self._note(host, allowed.refused)
        self._places += [Place(host, address, hop.port) for address in allowed.addresses]

    def _explain(self) -> None:
        """Nobody was found: say why."""
        if self._given or self.failure:
            return
        if self._hop.via is Via.MX:
            self.failure = unreachable(self._hop.host, self._implicit, self._answers)
        else:
            # A route names this host, so that it is our mistake or our DNS's if there is none: no reason to bounce.
            self.failure = Reply(451, "4.4.4", (f"the next hop {self._hop.host} has no address",))
