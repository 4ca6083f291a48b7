"""Operator: what the console and the HTTP API ask and do, over a configuration and the queue that it names.

Its methods are called in threads. Each opens a desk of its own and closes it again, as the `mta` command does.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final

import apsw
from zope.interface import implementer

from mta.config.model import Config
from mta.interfaces import SpoolBroken
from mta.message.envelope import format_queue_id
from mta.operating.bouncing import composing
from mta.operating.hooks import webhook_to_json
from mta.operating.listing import destination_to_json, queue_to_json, story_to_json
from mta.operating.settings import settings_to_json
from mta.spool.desk import Desk
from mta.spool.figures import AGES
from mta.spool.matching import Selection
from mta.spool.owing import pending, together
from mta.web.seams import Chosen, Figures, IOperator, NotThere, OutOfOrder

FRESH: Final = 2.0  # seconds for which what the metrics say of the queue is good
MOST_COUNTED: Final = 10_000  # messages whose recipients are looked at before something is done to them


@implementer(IOperator)
class Operator:
    """Of one relay, whether it runs in one process or in several."""

    def __init__(self, config: Config, warn: Callable[[str], None]) -> None:
        """warn: is told of content that cannot be read, for a bounce."""
        self._config = config
        self._warn = warn
        self._figures: tuple[float, Figures] | None = None
        self._figuring = Lock()

    def queue(self, chosen: Chosen, state: str | None, limit: int) -> dict[str, Any]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            messages = desk.queue(_selection(chosen), state, limit) if limit else []
            return queue_to_json(messages, desk.totals())

    def message(self, number: int) -> dict[str, Any]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            story = desk.story(number)
            queued = desk.queue(Selection(ids=frozenset({number})), limit=1)
        if story is None:
            raise NotThere(f"no message {format_queue_id(number)} is known here, or it ended too long ago")
        return story_to_json(story, queued[0].recipients if queued else ())

    def content(self, number: int) -> tuple[int, Iterator[bytes]]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            content = desk.content(number)
            if content is None:
                name = format_queue_id(number)
                if desk.story(number) is not None:
                    raise NotThere(f"message {name} has left the queue, and its content with it")
                raise NotThere(f"there is no message {name} in the queue")
        return content.size, content.blocks()

    def change(self, verb: str, chosen: Chosen) -> dict[str, Any]:
        """As in `IOperator`."""
        selection = _selection(chosen)
        with opened(self._config.spool) as desk:
            meant = desk.queue(selection, limit=MOST_COUNTED)
            here = {one.id for one in meant}
            active = sum(one.state == "active" for message in meant for one in message.recipients)
            if verb == "bounce":
                done = desk.bounce(selection, composing(self._config, desk, self._warn))
            else:
                done = {"retry": desk.retry, "hold": desk.hold, "release": desk.release, "drop": desk.drop}[verb](
                    selection
                )
        missing = sorted((selection.ids or frozenset()) - here)
        return {"recipients": done, "active": active, "missing": [format_queue_id(one) for one in missing]}

    def destinations(self, limit: int) -> list[dict[str, Any]]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            return [destination_to_json(one) for one in desk.destinations_seen(limit)]

    def destination(self, name: str) -> dict[str, Any]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            found = desk.destination(name)
        if found is None:
            raise NotThere("nothing waits for such a destination, and none failed lately; `GET destinations` has names")
        return destination_to_json(found)

    def webhooks(self) -> list[dict[str, Any]]:
        """As in `IOperator`."""
        with opened(self._config.spool) as desk:
            parts = [one for each in desk.ask(lambda store, _: pending(store)) for one in each]
        return [webhook_to_json(one) for one in together(parts)]

    def figures(self) -> Figures:
        """As in `IOperator`."""
        with self._figuring:
            if self._figures is None or time.monotonic() - self._figures[0] > FRESH:
                with opened(self._config.spool) as desk:
                    self._figures = time.monotonic(), _figures(desk)
            return self._figures[1]

    def configuration(self) -> dict[str, Any]:
        """As in `IOperator`."""
        return settings_to_json(self._config)


@contextmanager
def opened(folder: Path) -> Iterator[Desk]:
    """The queue in a folder. Raises `OutOfOrder`, with what is wrong with it."""
    try:
        with Desk(folder) as desk:
            yield desk
    except SpoolBroken as error:
        raise OutOfOrder(str(error)) from error
    except OSError as error:
        raise OutOfOrder(f"the spool cannot be used: {error.strerror or error}") from error
    except apsw.Error as error:
        raise OutOfOrder(f"the spool cannot be used: {error}") from error


def _figures(desk: Desk) -> Figures:
    totals, found = desk.totals(), desk.figures()
    return Figures(
        totals.messages,
        totals.recipients,
        totals.octets,
        {"ready": found.ready, "active": found.active, "deferred": found.deferred, "held": found.held},
        dict(zip(AGES, found.older, strict=True)),
        found.oldest,
        found.destinations,
        found.paused,
    )


def _selection(chosen: Chosen) -> Selection:
    return Selection(ids=chosen.ids, to=chosen.to, sender=chosen.sender)
