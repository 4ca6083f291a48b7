"""With a long queue the relay starts, takes mail and answers its operator as with none, and gives the space back."""

import statistics
import threading
import time
from collections.abc import Callable

import apsw
import pytest
from peers.clients import generate
from peers.crowd import fill, pulse
from peers.daemon import Relay, StartRelay
from peers.ground import wait_until

MEBIBYTE = 1024 * 1024
BATCH = 500
LATE = ["1d"]
SPARE = 1_100  # pages that are kept for what comes next, or so
PATIENT = 250.0  # milliseconds for a 250, with room for a machine that has other things to do


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def looked_up(relay: Relay, pragma: str) -> int:
    db = apsw.Connection(str(relay.spool / "queue-0.db"), flags=apsw.SQLITE_OPEN_READONLY)
    ((value,),) = db.execute(f"PRAGMA {pragma}").fetchall()
    db.close()
    return int(value)


def free_pages(relay: Relay) -> int:
    return looked_up(relay, "freelist_count")


def pages(relay: Relay) -> int:
    return looked_up(relay, "page_count")


def size_of(relay: Relay) -> int:
    return (relay.spool / "queue-0.db").stat().st_size


SOAK = [pytest.param(250_000, marks=pytest.mark.soak), pytest.param(1_000_000, marks=pytest.mark.soak)]


@pytest.mark.alone
@pytest.mark.parametrize("count", [20_000, *SOAK])
def test_a_long_queue_is_no_burden(make_relay: StartRelay, sender: str, count: int) -> None:
    # What arrives is discarded, so that the two relays have the same to do: the crowd's mail is not due.
    routes = [{"to": "gone.test", "via": "discard"}]
    # Nobody answers for the names of the others, so that what is tried is deferred.
    settings = {"retry": {"after": LATE}, "routes": routes, "dns": {"nameservers": ["127.0.0.1:9"], "timeout": "1s"}}
    crowded, empty = make_relay(**settings), make_relay(**settings)
    fill(crowded.spool, count, 1_000)
    starts = timed(crowded.start), timed(empty.start)
    for relay in crowded, empty:
        generate(relay, 1_000, sender, "bob@gone.test")
    growth = crowded.resident() - empty.resident()

    rates: dict[str, list[float]] = {"crowded": [], "empty": []}
    for _ in range(4):
        for _ in range(5):
            rates["crowded"].append(generate(crowded, BATCH, sender, "bob@gone.test"))
            rates["empty"].append(generate(empty, BATCH, sender, "bob@gone.test"))
        ratio = statistics.median(rates["crowded"]) / statistics.median(rates["empty"])
        if ratio >= 0.8:
            break

    listing = min(timed(lambda: crowded.mta("queue")) for _ in range(3))
    help_ = min(timed(lambda: crowded.mta("queue", "--help")) for _ in range(3))
    told = [
        f"{count:,} queued: greeting after {starts[0]:.2f} s (empty {starts[1]:.2f}), memory "
        f"{growth / MEBIBYTE:+.1f} MiB, accepted at {ratio:.2f} of the empty one's rate, "
        f"mta queue {listing * 1000:.0f} ms (--help {help_ * 1000:.0f})"
    ]
    acts: dict[str, Callable[[], object]] = {
        "alone": lambda: time.sleep(min(10.0, count / 2_000)),
        "beside mta queue": lambda: [crowded.mta("queue", "--limit", "1000") for _ in range(5)],
        "beside mta hold --to": lambda: crowded.mta("hold", "--to", "d7.test"),
        "beside mta retry --all": lambda: crowded.mta("retry", "--all"),
        "beside mta hold --all": lambda: crowded.mta("hold", "--all"),
        "beside mta drop --all": lambda: crowded.mta("drop", "--yes", "--all"),
        "while the space is given back": lambda: wait_until(
            lambda: free_pages(crowded) <= max(SPARE, most_free - 10_000), "it shrinks", 300, 0.2
        ),
    }
    worst = 0.0
    most_free = 0
    for name, act in acts.items():
        failed: list[BaseException] = []

        def run(act: Callable[[], object] = act, failed: list[BaseException] = failed) -> None:
            try:
                act()
            except BaseException as error:  # also what pytest raises
                failed.append(error)

        begun = time.perf_counter()
        with pulse(crowded, "bob@gone.test") as beat:
            working = threading.Thread(target=run)
            working.start()
            working.join()
        assert not failed, failed
        assert not beat.errors
        told.append(f"{name} ({time.perf_counter() - begun:.0f} s): {beat}")
        most_free = max(most_free, free_pages(crowded))
        worst = max(worst, beat.at_most(0.995))
    told.append(f"{most_free:,} pages were free, {free_pages(crowded):,} are left")
    print("\n".join(told))
    assert most_free > count / 8, "the space of most of what was dropped"
    wait_until(lambda: size_of(crowded) <= pages(crowded) * 4096, "the file ends where its last page does", 30, 0.2)
    crowded.wait_until_empty(120)  # but for what was being tried, or about to be
    assert starts[0] < starts[1] + 1.0
    assert growth < 50 * MEBIBYTE
    assert ratio >= 0.7
    assert listing < help_ + 0.5
    assert worst < PATIENT
