"""Errands: what takes longer than anybody wants to wait for a page. One is begun by a form, and its page shows what it
has come to.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.net.threads import Busy, Threads
from mta.web.seams import NotDone, NotThere, OutOfOrder, Unusable

KEPT: Final = 20  # results that are remembered, the last ones


@dataclass
class Errand:
    """Something that is being found out, or was. since: when that was begun, in seconds since 1970. wrong: why there
    is nothing found; "" where there is."""

    since: float
    is_over: bool = False
    found: Any = None
    wrong: str = ""


class Errands:
    """All of them, by what they are about. In the reactor's thread."""

    def __init__(self, threads: Threads, now: Callable[[], float]) -> None:
        self._threads = threads
        self._now = now
        self._errands: OrderedDict[tuple[str, str], Errand] = OrderedDict()

    def begin(self, kind: str, about: str, work: Callable[[], Any]) -> None:
        """Find this out, unless that is being done already."""
        before = self._errands.get((kind, about))
        if before is not None and not before.is_over:
            return
        errand = self._errands[kind, about] = Errand(self._now())
        self._errands.move_to_end((kind, about))
        while len(self._errands) > KEPT:
            self._errands.popitem(last=False)
        doing = self._threads.run(work)
        doing.addCallbacks(self._found, self._failed, callbackArgs=(errand,), errbackArgs=(errand,))
        doing.addErrback(lambda failure: _logger.failure("an errand of the console has failed", failure))

    def look(self, kind: str, about: str) -> Errand | None:
        """What has come of it; None where it was not begun, or is forgotten."""
        return self._errands.get((kind, about))

    @staticmethod
    def _found(found: Any, errand: Errand) -> None:
        errand.found, errand.is_over = found, True

    @staticmethod
    def _failed(failure: Failure, errand: Errand) -> Failure | None:
        errand.is_over = True
        if failure.check(Busy):
            errand.wrong = "Too much is being found out already; try again later."
        elif failure.check(NotDone, NotThere, OutOfOrder, Unusable):
            errand.wrong = failure.getErrorMessage()
        else:
            errand.wrong = "Something is wrong with this relay itself; its log has more."
            return failure
        return None


_logger = Logger()
