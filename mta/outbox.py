"""The outbox: what webhooks are owed, kept by the spool with the mail itself, until who sends it says that it is told.

The seam between the two. An event is owed by the write that puts it into a message's timeline, so that a crash loses
neither without the other. Of several processes each has an outbox of its own, in its queue file.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from zope.interface import Interface

from mta.message.timeline import Event

if TYPE_CHECKING:  # the `mta` command lists a queue without loading Twisted
    from twisted.internet.defer import Deferred


class Subscription(NamedTuple):
    """Who is told of what. kinds: of events, as `Event.kind` has them."""

    url: str
    kinds: frozenset[str]


class Standing(NamedTuple):
    """How it goes with telling somebody. tried: when that was last done. failures: in a row. why: the last try failed;
    "" where it did not. following: when the next try is, after a failure. Times are seconds since 1970.
    """

    tried: float | None = None
    failures: int = 0
    why: str = ""
    following: float | None = None


class Owed(NamedTuple):
    """An event that somebody has not been told of yet.

    id: made like a queue id, never used twice, so that whoever hears of it twice can tell. message: by its queue id.
    sender: the message's reverse-path. destination: of the delivery that it is about; "" where it is about none.
    """

    id: int
    message: int
    sender: str
    destination: str
    event: Event


def name_of(url: str) -> str:
    """A URL as people and logs see it: what follows the host may be a secret, and known to nobody else."""
    parts = urlsplit(url)
    rest = parts.path.strip("/") or parts.query
    return f"{parts.scheme}://{parts.netloc}/{'…' if rest else ''}"


class IOutbox(Interface):
    """What is owed, by URL."""

    def subscribe(subscriptions: Sequence[Subscription]) -> "Deferred[None]":
        """From the next write on, these are told, and nobody else. What is owed already stays owed."""

    def owed(url: str, limit: int) -> "Deferred[list[Owed]]":
        """What somebody has not been told, up to `limit` events, the oldest first."""

    def waiting(url: str) -> "Deferred[int]":
        """How many events that are."""

    def told(url: str, events: Sequence[int], at: float) -> "Deferred[None]":
        """These have been told, by their ids, and are owed no more. at: when."""

    def failed(url: str, standing: Standing) -> "Deferred[None]":
        """They have not, and that is how it stands."""

    def forget(url: str, before: float, limit: int) -> "Deferred[int]":
        """Owe somebody no more what happened before a time: up to `limit` events, the oldest first. How many."""

    def forget_others(limit: int) -> "Deferred[int]":
        """Owe nothing to those who are not subscribed any more: up to `limit` events. How many."""
