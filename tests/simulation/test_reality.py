"""What the simulation keeps out, and what it leaves alone."""

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest


class Other(threading.Thread):
    """Looks at the clock when it is told to, as a server does that other tests have started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.asked: SimpleQueue[bool] = SimpleQueue()
        self.told: SimpleQueue[float] = SimpleQueue()

    def run(self) -> None:
        while self.asked.get():
            self.told.put(time.monotonic())


@pytest.fixture(scope="module")
def other() -> Iterator[Other]:
    thread = Other()
    thread.start()
    yield thread
    thread.asked.put(False)
    thread.join(10)


def test_only_the_test_itself_is_kept_from_the_clock(other: Other) -> None:
    with pytest.raises(AssertionError, match="not of the simulated world"):
        time.monotonic()
    other.asked.put(True)
    assert other.told.get(timeout=None) > 0
