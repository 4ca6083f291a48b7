"""Guessing: how logins that fail make the next ones slower, by address, and by address together with account.

An account alone is never locked: anybody could lock its user out. Nor does it help to try many at once: an attempt
counts as failed from its beginning, until it has succeeded.
"""

from collections import OrderedDict
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple, TypeVar

from mta.smtp.ip import unmapped

Value = TypeVar("Value")


class Patience(NamedTuple):
    """free: failures that cost nothing. most: failures after which nothing is checked any more, for a while."""

    free: int
    most: int

    def halved(self) -> "Patience":
        """Half of it; what costs nothing is rounded up."""
        return Patience((self.free + 1) // 2, self.most // 2)


# Somebody's mail program with an old password tries for ever; an office has many of those behind one address.
WITH_ACCOUNT: Final = Patience(free=3, most=10)
BY_ADDRESS: Final = Patience(free=10, most=50)
LONGEST_DELAY: Final = 30.0  # seconds
FORGOTTEN: Final = 600.0  # seconds after the last failure
_TRUSTED: Final = 86400.0  # seconds after the last success
_MOST_KEPT: Final = 20_000  # of each kind


class _Count:
    __slots__ = ("failures", "last")

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.last = now


class Guess(NamedTuple):
    """One login that is tried, which may go on after so many seconds. counts: those that it counts in."""

    network: str
    account: str
    delay: float
    counts: tuple[_Count, ...]


class Guessing:
    """The counts. Times are seconds of any beginning. Of each kind only the last 20,000 are kept."""

    def __init__(self, several: bool = False) -> None:
        """several: other processes count the same clients, each what comes to it; so each allows half as much.

        It is half, however many they are: the attempts of somebody who mistypes may all come to one of them.
        """
        self._with_account = WITH_ACCOUNT.halved() if several else WITH_ACCOUNT
        self._by_address = BY_ADDRESS.halved() if several else BY_ADDRESS
        self._networks: OrderedDict[Hashable, _Count] = OrderedDict()
        self._pairs: OrderedDict[Hashable, _Count] = OrderedDict()
        self._trusted: OrderedDict[Hashable, float] = OrderedDict()

    def begin(self, address: str, account: str, now: float) -> Guess | None:
        """Somebody tries. None: not now, nothing is to be checked. account: "" where it is not known yet.

        An address that an account has logged in from of late does not count against that account, so guesses at others
        from behind the same address do not keep its user out.
        """
        network = network_of(address)
        pair = (network, account)
        counts = [(self._with_account, self._count(self._pairs, pair, now))] if account else []
        if self._trusted.get(pair, 0.0) <= now:
            counts.append((self._by_address, self._count(self._networks, network, now)))
        if any(count.failures >= patience.most for patience, count in counts):
            return None
        delay = max((_delay(patience, count.failures) for patience, count in counts), default=0.0)
        for _, count in counts:
            count.failures += 1
            count.last = now
        return Guess(network, account, delay, tuple(count for _, count in counts))

    def succeeded(self, guess: Guess, now: float) -> None:
        """It was right. What failed before, for others from that address, still counts."""
        pair = (guess.network, guess.account)
        self.unknown(guess)
        self._pairs.pop(pair, None)
        _keep(self._trusted, pair, now + _TRUSTED)

    def unknown(self, guess: Guess) -> None:
        """Whether it was right could not be checked, so it does not count."""
        for count in guess.counts:
            count.failures -= 1

    @staticmethod
    def _count(counts: OrderedDict[Hashable, _Count], key: Hashable, now: float) -> _Count:
        count = counts.get(key)
        if count is None or now - count.last > FORGOTTEN:
            count = _Count(now)
        _keep(counts, key, count)
        return count


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 its first 64 bits, which are one house's."""
    try:
        parsed = unmapped(ip_address(address))
    except ValueError:
        return address  # a Unix socket
    return str(IPv6Address(int(parsed) >> 64 << 64) if isinstance(parsed, IPv6Address) else parsed)


def _delay(patience: Patience, failures: int) -> float:
    """1, 2, 4 … seconds."""
    beyond = failures - patience.free
    return min(2.0 ** min(beyond, 10), LONGEST_DELAY) if beyond >= 0 else 0.0


def _keep(kept: OrderedDict[Hashable, Value], key: Hashable, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _MOST_KEPT:
        kept.popitem(last=False)
