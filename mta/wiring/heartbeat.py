"""Heartbeat: what systemd is told of a relay's life: that it is ready, that it works, that it stops."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from mta.net.systemd import Systemd


class Heartbeat:
    """Where systemd wants to hear from us, it does twice in that time, as long as whoever is asked answers.

    ask: somebody whose work nobody else can do. Its Deferred fires, or fails, when it has come to the question; as
    long as it does not, nothing is told, and systemd ends the process. The reactor turns, or nobody would be asked.
    """

    def __init__(
        self, reactor: Any, systemd: Systemd, ask: Callable[[], "Deferred[Any]"], status: Callable[[], str]
    ) -> None:
        """status: how it is, for people, who see it with `systemctl status`."""
        self._reactor = reactor
        self._systemd = systemd
        self._ask = ask
        self._status = status
        self._beat = LoopingCall(self._once)
        self._beat.clock = reactor

    def start(self) -> None:
        """The relay is ready as soon as the reactor runs."""
        if self._systemd.hears:
            self._reactor.callWhenRunning(self._ready)

    def stop(self) -> None:
        """The relay stops."""
        if self._beat.running:
            self._beat.stop()
        stops = () if self._systemd.keeps_us else ("STOPPING=1",)
        self._systemd.tell(*stops, "STATUS=transactions under way may end")

    def _ready(self) -> None:
        self._systemd.tell("READY=1", f"STATUS={self._status()}")
        if self._systemd.watchdog:
            self._beat.start(self._systemd.watchdog / 2)

    def _once(self) -> "Deferred[Any]":
        return self._ask().addBoth(lambda _: self._systemd.tell("WATCHDOG=1", f"STATUS={self._status()}"))
