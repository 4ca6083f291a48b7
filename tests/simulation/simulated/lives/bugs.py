"""Bugs to plant: each is a patch of the real relay, which the simulation has to find. None of them is in mta.

`planted` makes one of them true for as long as its context lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from mta.inbound.reception import Reception
from mta.interfaces import Record
from mta.message.envelope import format_queue_id
from mta.smtp import client, content, replies
from mta.smtp.events import EndOfContent
from mta.spool import settling
from mta.spool.keeping import keep_notice
from mta.spool.sqlite import SqliteSpool
from mta.spool.store import Store


def _250_before_sync() -> list[AbstractContextManager[Any]]:
    """The final reply is given when the commit has been asked for, not when it is on stable storage."""
    finish = Reception.finish

    def hasty(self: Reception, end: EndOfContent) -> object:
        answer = finish(self, end)
        if isinstance(answer, Deferred):
            answer.addErrback(lambda _: None)
            return replies.queued(format_queue_id(self._kept.id))
        return answer

    return [patch.object(Reception, "finish", hasty)]


def _bounce_lost_on_crash() -> list[AbstractContextManager[Any]]:
    """Notices are stored in a write of their own, behind the one that makes them owed."""
    record = SqliteSpool.record

    def record_twice(self: SqliteSpool, one: Record) -> Deferred[bool]:
        def keep(store: Store) -> bool:
            for notice in one.notices:
                keep_notice(store, notice)
            return True

        stored = record(self, one._replace(notices=()))
        return stored.addCallback(lambda _: self._writer.submit(keep)) if one.notices else stored

    return [patch.object(SqliteSpool, "record", record_twice)]


def _record_without_fence() -> list[AbstractContextManager[Any]]:
    """A result is stored whoever has claimed the delivery since."""
    texts = {name: getattr(settling, name) for name in ("WISH", "REMOVE_CLAIMED")}
    return [
        patch.object(settling, name, text.replace(" AND fence = ?", " AND fence >= min(0, ?)"))
        for name, text in texts.items()
    ]


def _missing_dot_at_a_block_border() -> list[AbstractContextManager[Any]]:
    """Where a block ends with a line, a dot that begins the next one is not doubled."""

    def stuff(blocks: Iterable[bytes], dotted: bool = True) -> Iterator[bytes]:
        last = b"\n"
        for number, block in enumerate(blocks):
            last = block[-1:] or last
            begins_line = number == 0 and block.startswith(b".")
            yield (b"." if begins_line else b"") + block.replace(b"\r\n.", b"\r\n..")
        yield b".\r\n" if last == b"\n" else content.END_OF_CONTENT

    return [patch.object(client, "stuff", stuff)]


def _retry_without_pause() -> list[AbstractContextManager[Any]]:
    """What was put off is due again at once, and a destination that is down is never left in peace."""

    def at_once(policy: object, received: float, attempts: int, now: float, chance: object) -> float:
        return now + 1.0

    return [
        patch("mta.policy.settlement.next_try", at_once),
        patch("mta.delivery.destination.refused", lambda window, *_: window),
    ]


BUGS = {
    "250-before-sync": _250_before_sync,
    "bounce-lost-on-crash": _bounce_lost_on_crash,
    "record-without-fence": _record_without_fence,
    "missing-dot-at-a-block-border": _missing_dot_at_a_block_border,
    "retry-without-pause": _retry_without_pause,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The relay has this bug. "" for none."""
    with ExitStack() as stack:
        for one in BUGS[name]() if name else []:
            stack.enter_context(one)
        yield
