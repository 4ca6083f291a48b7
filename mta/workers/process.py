"""Process: what runs in a worker.

Its standard output is the log. Over a socket it tells the supervisor that it is ready, or why it cannot be, and is told
to let clients in; when that socket ends, it stops: the supervisor wants it to, or is no more.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from twisted.logger import globalLogBeginner

from mta.maillog import LineWriter, Observer
from mta.net.poller import the_reactor
from mta.net.tally import Tally
from mta.service import CannotStart, Ground, Place, Relay
from mta.workers.lines import GO, Words, adopt
from mta.workers.orders import Orders

# New objects between two collections: a few hundred sessions' worth. Python's own 700 costs several percent.
_GARBAGE = 20_000


def spare_collector() -> None:
    """What is here now stays; what a message makes is nearly all gone when it is, without the collector's help."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def run(number: int, supervisor: int, descriptors: Sequence[int]) -> int:
    """Be a worker until told to stop. descriptors: the socket to the supervisor, whose process id is given as well; the
    log, the orders, the tally, and a listening socket for each listener. Returns the exit status.
    """
    line, log, written, counts, *sockets = descriptors
    os.dup2(log, 1)
    os.close(log)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")  # what was there knows it as something else
    orders = Orders.read(written)
    os.close(written)
    reactor = the_reactor()
    sink = LineWriter(reactor)
    globalLogBeginner.beginLoggingTo([Observer(sink)])
    tally = Tally(counts, number, orders.workers)
    tally.clear()
    place = Place(number, orders.workers, tuple(sockets), tally, orders.key, supervisor)
    with socket.socket(fileno=line) as to_supervisor:
        try:
            relay = Relay(orders.config, Ground(reactor, sink=sink, place=place))
            relay.privilegedStartService()
            relay.startService()
        except CannotStart as error:
            _tell(to_supervisor, {"cannot": str(error)})
            return 1
        finally:
            sink.flush()
        spare_collector()
        _run(reactor, relay, to_supervisor)
    sink.flush()
    return 0


def _run(reactor: Any, relay: Relay, supervisor: socket.socket) -> None:
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:
            is_stopping = True
            reactor.stop()

    reactor.addSystemEventTrigger("before", "shutdown", relay.stopService)
    signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(stop))
    _tell(supervisor, {"ready": True})
    supervisor.recv(len(GO))  # all are ready; or this is its end, which is found once more below
    reactor.callWhenRunning(adopt, reactor, supervisor, Words(lambda line: None, stop))
    reactor.run(installSignalHandlers=False)


def _tell(supervisor: socket.socket, what: dict[str, object]) -> None:
    """One line of JSON."""
    try:
        supervisor.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return  # it is no more, which is noticed where it is listened to
