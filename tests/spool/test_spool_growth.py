"""A queue that grows: what each message costs stays what it was, and so does what a start costs, in time and memory."""

import gc
import resource
import statistics
import time
from pathlib import Path

import pytest
from growth import BATCH, CONTENT, Crowd, microseconds

SAMPLE = 1_000  # messages
ROUNDS = 9
MEBIBYTE = 1024 * 1024

pytestmark = pytest.mark.alone


@pytest.fixture
def crowd(tmp_path: Path):
    made = Crowd(tmp_path / "spool")
    yield made
    made.close()


def costs(crowd: Crowd, destinations: int) -> dict[str, float]:
    """CPU in microseconds for a message to be accepted, claimed and recorded; the best of several rounds, since
    whatever else the machine does only adds to it."""
    rounds: dict[str, list[float]] = {"accept": [], "claim": [], "record": []}
    for _ in range(ROUNDS):
        claims = []
        rounds["accept"].append(microseconds(lambda: crowd.accept(SAMPLE, destinations), SAMPLE))
        rounds["claim"].append(microseconds(lambda: claims.extend(crowd.claim_some(SAMPLE)), SAMPLE))  # noqa: B023
        rounds["record"].append(microseconds(lambda: crowd.end(claims), SAMPLE))  # noqa: B023
    return {name: min(each) for name, each in rounds.items()}


def peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("destinations", [1, pytest.param(20_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("queued", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_the_cost_of_a_message_does_not_grow(crowd: Crowd, queued: int, destinations: int) -> None:
    assert len(CONTENT) == 1024
    crowd.accept(destinations, destinations)  # so that each of them is known at both times
    empty = costs(crowd, destinations)
    before = peak()
    crowd.accept(queued, destinations)
    growth = peak() - before
    full = costs(crowd, destinations)
    print(
        f"{destinations:,} destinations: "
        + ", ".join(f"{name} {empty[name]:.1f} µs, with {queued:,} queued {full[name]:.1f} µs" for name in empty)
        + f"; memory {growth:+.1f} MiB"
    )
    # What waits for one of many destinations lies all over the file, each message in a page of its own, which has to
    # be read and written. That is so from the size of the cache on, and grows no further.
    most = 1.5 if destinations == 1 else 3.0
    for name, cost in full.items():
        assert cost < most * empty[name] + 5, name
    assert growth < 50


@pytest.mark.parametrize("queued", [20_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_start_takes_no_longer(crowd: Crowd, queued: int) -> None:
    crowd.accept(queued, 100)
    crowd.end(crowd.accept(BATCH, 100, eager=True))  # some history, all of one moment
    tried = crowd.accept(BATCH, 100, eager=True)  # and what is being tried when it dies
    took = []
    for _ in range(5):
        gc.collect()
        began = time.process_time()
        found = crowd.crash()
        took.append(time.process_time() - began)
        assert (found.messages, found.destinations) == (queued + BATCH, 100)
    print(
        f"open after {min(took) * 1000:.0f} ms of CPU with {queued:,} queued, {statistics.median(took) * 1000:.0f} ms"
    )
    assert len(tried) == BATCH
    assert min(took) < 0.1


@pytest.mark.parametrize("ended", [5_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_history_costs_nothing_until_it_goes_and_then_little_at_a_time(crowd: Crowd, ended: int) -> None:
    empty = costs(crowd, 1)
    for _ in range(ended // SAMPLE):
        crowd.clock.advance(1)
        crowd.end(crowd.accept(SAMPLE, 1, eager=True))
    full = costs(crowd, 1)
    began = time.process_time()
    removed = crowd.wait(crowd.spool.purge(crowd.now - 3))
    purging = time.process_time() - began
    print(
        ", ".join(f"{name} {empty[name]:.1f} µs, with {ended:,} in history {full[name]:.1f} µs" for name in empty)
        + f"; 1,000 purged in {purging * 1000:.0f} ms of CPU"
    )
    for name, cost in full.items():
        assert cost < 1.5 * empty[name] + 5, name
    assert removed == 1_000
    assert purging < 0.08
    while crowd.wait(crowd.spool.purge(crowd.now)):
        pass
    crowd.clock.pump([0.05] * 2_000)  # idle moments
    assert (crowd.folder / "queue-0.db").stat().st_size < 8 * MEBIBYTE, "the space has been given back"
