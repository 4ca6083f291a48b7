"""Restarting: the program, as it is on disk by now, takes the place of the one that runs, in the same process.

1. Another process rehearses: it is started with our words, does what a start does without touching anything that is
   ours, and says whether it could. Where it could not, nothing has happened.
2. The relay ends as it does on SIGTERM, but for its listening sockets, which stay: whoever connects waits.
3. The program is executed (execve(2)) in this process, and finds these sockets (`mta.net.handover`).

So there never are two that could have the spool, and the process id, which systemd, pidfiles and containers know the
relay by, is the same.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Event
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from mta.config.model import Config
from mta.maillog import LineWriter, Log
from mta.net.early import end_at_once_by
from mta.net.handover import HandedOver, Rehearsal, handing_over
from mta.net.systemd import Systemd
from mta.wiring.control import listening_name_of_control
from mta.wiring.program import Program
from mta.wiring.trouble import listening_name_of_admin

_ALIVE: Final = "WATCHDOG=1"  # to systemd, who hears nothing from a relay that ends, and from one that begins
_SOFTWARE: Final = 70  # EX_SOFTWARE of sysexits.h
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)  # us
_STOPPING: Final = "the relay is stopping"

HandOver = Callable[[], Mapping[str, Sequence[int]]]

_logger = Logger()


def names_of(config: Config) -> list[str]:
    """The names by which what a relay of this configuration listens on is handed over."""
    names = [str(entry.address) for entry in config.listen]
    if config.admin.listen is not None:
        names.append(listening_name_of_admin(config.admin.listen))
    return [*names, listening_name_of_control(config.spool)]


class Restarting:
    """Begins the relay of this process anew, when asked to."""

    def __init__(
        self,
        reactor: Any,
        program: Program,
        systemd: Systemd,
        sink: LineWriter | None,
        log: Log,
        in_thread: Callable[..., "Deferred[Any]"],
        current: Callable[[], Config],
        parts: Sequence[HandOver],
    ) -> None:
        """current: the configuration in force. parts: what listens, and what is handed over of it."""
        self._reactor = reactor
        self._program = program
        self._systemd = systemd
        self._sink = sink
        self._log = log
        self._in_thread = in_thread
        self._current = current
        self._parts = parts
        self._kept: dict[str, Sequence[int]] = {}
        self._is_busy = False
        self._is_wanted = False
        self._is_called_off = Event()
        reactor.addSystemEventTrigger("before", "shutdown", self._is_called_off.set)

    def restart(self) -> "Deferred[list[str]]":
        """Begin anew. Fires with the reasons why that is not to be, with all as it was; with none once it is begun."""
        return Deferred.fromCoroutine(self._restart())

    async def _restart(self) -> list[str]:
        if self._is_busy:
            return ["it is being started anew already"]
        self._is_busy = True
        try:
            why = await self._try()
        except Exception as error:  # nobody looks at what becomes of a signal
            why = [_unexpected(error)]
            self._is_wanted = False
        self._is_busy = not why
        for one in why:
            self._log("not-restarted", why=one)
        return why

    async def _try(self) -> list[str]:
        rehearsal = Rehearsal(names_of(self._current()), self._systemd.names)
        version, reasons = await self._in_thread(self._program.rehearse, rehearsal, self._is_called_off)
        return list(reasons) or await self._begin_anew(version)

    async def _begin_anew(self, version: str) -> list[str]:
        """The rehearsal has gone well. What keeps us from it even so; nothing where all is on its way."""
        self._is_wanted = True
        handlers = [(one, signal.signal(one, self.call_off)) for one in _ENDS]
        turn = Deferred[None]()  # whoever was asked to end before that has the reactor stop first
        self._reactor.callFromThread(turn.callback, None)
        await turn
        why = self._hand_over() if self._is_wanted and not self._is_called_off.is_set() else _STOPPING
        if not why:
            self._log("restarting", version=version)
            self._systemd.keeps_us = True
            self._systemd.tell_reload(True)
            self._systemd.tell(_ALIVE)
            return []
        for number, handler in handlers:
            signal.signal(number, handler)
        for descriptor in [one for those in self._kept.values() for one in those]:
            os.close(descriptor)
        self._kept = {}
        if not self._is_wanted:  # the word to end has come to us instead
            with suppress(ReactorNotRunning):
                self._reactor.stop()
        self._is_wanted = False
        return [why]

    def _hand_over(self) -> str:
        """Keep what listens, and have the relay end. Why that cannot be, if so."""
        try:
            for part in self._parts:
                self._kept.update(part())
            self._reactor.stop()
        except OSError as error:  # too many open files
            return f"what listens cannot be handed over: {error.strerror}"
        except ReactorNotRunning:
            return _STOPPING
        except Exception as error:
            return _unexpected(error)
        return ""

    def call_off(self, *_: object) -> None:
        """Have it end, which it is about to do, and not begin anew: somebody wants that, or has to see to something."""
        self._is_wanted = False
        self._systemd.keeps_us = False
        self._systemd.tell("STOPPING=1")

    def finish(self) -> None:
        """The reactor has stopped, and all is closed. Returns where the process is to end."""
        if self._is_wanted:
            for one in _ENDS:  # from here on it ends us at once, as it does when the program has just begun
                end_at_once_by(one)
        if not self._is_wanted:
            HandedOver(self._kept).close_all_but(())
            return
        log = None
        if self._sink is not None:
            self._sink.flush()
            log = self._sink.descriptor()
        handed = handing_over(os.getpid(), self._kept, log)
        self._systemd.tell(_ALIVE)
        try:
            self._program.execute({**os.environ, **self._systemd.handing_over(), **handed})
        except OSError as error:
            self._log("alarm", why=f"the program cannot be executed: {error}")
            if self._sink is not None:
                self._sink.flush()
            HandedOver(self._kept).close_all_but(())
            os._exit(_SOFTWARE)


def _unexpected(error: Exception) -> str:
    """What to say of a bug."""
    _logger.failure("the relay could not be started anew")
    return f"unexpected {type(error).__name__}: {error} (the log has more)"
