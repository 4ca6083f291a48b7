"""Obedience: what a worker does of what the supervisor says while both run."""

import json
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from twisted.logger import Logger

from mta.service import Change, Relay
from mta.wiring.trouble import CannotStart
from mta.workers.orders import Orders

_logger = Logger()


class Obedience:
    """Does what it is told, and answers. A configuration that was made ready waits for the word to go by it."""

    def __init__(self, relay: Relay, answer: Callable[[dict[str, Any]], None], stop: Callable[[], None]) -> None:
        """stop: ends the worker, which is then started again."""
        self._relay = relay
        self._answer = answer
        self._stop = stop
        self._ready: Change | None = None
        self._unused: Sequence[int] = ()  # descriptors of sockets for it

    def told(self, line: bytes, descriptors: deque[int]) -> None:
        """Something has been said; descriptors that belong to it are the first of these, and are ours from now on."""
        asked = json.loads(line)
        number = asked["number"]
        match asked["do"]:
            case "prepare":
                written = descriptors.popleft()
                handed = {
                    int(place): [descriptors.popleft() for _ in range(count)] for place, count in asked["sockets"]
                }
                self._answer({"answer": number, **self._prepare(written, handed)})
            case "adopt":
                self._answer({"answer": number, **self._adopt()})
            case "drop":
                self._drop()
                self._answer({"answer": number})
            case "here":
                self._answer({"answer": number})
            case "beat":
                self._relay.spool.next_deadline().addBoth(lambda _: self._answer({"answer": number}))

    def _prepare(self, written: int, handed: Mapping[int, Sequence[int]]) -> dict[str, Any]:
        self._drop()
        self._unused = [one for those in handed.values() for one in those]
        try:
            self._ready = self._relay.prepare(Orders.read(written).config, handed)
        except CannotStart as error:
            self._drop()
            return {"cannot": str(error)}
        except Exception as error:
            _logger.failure("the configuration could not be made ready")
            self._drop()
            return {"cannot": f"unexpected {type(error).__name__}: {error} (the log has more)"}
        finally:
            os.close(written)
        return {}

    def _adopt(self) -> dict[str, Any]:
        change, self._ready = self._ready, None
        self._unused = ()
        try:
            if change is not None:
                self._relay.adopt(change)
        except Exception:  # the others go by it: this one will, too, when it is started again
            _logger.failure("the configuration could not be put in force, so this worker begins anew")
            self._stop()
        return {}

    def _drop(self) -> None:
        self._ready = None
        unused, self._unused = self._unused, ()
        for one in unused:
            with suppress(OSError):
                os.close(one)
