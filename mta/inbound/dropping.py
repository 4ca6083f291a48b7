"""Dropping: takes up what users have left in the drop folder while the relay was not there to take it.

A file is removed once its mail is on stable storage, so a crash in between makes one extra copy and loses nothing.
What cannot be taken now is tried again; recipients that are refused for good come back to the sender as a bounce; what
is no mail at all is put aside, with a line in the log.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mta.inbound.batches import Batch, LocalUser, NotNow
from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.interfaces import Found, IDropFolder, IHanded, NotMail, SpoolBroken, SpoolFull
from mta.message.envelope import DROP, Envelope, Recipient, format_queue_id
from mta.message.header import header_block
from mta.message.outcome import FAILED, Outcome
from mta.message.report import About, failure_report
from mta.message.returned import LARGEST_HEADER, Returned
from mta.message.statusfields import Action, Fate
from mta.smtp import asking, replies
from mta.smtp.batch import batch
from mta.smtp.reply import Reply

BLOCK: Final = 65536  # octets that are read at a time
PAUSE: Final = 60.0  # seconds after which what could not be taken is tried again
PATIENCE: Final = 3600.0  # seconds for which a recipient that is refused for now is waited for
MOST_REMEMBERED: Final = 10_000  # names that are passed over; with more than these, all are looked at once more

_OURSELVES: Final = "mta"
_log = Logger()


class Dropping:
    """Takes up the mail in the drop folder, one after the other, in turns by user."""

    def __init__(
        self,
        folder: IDropFolder,
        house: House,
        manners: Manners,
        clock: IReactorTime,
        in_thread: Callable[..., "Deferred[Any]"],
        poll: float = 1.0,
    ) -> None:
        """manners: its bounds hold here as they do at listeners. in_thread: calls what may wait for the disk.

        poll: seconds between two looks whether there is something new.
        """
        self._folder = folder
        self._house = house
        self._manners = manners
        self._clock = clock
        self._in_thread = in_thread
        self._poll = poll
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._ended: Deferred[LoopingCall] | None = None
        self._stopping = False
        self._trouble: str | None = None
        self._seen = -1  # the version of the folder at the last look
        self._again = 0.0  # when to look even at what has not changed
        self._waiting: dict[str, float] = {}  # what is passed over, and until when
        self._kept: set[str] = set()  # files whose mail is kept, and that could not be removed

    def adopt(self, house: House, manners: Manners) -> None:
        """What is taken up from now on is treated so."""
        self._house, self._manners = house, manners

    def start(self) -> None:
        """Begin to look."""
        self._ended = self._looking.start(self._poll)

    async def stop(self) -> None:
        """Take up no more; what is being taken up is let end."""
        self._stopping = True
        if self._looking.running:
            self._looking.stop()
        if self._ended is not None:
            await self._ended

    def _look(self) -> "Deferred[None]":
        looked = Deferred.fromCoroutine(self._round())
        return looked.addErrback(lambda failure: _log.failure("the drop folder could not be looked at", failure))

    async def _round(self) -> None:
        try:
            found = await self._news()
        except OSError as error:
            self._trouble_is(f"the drop folder cannot be used: {error}")
            return
        if found is None:
            return
        for name in found.strange:
            await self._put_aside(name, "it is not what is left there")
        for name in found.names:
            if self._stopping or not await self._is_taken_up(name):
                break
        if found.more:
            self._again = 0.0
        self._again = min([self._again, *self._waiting.values()])

    async def _news(self) -> Found | None:
        """What lies there, where something has changed, or has waited long enough. Raises `OSError`."""
        now = self._clock.seconds()
        if self._trouble != "":
            why = await self._in_thread(self._folder.prepare)
            if why:
                self._trouble_is(why)
                return None
        version = await self._in_thread(self._folder.version)
        if version == self._seen and now < self._again:
            self._trouble = ""
            return None
        if len(self._waiting) > MOST_REMEMBERED:
            self._waiting.clear()
        self._waiting = {name: until for name, until in self._waiting.items() if until > now}
        found: Found = await self._in_thread(self._folder.look, frozenset(self._waiting) | self._kept)
        self._trouble, self._seen, self._again = "", version, float("inf")
        return found

    def _trouble_is(self, why: str) -> None:
        """Say it once, until it is mended."""
        if why != self._trouble:
            self._trouble = why
            self._house.log.event("alarm", why=why)

    async def _is_taken_up(self, name: str) -> bool:
        """Take up one file, or do what is to be done with it instead. False: others have no better chance now."""
        try:
            handed: IHanded = await self._in_thread(self._folder.open, name)
        except FileNotFoundError:
            return True  # its user has thought better of it
        except NotMail as error:
            await self._put_aside(name, str(error))
            return True
        except OSError as error:
            self._wait_with(name, f"it cannot be opened: {error}")
            return True
        try:
            return await self._is_settled(name, handed)
        except OSError as error:
            self._wait_with(name, f"it cannot be read: {error}")
            return True
        except Exception:  # a fault of ours: it must not keep others from being taken up
            _log.failure("{name} in the drop folder could not be taken up", name=name)
            self._wait_with(name, "internal error")
            return True
        finally:
            await self._in_thread(handed.close)

    async def _is_settled(self, name: str, handed: IHanded) -> bool:
        visitor = LocalUser(self._house, self._manners, handed.uid, handed.user)
        patient = self._clock.seconds() - handed.changed < PATIENCE
        one = Batch(self._house, self._manners, visitor, patient)
        reading = _Reading(handed, self._manners.message_size, self._in_thread)
        try:
            await one.take(reading.block)
        except NotNow as error:
            self._wait_with(name, str(error), handed.user)
            return error.reply not in (replies.DISK_FULL, replies.LOCAL_ERROR)
        except NotMail as error:
            unfit = Reply(554, "5.6.0", (f"what was left in the drop folder cannot be taken for mail: {error}",))
            await self._give_back(one, handed, [*((who, unfit) for who in one.taken), *one.refused], reading.head)
            await self._put_aside(name, str(error), handed.user)
            return True
        if one.taken:
            self._kept.add(name)  # so that it is not taken a second time, whatever comes next
        if one.refused and not await self._give_back(one, handed, one.refused, reading.head):
            self._kept.discard(name)
            await self._put_aside(name, "its sender cannot be told that it is refused", handed.user)
            return True
        await self._remove(name)
        return True

    async def _give_back(
        self, one: Batch, handed: IHanded, refused: Iterable[tuple[Recipient, Reply]], head: bytes
    ) -> bool:
        """Send a bounce for recipients who want one; is it kept, or none owed?"""
        if one.sender is None:
            return False
        owed = [(who, reply) for who, reply in refused if not who.notify or "FAILURE" in who.notify.split(",")]
        if not owed:
            return True
        if not one.sender:
            return False
        notice = self._notice(one.sender, handed, owed, head)
        octets = batch(self._house.hostname, notice)

        async def read() -> bytes:
            return next(octets, b"")

        unbounded = Manners()  # what is larger than others' messages may be is still a notice
        letter = Batch(self._house, unbounded, LocalUser(self._house, unbounded, os.geteuid(), _OURSELVES))
        try:
            await letter.take(read)
        except (NotNow, NotMail, SpoolFull, SpoolBroken) as error:
            self._tell(f"no notice: {error}", handed.user)
            return False
        return bool(letter.taken)

    def _notice(self, to: str, handed: IHanded, refused: list[tuple[Recipient, Reply]], head: bytes) -> asking.Mail:
        house, now = self._house, self._clock.seconds()
        about_id, notice_id = (format_queue_id(house.keeping.spool.new_id(now)) for _ in range(2))
        self._tell(f"refused for {len(refused)} recipients: {refused[0][1]}", handed.user, about=about_id, sender=to)
        envelope = Envelope(to, tuple(who for who, _ in refused), handed.changed)
        fates = [Fate(who, Outcome(FAILED, reply, remote=False), now, Action.FAILED) for who, reply in refused]
        given = Returned(header_block([head.partition(b"\r\nDATA\r\n")[2]], LARGEST_HEADER))
        about = About(house.hostname, house.postmaster, about_id, envelope, given, to)
        content = failure_report(about, fates, notice_id, now)

        def blocks() -> Iterator[bytes]:
            yield content

        return asking.Mail("", [to], len(content), not content.isascii(), True, blocks)

    async def _put_aside(self, name: str, why: str, user: str | None = None) -> None:
        try:
            done = await self._in_thread(self._folder.put_aside, name)
        except FileNotFoundError:
            return
        except OSError as error:
            done = f"it stays there, since it cannot be moved: {error.strerror}"
            self._waiting[name] = float("inf")
        self._tell(f"{name} in the drop folder is no mail: {why}; {done}", user)

    async def _remove(self, name: str) -> None:
        try:
            await self._in_thread(self._folder.remove, name)
        except OSError as error:
            self._house.log.event("alarm", why=f"{name} in the drop folder is taken and cannot be removed: {error}")
        else:
            self._kept.discard(name)

    def _wait_with(self, name: str, why: str, user: str | None = None) -> None:
        self._waiting[name] = self._clock.seconds() + PAUSE
        self._tell(f"{name} in the drop folder waits: {why}", user)

    def _tell(self, why: str, user: str | None, **more: str) -> None:
        self._house.log.event("refused", client=DROP, login=user, why=why, **more)


class _Reading:
    """Reads a file in blocks, within reason. head: its first octets, for what is given back of it."""

    def __init__(self, handed: IHanded, message_size: int, in_thread: Callable[..., "Deferred[Any]"]) -> None:
        self._handed = handed
        self._in_thread = in_thread
        # Each line may begin with one more dot, and a line that is a dot has three octets; then there is the envelope.
        self._left = 2 * message_size + LARGEST_HEADER if message_size else handed.size + 1
        self.head = b""

    async def block(self) -> bytes:
        """The next octets; b"" at the end."""
        octets: bytes = await self._in_thread(self._handed.read, BLOCK)
        self._left -= len(octets)
        if self._left < 0:
            raise NotMail("it is larger than a message may be")
        if len(self.head) < 2 * LARGEST_HEADER:
            self.head += octets
        return octets
