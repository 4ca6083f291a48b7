"""Trials: what is measured of a relay under load."""

import time

from bench.lanes import Lane
from bench.ledger import faults
from bench.load import Load, Sink, percentile, to_accept, to_arrive
from bench.tables import Column, Run

RATE = Column("rate", "messages/s", ratio=True)
CPU = Column("cpu", "CPU ms each", ratio=True)

RELAYED = [
    RATE,
    CPU,
    Column("accept_p50", "MAIL to 250: p50 ms"),
    Column("accept_p99", "p99 ms"),
    Column("memory", "MiB", spread=False),
]
ACCEPTED = [RATE, CPU, Column("accept_p50", "MAIL to 250: p50 ms"), Column("accept_p99", "p99 ms")]
LATENCY = [
    Column("arrive_p50", "MAIL to sink: p50 ms", ratio=True),
    Column("arrive_p99", "p99 ms"),
    Column("accept_p50", "MAIL to 250: p50 ms", ratio=True),
    Column("accept_p99", "p99 ms"),
]
SECURED = [
    CPU,
    RATE,
    Column("generator_cpu", "generator: CPU ms each", spread=False),
    Column("resumed_in", "resumed in, %", spread=False),
    Column("resumed_out", "resumed out, %", spread=False),
    Column("sessions_out", "sessions out", spread=False),
]
CEILING = [
    Column("rate", "messages/s"),
    Column("generator_cpu", "generator: CPU ms each"),
    Column("sink_cpu", "sink: CPU ms each"),
]


def relayed(lane: Lane, load: Load) -> Run:
    """From the generator's first connection to the last arrival at the sink."""
    sink, group = lane.sink, lane.peer.group
    before, cpu, sink_cpu = sink.ledger.totals(), group.cpu(), sink.group.cpu()
    sent = sink.send(load, lane.peer.port)
    arrived = sink.arrival(before.distinct + load.messages)
    memory = group.memory()
    time.sleep(0.3)  # what is written after the last delivery counts too
    after, entries = sink.ledger.totals(), sink.ledger.entries(sent.first, load.messages)
    seconds = (max(one.arrived for one in entries) - sent.began) / 1e9 if arrived else float("nan")
    accept, arrive = to_accept(entries), to_arrive(entries)
    new = after.sessions - before.sessions
    figures = {
        "rate": load.messages / seconds,
        "cpu": (group.cpu() - cpu) * 1000 / load.messages,
        "accept_p50": percentile(accept, 0.5),
        "accept_p99": percentile(accept, 0.99),
        "arrive_p50": percentile(arrive, 0.5),
        "arrive_p99": percentile(arrive, 0.99),
        "memory": memory,
        "generator_cpu": sent.cpu * 1000 / load.messages,
        "sink_cpu": (sink.group.cpu() - sink_cpu) * 1000 / load.messages,
        "resumed_in": 100 * sent.resumed / max(1, sent.secured),
        "resumed_out": 100 * (after.resumed - before.resumed) / max(1, new),
        "sessions_out": new,
    }
    fault = faults(entries, before, after)
    if load.tls and not fault:
        in_the_clear = new - (after.secured - before.secured)
        sessions = min(load.sessions, load.messages) if load.many else load.messages
        fault = f"{in_the_clear} sessions to the sink without TLS" if in_the_clear else ""
        fault = fault or ("" if sent.secured >= sessions else f"{sessions - sent.secured} sessions came without TLS")
    return Run(lane.peer.name, figures, fault)


def accepted(lane: Lane, load: Load) -> Run:
    """From the first connection to the last 250, with nobody at the next hop; then all of it is delivered, and looked
    at."""
    sink, group = lane.sink, lane.peer.group
    sink.down()
    group.settle()
    before, cpu = sink.ledger.totals(), group.cpu()
    sent = sink.send(load, lane.peer.port)
    spent = group.cpu() - cpu
    sink.up()
    drain(lane, before.distinct + load.messages)
    entries = sink.ledger.entries(sent.first, load.messages)
    accept = to_accept(entries)
    last = max((one.accepted for one in entries), default=0)
    figures = {
        "rate": load.messages / ((last - sent.began) / 1e9),
        "cpu": spent * 1000 / load.messages,
        "accept_p50": percentile(accept, 0.5),
        "accept_p99": percentile(accept, 0.99),
    }
    return Run(lane.peer.name, figures, faults(entries, before, sink.ledger.totals()))


def drain(lane: Lane, count: int) -> float:
    """Have what waits delivered, until the sink has so many in all. Seconds until the last one came."""
    began = time.monotonic()
    lane.peer.flush()
    lane.sink.arrival(count, meanwhile=lane.peer.flush)
    seconds = time.monotonic() - began
    time.sleep(0.3)  # for copies that should not come
    return seconds


def straight(sink: Sink, load: Load) -> Run:
    """The generator's own limit, and the sink's: one sends to the other."""
    before, cpu = sink.ledger.totals(), sink.group.cpu()
    sent = sink.send(load, sink.port)
    entries = sink.ledger.entries(sent.first, load.messages)
    figures = {
        "rate": load.messages / ((sent.ended - sent.began) / 1e9),
        "generator_cpu": sent.cpu * 1000 / load.messages,
        "sink_cpu": (sink.group.cpu() - cpu) * 1000 / load.messages,
    }
    return Run("generator to sink", figures, faults(entries, before, sink.ledger.totals()))
