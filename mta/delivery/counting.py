"""Counting: what tries come to, for the measures."""

from mta.message.outcome import Carried
from mta.net.measures import HELD, Measures
from mta.policy.settlement import Settlement


def count(measures: Measures, settlement: Settlement, carried: Carried | None, age: float, tried: bool) -> None:
    """Count what a claim came to. age: of the message, in seconds. tried: there was a try."""
    if carried is not None:
        for one in carried.tries:
            measures.attempted(one.seconds, one.tls)
    if settlement.delivered:
        measures.delivered(len(settlement.delivered), age)
    for settled in settlement.failed:
        measures.failed(settled.outcome.reply.enhanced, settled.expired)
    if tried:
        for settled in settlement.deferred:
            measures.deferred(settled.outcome.reply.enhanced)
    if settlement.held:
        measures.cells[HELD] += len(settlement.held)
