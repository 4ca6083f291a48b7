"""Hooks: the webhooks of a configuration, told of what they have subscribed to."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from mta.config.model import Config, Webhook
from mta.config.reading import read_token
from mta.delivery.trouble import report
from mta.ground import Ground
from mta.maillog import Log
from mta.net.measures import HOOK_WAITING, Measures
from mta.outbox import IOutbox, Subscription
from mta.webhooks.hook import STEP, Hook
from mta.webhooks.secret import Secret
from mta.wiring.trouble import CannotStart

if TYPE_CHECKING:
    from mta.webhooks.post import Post

TOLD_UNASKED: Final = ("delivered", "deferred", "bounced", "discarded", "expanded", "dropped", "held")
"""The events that a webhook without `events` is told of: all that end or delay mail."""

_KINDS: Final = {"bounced": "failed"}  # what the timeline calls otherwise


class Webhooks:
    """All of them. A webhook is known by its URL: what it has not been told yet outlives a reload, and a restart."""

    def __init__(self, ground: Ground, log: Log, counted: Measures) -> None:
        self._ground = ground
        self._log = log
        self._counted = counted
        self._hooks: dict[Webhook, Hook] = {}
        self._subscriptions: list[Subscription] | None = None  # those that are to be put into the queue file
        self._outbox: IOutbox
        self._post: Post | None = None
        self._looking = LoopingCall(self._look)
        self._looking.clock = ground.reactor

    def prepare(self, config: Config) -> None:
        """Have at hand what these webhooks need, treq above all. Raises `CannotStart`."""
        if config.webhooks and self._post is None:
            try:
                from mta.webhooks.post import Post  # most relays have no webhooks, and need none of it
            except (ImportError, OSError) as error:
                raise CannotStart(f"webhooks cannot be told of anything ({error}); start the relay again") from error
            self._post = Post(self._ground.reactor)

    def start(self, outbox: IOutbox, config: Config) -> None:
        """The spool is open. What is written to it from now on is told."""
        self._outbox = outbox
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Go by another configuration, which has been prepared. What waits is tried at once."""
        hooks, self._hooks = self._hooks, {}
        for entry in config.webhooks:
            known = next((key for key in hooks if _is_same(key, entry)), None)
            hook = self._make(entry) if known is None else hooks.pop(known)
            hook.hurry()
            self._hooks[entry] = hook
        for gone in hooks.values():
            gone.stop(0.0)
        self._subscriptions = [Subscription(entry.url, _kinds(entry)) for entry in config.webhooks]
        self._subscribe()
        if self._hooks and not self._looking.running:
            self._looking.start(self._ground.poll, now=False)

    async def stop(self, grace: float) -> None:
        """Tell nothing more. What is being told has so many seconds."""
        if self._looking.running:
            self._looking.stop()
        await gatherResults([hook.stop(grace) for hook in self._hooks.values()])
        if self._post is not None:
            await self._post.close()

    def _make(self, entry: Webhook) -> Hook:
        if self._post is None:
            raise AssertionError("a configuration is prepared before it is adopted")
        secret = None if entry.secret_file is None else Secret(entry.secret_file, _read_secret, self._log)
        return Hook(
            entry.url,
            secret or (lambda: None),
            self._outbox,
            self._post,
            self._ground.reactor,
            self._log,
            self._counted,
        )

    def _look(self) -> None:
        if self._subscriptions is not None:
            self._subscribe()
        for hook in self._hooks.values():
            hook.look()
        self._counted.cells[HOOK_WAITING] = sum(hook.waiting for hook in self._hooks.values())
        if not self._hooks:
            self._looking.stop()

    def _subscribe(self) -> None:
        """Have the queue file say who is told of what. If it cannot be written now, the next look tries again."""
        wanted, self._subscriptions = self._subscriptions, None
        if wanted is not None:
            Deferred.fromCoroutine(self._put(wanted)).addErrback(report, "who is told of events could not be written")

    async def _put(self, wanted: list[Subscription]) -> None:
        try:
            await self._outbox.subscribe(wanted)
        except Exception:
            if self._subscriptions is None:
                self._subscriptions = wanted
            raise
        dropped = 0
        while some := await self._outbox.forget_others(STEP):
            dropped += some
        if dropped:
            self._log("webhook", why="it is not in the configuration any more", dropped=dropped)


def _is_same(known: Webhook, entry: Webhook) -> bool:
    return (known.url, known.secret_file) == (entry.url, entry.secret_file)


def _kinds(entry: Webhook) -> frozenset[str]:
    return frozenset(_KINDS.get(word, word) for word in entry.events or TOLD_UNASKED)


def _read_secret(path: Path) -> str:
    return read_token(path, "secret")
