"""Metrics: what a relay has done and what is in its queue, in the text format of Prometheus.

What each one means is said here, and nowhere else: docs/metrics.md is checked against it.
"""

import resource
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from mta.net import measures
from mta.net.measures import Histogram
from mta.web.asking import Asking
from mta.web.exchange import Answer, Call
from mta.web.routes import Route
from mta.web.seams import Figures, IRunning, OutOfOrder, Work

KIND: Final = "text/plain; version=0.0.4; charset=utf-8"


def routes(running: IRunning, ask: Asking) -> list[Route]:
    """/metrics, which needs no token."""

    async def metrics(call: Call) -> Answer:
        work = running.work()

        def told(operator: object) -> bytes:
            figures: Figures | None = None
            try:
                figures = operator.figures()  # type: ignore[attr-defined]
            except OutOfOrder:
                figures = None  # what is known without the queue is worth telling all the more
            return text(work, figures)

        return Answer(200, KIND, await ask(told))

    return [Route("GET", "/metrics", metrics, opened=True)]


def text(work: Work, figures: Figures | None) -> bytes:
    """All of it. figures: None where the queue cannot be read."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Told([*_of_work(work), *_of_queue(figures, work.now), *_of_process()]))
    return generate_latest(registry)


class _Told(Collector):
    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Sequence[Metric]:
        return self._metrics


def _of_work(work: Work) -> Iterator[Metric]:
    cells = work.cells
    yield _gauge("mta_uptime_seconds", "Seconds since this relay was started.", work.now - work.begun)
    yield _gauge("mta_workers", "Processes that do the work and are ready.", work.workers)
    yield _gauge("mta_workers_wanted", "Processes that there are to be, as configured.", work.wanted)
    yield _gauge("mta_sessions", "Clients that are connected.", cells[measures.SESSIONS])
    yield _counter("mta_connections", "Clients that were let in.", cells[measures.CONNECTIONS])
    yield _counter(
        "mta_connections_refused", "Clients that were turned away at the door: limits.", cells[measures.TURNED_AWAY]
    )
    yield _counter(
        "mta_accepted_messages", "Messages that were accepted: on stable storage, 250.", cells[measures.MESSAGES]
    )
    yield _counter("mta_accepted_recipients", "Recipients of accepted messages.", cells[measures.RECIPIENTS])
    yield _counter("mta_accepted_octets", "Octets of accepted messages.", cells[measures.OCTETS])
    refused = CounterMetricFamily(
        "mta_refused",
        "Commands and contents that were answered with 4yz (temporary) or 5yz (permanent), by the subject of the "
        "enhanced status code.",
        labels=("severity", "reason"),
    )
    for severity, start in (("temporary", measures.TEMPORARY), ("permanent", measures.PERMANENT)):
        for number, name in enumerate(measures.CLASSES[: measures.EXPIRED]):
            refused.add_metric((severity, name), cells[start + number])
    yield refused
    yield _counter("mta_delivered_recipients", "Recipients whose mail was delivered.", cells[measures.DELIVERED])
    yield _labelled(
        "mta_deferred_recipients",
        "Recipients for whom a try failed and is to be repeated, by the subject of the reply.",
        "reason",
        measures.CLASSES[: measures.EXPIRED],
        cells,
        measures.DEFERRED,
    )
    yield _labelled(
        "mta_bounced_recipients",
        "Recipients whose mail failed for good, by the subject of the reply; expired: given up for its age.",
        "reason",
        measures.CLASSES,
        cells,
        measures.FAILED,
    )
    yield _counter(
        "mta_held_recipients", "Recipients whose mail was held after a try, for an operator.", cells[measures.HELD]
    )
    yield _counter(
        "mta_unknown_results",
        "Deliveries that a process had taken up when it ended: taken over, their last result is not known.",
        cells[measures.UNKNOWN],
    )
    yield _labelled(
        "mta_accepted_tls", "Accepted messages by TLS version.", "version", measures.VERSIONS, cells, measures.TLS_IN
    )
    yield _labelled(
        "mta_attempts_tls",
        "Hosts that were tried, by TLS version.",
        "version",
        measures.VERSIONS,
        cells,
        measures.TLS_OUT,
    )
    yield _histogram("mta_accept_seconds", "From MAIL to the 250 after the content.", measures.ACCEPTING, cells)
    yield _histogram("mta_delivery_seconds", "From the 250 to a delivery.", measures.DELIVERING, cells)
    yield _histogram(
        "mta_attempt_seconds", "A try at one host: attempts, and how long they took.", measures.ATTEMPTING, cells
    )
    yield _histogram("mta_commit_seconds", "A commit of the queue file, synced.", measures.COMMITTING, cells)
    yield _gauge("mta_in_flight_deliveries", "Deliveries that are being tried.", cells[measures.IN_FLIGHT])
    yield _gauge("mta_pool_open_sessions", "Sessions with next hops.", cells[measures.POOL_OPEN])
    yield _gauge(
        "mta_pool_resting_sessions", "Of those, the ones kept for the next message.", cells[measures.POOL_RESTING]
    )
    yield _gauge("mta_dns_cache_entries", "Answers of the DNS that are kept.", cells[measures.DNS_ENTRIES])
    yield _counter("mta_dns_lookups", "Look-ups in the DNS, answered from the cache or not.", cells[measures.DNS_ASKED])
    yield _counter("mta_dns_cache_hits", "Of those, the ones answered from the cache.", cells[measures.DNS_KNOWN])
    yield _counter("mta_webhook_events", "Events that webhooks have taken.", cells[measures.HOOK_TOLD])
    yield _counter("mta_webhook_failures", "Posts that webhooks have not taken.", cells[measures.HOOK_FAILED])
    yield _counter(
        "mta_webhook_dropped_events", "Events that no webhook could be told in time.", cells[measures.HOOK_DROPPED]
    )
    yield _gauge("mta_webhook_waiting_events", "Events that webhooks have not taken yet.", cells[measures.HOOK_WAITING])
    yield _gauge(
        "mta_spool_write_seconds",
        "For how long the present write of the queue file has been under way.",
        cells[measures.WRITING],
    )
    yield _gauge(
        "mta_spool_full", "Whether the disk is too full for mail (in how many processes).", cells[measures.NO_ROOM]
    )
    yield _gauge(
        "mta_spool_failing",
        "Whether the queue file fails, so that mail is put off (in how many processes).",
        cells[measures.BROKEN],
    )


def _of_queue(figures: Figures | None, now: float) -> Iterator[Metric]:
    yield _gauge("mta_queue_readable", "Whether the queue could be read for this answer.", figures is not None)
    if figures is None:
        return
    yield _gauge("mta_queue_messages", "Messages in the queue.", figures.messages)
    yield _gauge("mta_queue_recipients", "Recipients in the queue.", figures.recipients)
    yield _gauge("mta_queue_octets", "Octets in the queue.", figures.octets)
    states = GaugeMetricFamily(
        "mta_queue_deliveries",
        "Deliveries in the queue (recipients of a message who wait together), by state.",
        labels=("state",),
    )
    for state, number in figures.states.items():
        states.add_metric((state,), number)
    yield states
    older = GaugeMetricFamily(
        "mta_queue_older_deliveries",
        "Deliveries in the queue that are older than that.",
        labels=("seconds",),
    )
    for seconds, number in figures.older.items():
        older.add_metric((f"{seconds:.0f}",), number)
    yield older
    oldest = 0.0 if figures.oldest is None else max(0.0, now - figures.oldest)
    yield _gauge("mta_queue_oldest_seconds", "Age of the oldest message; 0 for an empty queue.", oldest)
    yield _gauge("mta_destinations", "Destinations that mail waits for, or that failed lately.", figures.destinations)
    yield _gauge("mta_destinations_paused", "Of those, the ones that are paused.", figures.paused)


def _of_process() -> Iterator[Metric]:
    """Of the process that answers: with several workers their supervisor, and the workers that have ended."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield _counter("process_cpu_seconds", "CPU time of this process.", used.ru_utime + used.ru_stime)
    yield _gauge("process_max_resident_memory_bytes", "The most memory that it has had.", used.ru_maxrss * 1024)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value=float(value))


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(name, about, value=float(value))


def _labelled(name: str, about: str, label: str, values: Sequence[str], cells: Sequence[float], start: int) -> Metric:
    family = CounterMetricFamily(name, about, labels=(label,))
    for number, value in enumerate(values):
        family.add_metric((value,), cells[start + number])
    return family


def _histogram(name: str, about: str, histogram: Histogram, cells: Sequence[float]) -> Metric:
    counts, total = histogram.told(cells)
    bounds = [*map(str, histogram.bounds), "+Inf"]
    family = HistogramMetricFamily(name, about)
    family.add_metric((), list(zip(bounds, counts, strict=True)), total)
    return family
