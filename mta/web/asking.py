"""Asking: the operator's part is asked in threads, a few calls at a time, never in the reactor's."""

from collections.abc import Callable
from typing import Any, TypeVar

from mta.net.threads import Busy, Threads
from mta.web.seams import IOperator, OutOfOrder

Result = TypeVar("Result")


class Asking:
    """Where handlers ask: `await ask(lambda operator: operator.queue(…))`."""

    def __init__(self, operator: IOperator, threads: Threads) -> None:
        self._operator = operator
        self._threads = threads

    async def __call__(self, question: Callable[[Any], Result]) -> Result:
        """Ask the operator (an `IOperator`). Raises what its methods raise."""
        try:
            return await self._threads.run(lambda: question(self._operator))
        except Busy:
            raise OutOfOrder("too much is being asked at once; try again later") from None
