"""Noting: what is so now in a relay (sessions, pool, what is in flight), written down beside what it has counted."""

from typing import Any

from twisted.internet.task import LoopingCall

from mta.net import measures
from mta.service import Relay

OFTEN = 1.0  # seconds between two notes, where another process reads them


def note(relay: Relay) -> None:
    """Write it down now."""
    cells = relay.measures.cells
    cells[measures.SESSIONS] = relay.door.sessions
    cells[measures.POOL_OPEN] = relay.pool.open
    cells[measures.POOL_RESTING] = relay.pool.resting
    cells[measures.IN_FLIGHT] = relay.manager.in_flight
    cells[measures.WRITING] = relay.spool.writing_for()
    cells[measures.NO_ROOM] = not relay.spool.has_room(0)
    cells[measures.BROKEN] = bool(relay.spool.trouble())
    cached = getattr(relay.resolver, "cached", None)
    if cached is not None:
        cells[measures.DNS_ENTRIES], cells[measures.DNS_ASKED], cells[measures.DNS_KNOWN] = cached()


def keep_noting(relay: Relay, reactor: Any) -> None:
    """Write it down again and again, for the supervisor of several processes to read."""

    def note_all() -> None:
        note(relay)
        relay.measures.cells[measures.NOTED] = reactor.seconds()

    call = LoopingCall(note_all)
    call.clock = reactor
    call.start(OFTEN)
