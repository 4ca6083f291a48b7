"""Seams: what the HTTP side counts on. The wiring gives it the real ones.

Texts in exceptions are shown to who has asked, so they say what to do and hold no secrets.
"""

from collections.abc import Callable, Iterator, Sequence
from socket import socket
from typing import Any, NamedTuple

from zope.interface import Interface


class NotThere(Exception):
    """There is no such thing, or not any more."""


class NotDone(Exception):
    """It cannot be done as things are; the text says why."""


class Unusable(Exception):
    """What was asked makes no sense; the text says what would."""


class OutOfOrder(Exception):
    """The queue cannot be read or written now."""


class Chosen(NamedTuple):
    """Mail in the queue that is meant. ids: queue ids. to: a destination, a domain or an address. None, for both: all.

    sender: only mail from this address or domain; "<>" for notices.
    """

    ids: frozenset[int] | None = None
    to: str | None = None
    sender: str | None = None


VERBS = ("retry", "hold", "release", "bounce", "drop")
STATES = ("ready", "active", "deferred", "held")


class Figures(NamedTuple):
    """What is in the queue. states: deliveries (recipients of a message who wait together) by state. older: how many
    of them are older than so many seconds. oldest: when the oldest message came, in seconds since 1970; None for an
    empty queue. destinations: that something waits for; paused: of those."""

    messages: int
    recipients: int
    octets: int
    states: dict[str, int]
    older: dict[float, int]
    oldest: float | None
    destinations: int
    paused: int


class IOperator(Interface):
    """What an operator sees and does. Every method is called in a thread, several may be at once, and may raise
    `NotThere`, `NotDone`, `Unusable` or `OutOfOrder`. What is answered can be written as JSON."""

    def queue(chosen: Chosen, state: str | None, limit: int) -> dict[str, Any]:
        """What `mta queue --json` prints. state: one of `STATES`, None for any. limit: of messages."""

    def message(number: int) -> dict[str, Any]:
        """What `mta show --json` prints."""

    def content(number: int) -> tuple[int, Iterator[bytes]]:
        """How many octets the content of a message in the queue has, and blocks of it, which are read in a thread, one
        after the other. Closing the iterator lets go of what it is read from."""

    def change(verb: str, chosen: Chosen) -> dict[str, Any]:
        """Do one of `VERBS` to mail in the queue: {"recipients": how many it was done to, "active": how many of them
        were taken up for delivery, so that it is granted when a try that is under way has ended, or within a second,
        "missing": [ids that are not in the queue]}."""

    def destinations(limit: int) -> list[dict[str, Any]]:
        """Destinations that mail waits for, that are paused, or that failed when they were last tried."""

    def destination(name: str) -> dict[str, Any]:
        """One of them."""

    def webhooks() -> list[dict[str, Any]]:
        """Webhooks, and what they have not been told yet."""

    def figures() -> Figures:
        """How much is in the queue; not looked at anew more often than every few seconds."""

    def configuration() -> dict[str, Any]:
        """The configuration as in force. Of secrets there are the names of files, never what is in them."""


class IAdviser(Interface):
    """What can be found out for an operator; it may take its time. Called and raising as `IOperator`."""

    def explain(address: str, sender: str, client: str) -> dict[str, Any]:
        """What would become of a mail, as `mta explain --json` prints it; "" for a usual sender or client."""

    def doctor(domain: str, seconds: float) -> dict[str, Any]:
        """Is this relay ready for the world, as `mta doctor --json` prints it; "" for the configured domains. seconds:
        that it may take; what is not found out by then is unknown."""

    def forecast(number: int | None, limit: int) -> dict[str, Any]:
        """What is going to happen to the mail in the queue, as `mta forecast --json` prints it."""

    def audit(seconds: float) -> dict[str, Any]:
        """What has become of what came in for so long, as `mta audit --json` prints it."""


class Doubt(NamedTuple):
    """Something that is not as it should be. text: what, for people."""

    what: str
    text: str


class Work(NamedTuple):
    """cells: as `mta.net.measures` has them, of all processes together. begun: in seconds since 1970. workers:
    processes that do the work, and how many there are to be. now: in seconds since 1970."""

    cells: Sequence[float]
    begun: float
    workers: int
    wanted: int
    now: float


class IRunning(Interface):
    """The running relay, asked in the reactor's thread; answers at once."""

    def work() -> Work:
        """What it has done so far."""

    def listen(take: Callable[[dict[str, Any]], None] | None) -> None:
        """Give each event of the log to `take` from now on, as the log in JSON has it; None: not any more."""

    def admit(connection: socket) -> bool:
        """Serve a connected Unix socket as a client that may send anywhere. False where nobody can now. The socket is
        the caller's no more."""

    def ill() -> list[Doubt]:
        """Why it cannot go on working; nothing where it is alive."""

    def unready() -> list[Doubt]:
        """Why it would not take mail now; nothing where it would."""
