"""Agreement: all workers go by another configuration, or none does: each makes it ready, then each puts it in force."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from mta.wiring.trouble import CannotStart
from mta.workers.worker import Worker

PATIENCE: Final = 30.0  # seconds that a worker has to answer; to make a large directory ready takes some of them

Sockets = Callable[[int], Mapping[int, Sequence[int]]]


async def agree(clock: IReactorTime, workers: Sequence[Worker], orders: int, sockets: Sockets) -> None:
    """Have all of them make it ready. orders: their descriptor. sockets: for a worker, by its number, those that are
    new, by the number of their listener.

    One that ends meanwhile is no hindrance: it will be started with what is in force by then. Raises `CannotStart`
    where one cannot; then all of them have forgotten it.
    """

    def ask(worker: Worker) -> "Deferred[dict[str, Any] | None]":
        handed = sockets(worker.number)
        counts = [(place, len(those)) for place, those in handed.items()]
        flat = [one for those in handed.values() for one in those]
        asked = worker.ask({"do": "prepare", "sockets": counts}, [orders, *flat])
        return asked.addTimeout(PATIENCE, clock).addErrback(lambda _: {"cannot": f"{worker} does not answer"})

    answers = await gatherResults([ask(worker) for worker in workers])
    refusals = [answer["cannot"] for answer in answers if answer is not None and "cannot" in answer]
    if refusals:
        for worker in workers:
            worker.ask({"do": "drop"})
        raise CannotStart("\n".join(dict.fromkeys(refusals)))


async def put_in_force(clock: IReactorTime, workers: Sequence[Worker]) -> None:
    """Have all of them go by what they have made ready. One that stands still does so when it goes on."""
    asked = [worker.ask({"do": "adopt"}).addTimeout(PATIENCE, clock) for worker in workers]
    await gatherResults([one.addErrback(lambda _: None) for one in asked])
