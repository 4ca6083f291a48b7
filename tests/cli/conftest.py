"""What the tests of the commands stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_ground import Ground, Launch, launching


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    one = Ground(tmp_path)
    yield one
    one.close()


@pytest.fixture
def launch() -> Iterator[Launch]:
    with launching() as one:
        yield one
