"""Beside: what answers at `admin.listen`, made for a relay that is one process, or several."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mta.admin.pages import Seen
from mta.admin.running import OneProcess
from mta.admin.service import Admin
from mta.admin.supervised import SeveralProcesses
from mta.admin.tail import Tail
from mta.config.model import Config
from mta.maillog import LineWriter
from mta.net.handover import HandedOver
from mta.service import Relay
from mta.web.console.watch import Watch
from mta.workers.supervisor import Supervisor


def admin_of(
    service: Relay | Supervisor, config: Config, reactor: Any, sink: LineWriter | None, handed: HandedOver
) -> Admin:
    """What answers at `admin.listen`."""
    if isinstance(service, Relay):
        watch, look = _watched(sink, None)
        seen = Seen(watch, service.manager.window, look)
        return Admin(config, reactor, OneProcess(service, reactor), service.log.event, seen, handed)
    watch, look = _watched(sink, sink.shareable() if sink is not None else None)
    seen = Seen(watch, lambda destination: None, look)
    return Admin(config, reactor, SeveralProcesses(config, service, reactor), service.log.event, seen, handed)


def _watched(sink: LineWriter | None, shared: int | None) -> tuple[Watch, Callable[[], None]]:
    """The last lines of the log, and what has to be called now and then to have them.

    shared: the descriptor of a file that workers write into themselves, so that it has to be read.
    """
    if sink is None:
        return Watch("that come by here (none, as another program has the log)"), _nothing
    if shared is not None:
        with suppress(OSError):  # it may be a file that we may write and not read
            watch = Watch()
            return watch, Tail(shared, watch).look
    watch = Watch("of the supervisor (workers write into the file themselves)" if shared is not None else "")
    sink.overhear(watch)
    return watch, _nothing


def _nothing() -> None:
    """There is nothing to do."""
