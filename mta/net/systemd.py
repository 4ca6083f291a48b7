"""systemd: what it hands over to a service that it starts, and what it is told by it (sd_notify(3), sd_listen_fds(3)).

All of it is taken out of the environment, so that nothing that is started from here takes it for its own. Twisted does
the same with the sockets when it is imported, and keeps one of each name; so what the process began with is asked.
"""

import os
import socket
import time
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_FIRST: Final = 3  # descriptor that is handed over


def began_with(environment: Path = Path("/proc/self/environ")) -> bytes:
    """The environment that this process began with; nothing where there is no /proc, as in a chroot."""
    try:
        return environment.read_bytes()
    except OSError:
        return b""


class Systemd:
    """names: of the sockets, in order. watchdog: seconds within which it wants to hear from us; 0 for never.

    keeps_us: this process is not going to end, though the relay in it does: its program is about to be executed anew.
    """

    def __init__(
        self,
        address: str = "",
        watchdog: float = 0.0,
        sockets: Sequence[tuple[str, int]] = (),
        told: Mapping[str, str] | None = None,
    ) -> None:
        """address: of the socket that it hears us on; "" where it does not. sockets: their names and descriptors.

        told: what of it stood in our environment.
        """
        self._told = dict(told or {})
        self.keeps_us = False
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._sockets = sockets
        self.watchdog = watchdog
        self.names = tuple(dict.fromkeys(name for name, _ in sockets))

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str], own_pid: int, began_with: bytes = b"") -> "Systemd":
        """What was handed over to the process with this id. began_with: its environment, as /proc has it."""
        at_first = dict(entry.partition("=")[::2] for entry in os.fsdecode(began_with).split("\0"))
        taken = {key: environ.pop(key, at_first.get(key, "")) for key in _KEYS}
        microseconds = taken["WATCHDOG_USEC"] if taken["WATCHDOG_PID"] in ("", str(own_pid)) else ""
        sockets: list[tuple[str, int]] = []
        if taken["LISTEN_PID"] == str(own_pid) and taken["LISTEN_FDS"].isdecimal():
            names = taken["LISTEN_FDNAMES"].split(":") if taken["LISTEN_FDNAMES"] else []
            for number in range(int(taken["LISTEN_FDS"])):
                descriptor = _FIRST + number
                os.set_inheritable(descriptor, False)
                os.set_blocking(descriptor, False)
                sockets.append((names[number] if number < len(names) else "unknown", descriptor))
        return cls(taken["NOTIFY_SOCKET"], int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0, sockets, taken)

    def handing_over(self) -> dict[str, str]:
        """What to add to the environment of a program that is executed in the place of this one, in this process."""
        for _, descriptor in self._sockets:
            os.set_inheritable(descriptor, True)
        return {key: value for key, value in self._told.items() if value}

    @property
    def hears(self) -> bool:
        """Does it listen to what it is told?"""
        return self._address != ""

    def sockets(self, name: str) -> list[int]:
        """The descriptors of a name; they stay ours."""
        return [descriptor for one, descriptor in self._sockets if one == name]

    def tell(self, *words: str) -> None:
        """Tell it something, as "READY=1". Nobody who does not listen keeps us from working."""
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto("\n".join(words).encode(), self._address)

    def tell_reload(self, begins: bool) -> None:
        """A reload begins, at this time; or it has ended, well or not."""
        if begins:
            self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")
        else:
            self.tell("READY=1")


_KEYS: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
)
