"""Hand-over: what a process keeps when its program is executed anew in it: above all its listening sockets.

They stay open across execve(2), so whoever connects meanwhile waits in their queues, as with systemd's. What is kept is
told in the environment, as systemd tells it, with the process that it is for, and is taken out of it.
"""

import json
import os
import socket
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mta.net.held import BACKLOG

_KEPT: Final = "MTA_HANDED_OVER"
_REHEARSAL: Final = "MTA_REHEARSAL"
_FOR: Final = "process"


class HandedOver:
    """What this process had before its program was executed anew. Nothing, where it was simply started.

    has_begun_anew: it was executed anew. log: the descriptor of the log's file, which we may not open again; None where
    it is not a file.
    """

    def __init__(
        self, sockets: Mapping[str, Sequence[int]] | None = None, log: int | None = None, has_begun_anew: bool = False
    ) -> None:
        """sockets: descriptors of listening sockets, by what listens there."""
        self._sockets = dict(sockets or {})
        self.log = log
        self.has_begun_anew = has_begun_anew

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str], own_pid: int) -> "HandedOver":
        """What was handed over to the process with this id."""
        told = _told(environ, _KEPT)
        if told.get(_FOR) != own_pid:
            return cls()
        _open_for(told["sockets"], told["log"], heirs=False)
        return cls(told["sockets"], told["log"], True)

    def take(self, name: str) -> Sequence[int]:
        """The descriptors of what listens by that name; they are the caller's from now on."""
        taken = self._sockets.pop(name, ())
        for one in taken:
            with suppress(OSError), socket.socket(fileno=os.dup(one)) as theirs:
                theirs.listen(BACKLOG)  # it may have been paused, see `held`
        return taken

    def close_all_but(self, names: Sequence[str]) -> None:
        """Let go of what nobody listens at any more; what waits there is reset. Unix sockets lose their names."""
        for name in self._sockets.keys() - set(names):
            for one in self._sockets.pop(name):
                with socket.socket(fileno=one) as theirs:
                    path = theirs.getsockname() if theirs.family == socket.AF_UNIX else ""
                if path.startswith("/proc/"):  # by way of a folder that was open when it was bound, see `control`
                    path = ""
                for left in (path, f"{path}.lock") if path else ():
                    with suppress(OSError):
                        Path(left).unlink()


def handing_over(pid: int, sockets: Mapping[str, Sequence[int]], log: int | None) -> dict[str, str]:
    """What to add to the environment that a program is executed with, so that it finds these open."""
    _open_for(sockets, log, heirs=True)
    return {
        _KEPT: json.dumps({_FOR: pid, "sockets": {name: list(those) for name, those in sockets.items()}, "log": log})
    }


class Rehearsal:
    """What a start would find, for a program that is to say whether it could start, and goes no further.

    names: of what would be handed over. given: of the sockets that systemd has.
    """

    def __init__(self, names: Sequence[str], given: Sequence[str]) -> None:
        self.names = names
        self.given = given

    @classmethod
    def of_environment(cls, environ: MutableMapping[str, str]) -> "Rehearsal | None":
        """The one that this process is for; None where it is to start."""
        told = _told(environ, _REHEARSAL)
        return cls(told["names"], told["given"]) if told else None

    def environment(self) -> dict[str, str]:
        """What to add to the environment of a process that is for it."""
        return {_REHEARSAL: json.dumps({"names": list(self.names), "given": list(self.given)})}


def _told(environ: MutableMapping[str, str], key: str) -> dict[str, Any]:
    try:
        told = json.loads(environ.pop(key, "{}"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _open_for(sockets: Mapping[str, Sequence[int]], log: int | None, heirs: bool) -> None:
    """Have descriptors stay open when a program is executed, or not."""
    for those in (*sockets.values(), () if log is None else (log,)):
        for one in those:
            os.set_inheritable(one, heirs)
