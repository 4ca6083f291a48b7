"""Reloading: SIGHUP has the files read again, and what they say now is put in force: all of it, or nothing.

Where a bug makes that untrue, the log says which part goes by what.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from mta.config.again import read_again
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.maillog import Log
from mta.wiring.changes import changed_keys, until_restart
from mta.wiring.trouble import CannotStart

_logger = Logger()


class Reloading:
    """One reload at a time; whoever asks for one meanwhile gets one more when it has ended."""

    def __init__(
        self,
        in_thread: Callable[..., "Deferred[Any]"],
        log: Log,
        current: Callable[[], Config],
        take: Callable[[Config], Awaitable[None]],
        told: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """current: the configuration in force. take: puts another one in its place, or raises `CannotStart` and leaves
        all as it was. told: is told that a reload begins (True), and that it has ended.
        """
        self._in_thread = in_thread
        self._log = log
        self._current = current
        self._take = take
        self._told = told
        self._is_busy = False
        self._again = False
        self._followers: list[tuple[str, Callable[[Config], None]]] = []

    def follow(self, name: str, follower: Callable[[Config], None]) -> None:
        """Tell somebody, too, of each configuration that is in force from then on. name: for people."""
        self._followers.append((name, follower))

    def reload(self) -> "Deferred[None]":
        """Read the files again. Fires when that has come to something, which the log tells."""
        self._again = self._is_busy
        if self._is_busy:
            return maybeDeferred(lambda: None)
        return Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        self._is_busy = True
        self._told(True)
        before = self._current()
        try:
            await self._try(before)
        except ConfigError as error:
            self._refused(error.lines)
        except CannotStart as error:
            self._refused(str(error).splitlines())
        except Exception as error:  # a bug
            _logger.failure("the configuration could not be reloaded")
            why = f"unexpected {type(error).__name__}: {error}"
            if self._current() is before:
                self._refused([why])
            else:
                self._log("alarm", why=f"it is in force in part ({why}); mta restart has all of it in force")
        self._is_busy = False
        self._told(False)
        if self._again:
            self.reload()

    async def _try(self, before: Config) -> None:
        again = await self._in_thread(read_again, before)
        config, fixed = until_restart(before, again.config)
        await self._take(config)
        for name, follower in self._followers:
            self._tell(name, follower, config)
        for problem in (*again.kept, *fixed):
            self._log("alarm", why=str(problem))
        self._log("reloaded", changed=changed_keys(before, config) or "nothing")

    def _tell(self, name: str, follower: Callable[[Config], None], config: Config) -> None:
        """What one of them cannot do is no reason for the others, nor for the relay, to do without."""
        try:
            follower(config)
        except Exception as error:  # a bug
            _logger.failure("{name} could not take up the configuration", name=name)
            why = f"unexpected {type(error).__name__}: {error}"
            self._log(
                "alarm", why=f"{name} goes by the former configuration ({why}); mta restart has it go by this one"
            )

    def _refused(self, reasons: Sequence[str]) -> None:
        for why in reasons:
            self._log("not-reloaded", why=why)
