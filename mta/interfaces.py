"""The seams: what the rooms of the house may count on from one another. `service.py` joins them. Those of logins have a
file of their own, `logins.py`.

Spool, resolver and transport have an honest twin in memory each, and one contract test that both pass. Times are
seconds since 1970 (`now`) unless said otherwise, sizes are octets. A Deferred that fails has done nothing.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zope.interface import Attribute, Interface

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried
from mta.message.timeline import Event
from mta.policy.exchangers import Answer, Exchanger
from mta.policy.routing import Hop
from mta.smtp.reply import Reply

if TYPE_CHECKING:  # the `mta` command lists a queue without loading Twisted
    from twisted.internet.defer import Deferred


class NewDelivery(NamedTuple):
    """Recipients of a new message who share a destination.

    eager: it is claimed in the write that stores it, since whoever stores it is going to try it at once. due: when
    it is to be tried. deadline: when somebody must look at it even though its destination is paused (the earlier of
    the delay warning and giving up). reverse_path: theirs, where it is not the message's: the owner of the list that
    they are members of, or a source route's (`Envelope.on_behalf_of`); their claims have it in their envelope.
    """

    destination: str
    recipients: tuple[Recipient, ...]
    due: float
    deadline: float
    eager: bool = False
    reverse_path: str | None = None


class NewMessage(NamedTuple):
    """A message that we make ourselves (a notice), stored in the write that makes it owed."""

    id: int
    envelope: Envelope
    content: bytes
    deliveries: tuple[NewDelivery, ...]
    events: tuple[Event, ...] = ()


class Claim(NamedTuple):
    """A delivery that is ours to try: nobody else tries it until it is recorded, released, or we die.

    envelope: the message's, its recipients those of this delivery alone. attempts: tries before this one. warned:
    the delay notice has been sent. fence: what `record` checks. wish: "" or what an operator asked for meanwhile
    ("bounce"). last_reply: of the last try, or of the destination's, in the form of a reply; "" when there was none.
    due: when it was to be tried; a deadline can bring a claim earlier. paused_until, failures: as in `Due`; 0 where it
    is eager, since nobody has looked.
    """

    message: int
    delivery: int
    fence: int
    destination: str
    envelope: Envelope
    attempts: int = 0
    warned: bool = False
    wish: str = ""
    last_reply: str = ""
    due: float = 0.0
    paused_until: float = 0.0
    failures: int = 0


class Waiting(NamedTuple):
    """Recipients that a settlement leaves in the queue. state: "waiting" or "held"."""

    recipients: tuple[Recipient, ...]
    destination: str
    due: float
    deadline: float
    attempts: int
    warned: bool
    last_reply: str
    state: str = "waiting"


class Pause(NamedTuple):
    """What is known of a destination: not to be tried before `until` (0: go on), after so many failures in a row."""

    until: float
    failures: int
    last_reply: str


class Record(NamedTuple):
    """What a try or a decision changes, in one write. Recipients of the claim that are not in `waiting` are done.

    pause: what has become of the destination, None for no news. events: their kinds tell how those who are done have
    ended ("delivered", "failed", "discarded", "expanded", "dropped"); "ended" is added by the spool.
    """

    claim: Claim
    at: float
    waiting: tuple[Waiting, ...] = ()
    notices: tuple[NewMessage, ...] = ()
    events: tuple[Event, ...] = ()
    pause: Pause | None = None


class Due(NamedTuple):
    """A destination with something to try. paused_until, failures, last_reply: as its last `Pause` said."""

    destination: str
    next_due: float
    paused_until: float
    failures: int
    last_reply: str


class Recovered(NamedTuple):
    """What opening a spool found. unknown: deliveries that were claimed when the last holder died.

    unwise: sentences about who could change what is in it. pauses: of destinations that failed when last tried, in
    the order in which they end. newest: what the clock said when something was last written; 0 where it cannot be told.
    """

    messages: int
    unknown: int
    removed_files: int
    destinations: int
    unwise: tuple[str, ...] = ()
    pauses: tuple[tuple[str, Pause], ...] = ()
    newest: float = 0.0


Anew = Callable[[int], float]
"""When to try, in seconds since 1970, what has had so many tries."""


class SpoolFull(Exception):
    """There is less room than the floor (or no room at all): 452 4.3.1."""


class Busy(Exception):
    """Too much of it has been asked for already: try again later."""


class SpoolBroken(Exception):
    """The spool cannot be used. The text says what to do."""


class SpoolDamaged(SpoolBroken):
    """A queue file has been set aside: whoever starts once more begins with an empty one."""


class IContent(Interface):
    """The content of a kept message, without transparency, ready to be read any number of times."""

    size: int = Attribute("octets")

    def blocks() -> Iterator[bytes]:
        """The octets in blocks of up to 64 KiB. An `OSError` in between means that the content cannot be read."""


class IReception(Interface):
    """One message on its way in. Either `commit` or `discard` ends it; until then nothing of it is in the queue."""

    id: int = Attribute("the queue id, known from the beginning so that the trace field can name it")
    content: IContent = Attribute("the content, once `commit` has fired and while somebody still tries it from memory")

    def write(octets: bytes) -> "Deferred[None] | None":
        """Keep some content. None: go on. A Deferred: the disk is behind; give no more until it fires."""

    def commit(
        envelope: Envelope, deliveries: Sequence[NewDelivery], events: Sequence[Event]
    ) -> "Deferred[list[Claim]]":
        """Fires when all of it is on stable storage, synced, with the claims of the eager deliveries.

        Fails with `SpoolFull`, or `SpoolBroken` after a sync error: then nothing was kept.
        """

    def discard() -> None:
        """Forget it all. May be called at any time, also twice; not after `commit`."""


class ISpool(Interface):
    """The queue. Writes are grouped: what is asked for in one turn of the reactor is one commit, one sync."""

    def start(pauses: int = 0) -> Recovered:
        """Take the lock, set up or upgrade the files, take up what a dead holder left. Raises `SpoolBroken`.
        pauses: how many to tell of, at most: those that end last."""

    def stop() -> "Deferred[None]":
        """Finish what was asked for, put claims back, close."""

    def new_id(now: float) -> int:
        """A queue id for a message that we make ourselves, such as a notice."""

    def has_room(size: int) -> bool:
        """Is there room for a message of so many octets, as far as is known now (RFC 1870 6.3)?"""

    def receive(now: float) -> IReception:
        """Begin to keep a message. Raises `SpoolFull` below the floor of free disk."""

    def due(now: float, limit: int, skip: frozenset[str]) -> "Deferred[list[Due]]":
        """Destinations, but those in `skip`, with deliveries due and no pause, longest due first, up to `limit`;
        if there is none, the one that will be due next (its `next_due` tells when), or an empty list."""

    def claim(destination: str, limit: int, now: float) -> "Deferred[list[Claim]]":
        """Up to `limit` deliveries of a destination that are due, the earliest first."""

    def overdue(now: float, limit: int) -> "Deferred[list[Claim]]":
        """Claims of up to `limit` deliveries whose deadline has passed, paused destinations included."""

    def next_deadline() -> "Deferred[float | None]":
        """When `overdue` will have something; None when nothing waits."""

    def content(claim: Claim) -> "Deferred[IContent]":
        """The content of a claimed message."""

    def record(record: Record) -> "Deferred[bool]":
        """Store what a claim came to. False: the claim was no longer ours (its fence is older), nothing was stored.

        An operator's wish that arrived meanwhile is applied to what would wait: drop, hold, retry or bounce. With
        nothing left waiting anywhere, the message goes in the same write, and its timeline stays. May wait up to
        20 ms to share a commit.
        """

    def release(claims: Sequence[Claim]) -> "Deferred[None]":
        """Put claims back untried, as they were."""

    def rush(domain: str, destination: str) -> "Deferred[int]":
        """Make due now what waits for recipients of a domain in lower case (".example.org": of its subdomains), or,
        where that is "", for a destination; pauses of its destinations are over. What is held stays, and so does what
        its sender has asked to be released later (RFC 4865). How many messages there are; one that waits in parts may
        be counted for each. Takes its time where the queue is long: other writes come in between."""

    def hasten(due: float, pause: float, anew: Anew) -> "Deferred[int]":
        """Put right what a clock has put off that ran ahead, and has been set back: what waits for a time later than
        `due` is due at what `anew` says of its tries, and pauses that end later than `pause` are over. What is held
        stays, and so does what its sender has asked to be released later (RFC 4865). How many deliveries there were.
        Other writes come in between."""

    def changes() -> "Deferred[bool]":
        """Has another process written since the last call? (The `mta` command does.)"""

    def purge(before: float) -> "Deferred[int]":
        """Remove timelines that ended before a time, up to 1,000 rows of them; how many rows, 0 when none is left."""


class NotMail(Exception):
    """What somebody has left in the drop folder cannot be taken for mail; the text says why."""


class Found(NamedTuple):
    """What lies in the drop folder. names: of files to take up, in turns by user. strange: what is no such file.
    more: there was more than there is room for in one round."""

    names: list[str]
    strange: list[str]
    more: bool = False


class IHanded(Interface):
    """A file that a user of this machine has left, open."""

    uid: int = Attribute("whose it is, by number")
    user: str = Attribute("whose it is, by a name that can stand anywhere")
    size: int = Attribute("octets")
    changed: float = Attribute("when it was left, in seconds since 1970")

    def read(octets: int) -> bytes:
        """The next octets, up to so many; b"" at its end. Raises `NotMail` where it has been changed meanwhile."""

    def close() -> None:
        """Let go of it."""


class IDropFolder(Interface):
    """Where users leave mail while nobody is there to take it. All of it may wait for the disk, or raise `OSError`."""

    def prepare() -> str:
        """Have the folder be there. Why it is of no use, for people; "" where it is."""

    def version() -> int:
        """It changes when something is put there, or taken away."""

    def look(passed_over: Collection[str]) -> Found:
        """What lies there, but for these names."""

    def open(name: str) -> IHanded:
        """Open a file. Raises `NotMail`."""

    def remove(name: str) -> None:
        """Remove a file whose mail is kept elsewhere now; that it has gone already is no error."""

    def put_aside(name: str) -> str:
        """Have it out of the way, for somebody to look at; what was done, for people."""


class IDispatcher(Interface):
    """Who tries deliveries at once. Reception asks before it stores, so that storing and claiming are one write."""

    def reserve(destination: str) -> bool:
        """Would you try one more for this destination now, or soon? True obliges: `deliver` or `unreserve` follows."""

    def unreserve(destination: str) -> None:
        """It came to nothing: the message was not stored."""

    def deliver(claim: Claim, content: IContent | None) -> None:
        """Try this, for which there is a reservation. content: where it is still at hand."""

    def wake(destination: str) -> None:
        """Something was stored for this destination, due now or later, that was not reserved."""

    def start_queue(domain: str, destination: str) -> "Deferred[int]":
        """Try at once what waits for a domain (".example.org": its subdomains), or, where that is "", for a
        destination (ETRN, RFC 1985): how many messages there are. Asked for again within seconds, it is the same
        answer and no work. Fails with `Busy` where too many others want theirs started.
        """


class IResolver(Interface):
    """Who asks the DNS. Never fails: what went wrong is in the answer."""

    def exchangers(domain: str) -> "Deferred[Answer[Exchanger]]":
        """The MX records of a domain."""

    def addresses(host: str) -> "Deferred[Answer[str]]":
        """The addresses of a host, A and AAAA."""

    def stop() -> "Deferred[None]":
        """Ask no more; whoever waits is answered with a failure."""


class ITransport(Interface):
    """Who carries mail to one kind of next hop."""

    def carry(hop: Hop, envelope: Envelope, content: IContent) -> "Deferred[Carried]":
        """Carry it, to all recipients of the envelope. An outcome for each, always; a failure is a bug here."""

    def cut() -> None:
        """Close the sessions that carry something, whatever is on its way, and let nothing more go out. What is being
        carried ends with what is known by then, most of it before this returns."""

    def stop() -> "Deferred[None]":
        """Close idle sessions, let others end."""


class ICheck(Interface):
    """An operator's own question: a list, a quota, a greylist."""

    def client(client_address: str) -> "Deferred[Reply | None]":
        """Before the greeting. None: welcome. A `Reply`, 554 or 421: greet with it (RFC 5321 3.1)."""

    def recipient(client_address: str, helo: str, sender: str, recipient: str) -> "Deferred[Reply | None]":
        """None: no objection. A `Reply` (4yz or 5yz): refuse with it."""
