"""Console: what the pages show, over a configuration and the queue that it names.

Its methods are called in threads. Each opens a desk of its own and closes it again, as the `mta` command does.
"""

import time
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from zope.interface import implementer

from mta.config.model import Config
from mta.message.envelope import format_queue_id
from mta.message.header import header_block
from mta.operating import overview
from mta.operating.facts import facts
from mta.operating.hooks import webhook_to_json
from mta.operating.operator import opened
from mta.operating.settings import settings_to_json
from mta.operating.story import ends_of, tell
from mta.spool.history import Story
from mta.spool.listing import QueuedRecipient
from mta.spool.matching import Selection
from mta.spool.owing import pending, together
from mta.web.console.seams import IConsole
from mta.web.seams import Chosen, NotThere

MOST_COUNTED: Final = 10_000  # messages; that there are more is said without counting them
MOST_HEADER: Final = 16_384  # octets of a header section that are shown
MOST_RECIPIENTS: Final = 500  # of one message that are shown
RESTS: Final = 30.0
FIRST: Final = 20  # messages that are shown of a destination


@implementer(IConsole)
class Console:
    """Of one relay, whether it runs in one process or in several."""

    def __init__(
        self,
        config: Config,
        window: Callable[[str], int | None],
        now: Callable[[], float] = time.time,
        rests: float = RESTS,
    ) -> None:
        """window: how many deliveries a destination has at a time; None where that is not known here. rests: for how
        many times as long as it took an overview is good, so that open pages take a small part of a core, no more.
        """
        self._config = config
        self._window = window
        self._now = now
        self._rests = rests
        self._looking = Lock()
        self._seen: dict[str, Any] = {}
        self._seen_until = 0.0

    def overview(self) -> dict[str, Any]:
        """As in `IConsole`."""
        with self._looking:
            if not self._seen or time.monotonic() >= self._seen_until:
                begun = time.monotonic()
                with opened(self._config.spool) as desk:
                    hooks = [one for each in desk.ask(lambda store, _: pending(store)) for one in each]
                    self._seen = {
                        **overview.overview(desk, self._now()),
                        "webhooks": [webhook_to_json(one) for one in together(hooks)],
                    }
                ended = time.monotonic()
                self._seen_until = ended + self._rests * (ended - begun)
            return self._seen

    def page(self, chosen: Chosen, state: str | None, after: int, limit: int) -> dict[str, Any]:
        """As in `IConsole`."""
        with opened(self._config.spool) as desk:
            return overview.page(desk, _meant(chosen), state, after, limit)

    def meant(self, chosen: Chosen) -> dict[str, Any]:
        """As in `IConsole`."""
        with opened(self._config.spool) as desk:
            return overview.meant(desk, _meant(chosen), MOST_COUNTED)

    def place(self, name: str) -> dict[str, Any]:
        """As in `IConsole`."""
        with opened(self._config.spool) as desk:
            return {**overview.destination(desk, name, FIRST), "window": self._window(name)}

    def story(self, number: int) -> dict[str, Any]:
        """As in `IConsole`."""
        with opened(self._config.spool) as desk:
            story = desk.story(number)
            if story is None:
                raise NotThere(f"No message {format_queue_id(number)} is known here, or it ended too long ago.")
            queued = desk.queue(Selection(ids=frozenset({number})), limit=1)
            content = desk.content(number)
            header = header_block(content.blocks(), MOST_HEADER) if content is not None else b""
            cut = content is not None and len(header) >= MOST_HEADER - 1000 and not header.endswith(b"\r\n\r\n")
        return story_of(story, queued[0].recipients if queued else (), header, cut, self._now())

    def configuration(self) -> dict[str, Any]:
        """As in `IConsole`."""
        return settings_to_json(self._config)


def _meant(chosen: Chosen) -> Selection:
    return Selection(ids=chosen.ids, to=chosen.to, sender=chosen.sender)


def story_of(
    story: Story, waiting: tuple[QueuedRecipient, ...], header: bytes, cut: bool, now: float
) -> dict[str, Any]:
    """A message as its page shows it. header: its header section, or the beginning of that, where it is cut."""
    here = {one.address for one in waiting}
    recipients: list[dict[str, Any]] = [{**one._asdict(), "at": None} for one in waiting[:MOST_RECIPIENTS]]
    recipients += [
        {
            "address": address,
            "state": end.word,
            "next_attempt": None,
            "at": end.at,
            "last_reply": end.reply or end.why,
            "destination": "",
            "wish": "",
        }
        for address, end in ends_of(story.events).items()
        if address not in here
    ][: MOST_RECIPIENTS - len(recipients)]
    states = {one.state for one in waiting}
    lines = [(event, tell(event)) for event in story.events]
    told = facts(story, waiting, now)
    return {
        "id": format_queue_id(story.id),
        "ended": story.ended is not None,
        "state": _state(states, story),
        "waiting": bool(waiting),
        "verbs": _verbs(states),
        "recipients": recipients,
        "timeline": [
            {"kind": event.kind, "at": event.at, "text": line.text, "dialogue": list(line.more)}
            for event, line in lines
        ],
        "facts": [{"head": line.head, "text": line.text} for line in told[1:] if line.head != "to"],
        "header": _fields(header),
        "header_cut": cut,
    }


def _state(states: set[str], story: Story) -> str:
    """One word for all of it."""
    for word in ("active", "held", "ready", "deferred"):
        if word in states:
            return word
    results = story.result.split()
    return "failed" if "failed" in results else results[0] if results else "ended"


def _verbs(states: set[str]) -> list[str]:
    """What can be done to it, as it is."""
    fitting = ["retry"] if states - {"held"} else []
    fitting += ["hold"] if states - {"held"} else []
    fitting += ["release"] if "held" in states else []
    return [*fitting, "bounce", "drop"]


def _fields(header: bytes) -> list[tuple[str, str]]:
    """Fields of a header section (RFC 5322 2.2), their lines apart; what is none stands without a name."""
    found: list[tuple[str, str]] = []
    for line in header.decode("utf-8", "backslashreplace").split("\r\n"):
        name, colon, value = line.partition(":")
        if line[:1] in (" ", "\t") and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
        elif colon and name.strip():
            found.append((name.strip(), value.strip()))
        elif line:
            found.append(("", line))
    return found
