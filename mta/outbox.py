"""The outbox: what webhooks are owed, kept by the spool with the mail itself, until who sends it says that it is told.

The seam between the two. An event is owed by the write that puts it into a message's timeline, so that a crash loses
neither without the other. Of several processes each has an outbox of its own, in its queue file.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import Interface

from mta.message.timeline import Event

if TYPE_CHECKING:  # the `mta` command lists a queue without loading Twisted
    from twisted.internet.defer import Deferred


class Subscription(NamedTuple):
    """Who is told of what. kinds: of events, as `Event.kind` has them."""

    url: str
    kinds: frozenset[str]


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


class IOutbox(Interface):
    """What is owed, by URL."""

    def subscribe(subscriptions: Sequence[Subscription]) -> "Deferred[None]":
        """From the next write on, these are told, and nobody else. What is owed already stays owed."""

    def owed(url: str, limit: int) -> "Deferred[list[Owed]]":
        """What somebody has not been told, up to `limit` events, the oldest first."""

    def waiting(url: str) -> "Deferred[int]":
        """How many events that are."""

    def told(events: Sequence[int]) -> "Deferred[None]":
        """These have been told, by their ids, and are owed no more."""

    def forget(url: str, before: float, limit: int) -> "Deferred[int]":
        """Owe somebody no more what happened before a time: up to `limit` events, the oldest first. How many."""

    def forget_others(limit: int) -> "Deferred[int]":
        """Owe nothing to those who are not subscribed any more: up to `limit` events. How many."""
