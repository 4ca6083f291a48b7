"""Control: a Unix socket in the spool, at which a running relay is asked to do something, and says what came of it.

Only its own user and root reach it, by the mode of the file, and by what the kernel says of who is there. Whoever has
the locks of the spool is the one who listens. Requests and answers are lines of JSON: {"do": "restart"} is answered
with {"reasons": […]}, which are none when it is begun, {"do": "tell"} with what runs: {"process": …, "version": …}.
"""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineOnlyReceiver

from mta.maillog import Log
from mta.net import sockets
from mta.net.handover import HandedOver

_NAME: Final = "control"
_OF_CONTROL: Final = " (control)"
_BACKLOG: Final = 16
_LONGEST: Final = 100  # octets of a path that fits into the address of a socket, with room to spare
_ROOT: Final = 0
_CREDENTIALS: Final = struct.Struct("iii")  # struct ucred: process, user, group

Ask = Callable[[], "Deferred[list[str]]"]


@contextmanager
def short_path(spool: Path) -> Iterator[str]:
    """A name of the socket of this spool that fits into an address, for as long as it is needed. Raises `OSError`."""
    path = str(spool / _NAME)
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    folder = os.open(spool, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{_NAME}"
    finally:
        os.close(folder)


def listening_name_of_control(spool: Path) -> str:
    """The name that it is handed over by."""
    return f"{spool}{_OF_CONTROL}"


def spool_of(listening_name: str) -> str:
    """The inverse: the path of the spool; "" where it is the name of something else."""
    spool = listening_name.removesuffix(_OF_CONTROL)
    return "" if spool == listening_name else spool


def own_version() -> str:
    """Of this program."""
    return version("mta")


class Control(Service):
    """Listens as long as the relay runs."""

    def __init__(self, reactor: Any, spool: Path, handed: HandedOver, log: Log, restart: Ask) -> None:
        self._reactor = reactor
        self._spool = spool
        self._handed = handed
        self._log = log
        self._factory = _Callers(restart)
        self._port: IListeningPort | None = None
        self._made: tuple[int, int] | None = None  # which file is ours

    def startService(self) -> None:
        """Listen. It is started when the spool is ours, so whatever has that name is left over."""
        try:
            inherited = self._handed.take(listening_name_of_control(self._spool))
            if inherited and not (self._spool / _NAME).is_socket():  # somebody has taken its name away from it
                os.close(inherited[0])
                inherited = ()
            descriptor = inherited[0] if inherited else self._bind()
            self._port = sockets.adopt(self._reactor, descriptor, self._factory)
            self._made = self._stands_there()
        except OSError as error:
            self._log("alarm", why=f"nobody can ask for a restart at {self._spool / _NAME}: {error.strerror}")
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Listen no more. The spool may be somebody else's by now, and so may be what has that name."""
        if self._port is not None:
            with suppress(OSError):
                if self._stands_there() == self._made:
                    (self._spool / _NAME).unlink()
        return self._close()

    def _stands_there(self) -> tuple[int, int]:
        """What has the name of the socket, as the file system numbers it."""
        found = (self._spool / _NAME).lstat()
        return found.st_dev, found.st_ino

    def hand_over(self) -> dict[str, list[int]]:
        """As in `Relay`. Whoever comes from now on is answered by the program that begins."""
        if self._port is None:
            return {}
        descriptor = sockets.hand_over(self._port)
        self._close()
        return {listening_name_of_control(self._spool): [descriptor]}

    def _close(self) -> "Deferred[None]":
        port, self._port = self._port, None
        stopped = port.stopListening() if port is not None else None
        return stopped if stopped is not None else succeed(None)

    def _bind(self) -> int:
        with short_path(self._spool) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            with suppress(FileNotFoundError):
                Path(path).unlink()
            os.fchmod(listening.fileno(), 0o600)  # what the file is made with
            listening.bind(path)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
            return listening.detach()


class _Callers(Factory):
    noisy = False

    def __init__(self, restart: Ask) -> None:
        self.restart = restart

    def buildProtocol(self, addr: object) -> LineOnlyReceiver:
        return _Caller(self.restart)


class _Caller(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 1000
    transport: Any

    def __init__(self, restart: Ask) -> None:
        self._restart = restart

    def connectionMade(self) -> None:
        theirs = self.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(theirs)[1] not in (_ROOT, os.geteuid()):
            self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        match _asked(line):
            case "restart":
                self._restart().addCallback(lambda reasons: self._answer(reasons=reasons))
            case "tell":
                self._answer(process=os.getpid(), version=own_version())
            case _:
                self._answer(reasons=["this relay does not know what is asked; its program is another version"])

    def _answer(self, **said: object) -> None:
        self.transport.write(json.dumps(said).encode() + b"\n")


def _asked(line: bytes) -> object:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return asked.get("do") if isinstance(asked, dict) else None
