"""What tests of the console share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from console_ground import Ground


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.close()
