"""Process: what runs in a worker.

Its standard output is the log. Over a socket it tells the supervisor that it is ready, or why it cannot be, and is told
to let clients in; when nothing more can come over it, it stops: the supervisor wants it to, or is no more. Our end of
it stays open until the process ends, and so tells the supervisor that it has, even where nobody else could.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from twisted.logger import Logger, globalLogBeginner

from mta.ground import Ground, Place
from mta.maillog import LineWriter, Observer
from mta.net.measures import rows
from mta.net.poller import the_reactor
from mta.net.tally import Tally
from mta.noting import keep_noting
from mta.service import Relay
from mta.wiring.trouble import CannotStart, QueueDamaged
from mta.workers.hatch import Hatch
from mta.workers.lines import GO, Ear
from mta.workers.neighbours import Neighbours
from mta.workers.obedience import Obedience
from mta.workers.orders import Orders

# New objects between two collections: a few hundred sessions' worth. Python's own 700 costs several percent.
_GARBAGE = 20_000
_SOFTWARE = 70  # EX_SOFTWARE of sysexits.h

_logger = Logger()


def spare_collector() -> None:
    """What is here now stays; what a message makes is nearly all gone when it is, without the collector's help."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def keep_to_a_core(number: int, workers: int) -> None:
    """Where there are as many workers as cores, each has one of its own, and in its caches what it works with.

    Where there are fewer, the kernel sees best which cores are free. It cannot be told that a process would like to
    stay, and one that is moved costs a tenth more for each message.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == workers:
        with suppress(OSError):  # whoever has started us does not want it, which is no reason not to work
            os.sched_setaffinity(0, {cores[number]})


def run(number: int, supervisor: int, descriptors: Sequence[int]) -> int:
    """Be a worker until told to stop. descriptors: the socket to the supervisor, whose process id is given as well; the
    log, the orders, the tally, the measures, the hatch, a way to the hatch of each worker, a listening socket for each
    listener. Returns the exit status.
    """
    line, log, written, counts, measured, hatch, *more = descriptors
    os.dup2(log, 1)
    os.close(log)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")  # what was there knows it as something else
    orders = Orders.read(written)
    os.close(written)
    keep_to_a_core(number, orders.workers)
    reactor = the_reactor()
    sink = LineWriter(reactor)
    observer = Observer(sink, orders.config.log.format, orders.config.log.addresses)
    globalLogBeginner.beginLoggingTo([observer])
    tally = Tally(counts, number, orders.workers)
    tally.clear()
    measures = rows(measured, orders.workers)[number]
    measures.forget_gauges()
    ways, left = more[: orders.workers], iter(more[orders.workers :])
    handed = {listener: [next(left) for _ in range(count)] for listener, count in enumerate(orders.sockets)}
    neighbours = Neighbours(reactor, tally, ways)
    place = Place(number, orders.workers, handed, tally, orders.key, supervisor, measures, pass_on=neighbours.pass_on)
    with socket.socket(fileno=line) as to_supervisor:
        try:
            relay = Relay(orders.config, Ground(reactor, sink=sink, place=place))
            observer.follow(relay.log)
            relay.privilegedStartService()
            relay.startService()
            keep_noting(relay, reactor)
            Hatch(reactor, socket.socket(fileno=hatch), relay, neighbours.rest).open()
            sink.flush()
            spare_collector()
            _run(reactor, relay, neighbours, to_supervisor)
        except CannotStart as error:
            _tell(to_supervisor, {"cannot": str(error), "damaged": isinstance(error, QueueDamaged)})
            return 1
        except Exception as error:
            # Here, since nobody else would still write it: standard error is the log by now.
            _logger.failure("the worker has failed")
            _tell(to_supervisor, {"cannot": f"unexpected {type(error).__name__}: {error} (the log has more)"})
            return _SOFTWARE
        finally:
            sink.flush()
    return 0


def _run(reactor: Any, relay: Relay, neighbours: Neighbours, supervisor: socket.socket) -> None:
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            neighbours.let_in(False)
            reactor.stop()

    reactor.addSystemEventTrigger("before", "shutdown", relay.stopService)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))
    _tell(supervisor, {"ready": True})
    supervisor.recv(len(GO))  # all are ready; or this is its end, which is found once more below
    neighbours.let_in(True)
    obedience = Obedience(relay, partial(_tell, supervisor), stop)
    Ear(reactor, supervisor, obedience.told, stop)
    reactor.run(installSignalHandlers=False)


def _tell(supervisor: socket.socket, what: dict[str, object]) -> None:
    """One line of JSON."""
    try:
        supervisor.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return  # it is no more, which is noticed where it is listened to
