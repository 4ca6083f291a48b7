"""How much is done in one step follows how long a step takes."""

from pathlib import Path

import pytest
from spools import SqliteWorld, clock_at_start

from mta.spool.matching import EVERYTHING
from mta.spool.pace import LONG, Pace
from mta.spool.verbs import CHUNK


def test_it_does_less_where_a_step_was_long_and_more_where_it_was_short() -> None:
    pace = Pace(400, 60)
    sizes = []
    for seconds in (0.0, 0.0, 0.0, 0.0, LONG * 2, LONG * 2, LONG * 2, LONG * 2, LONG / 2, 0.0):
        pace.took(seconds)
        sizes.append(pace.size)
    assert sizes == [120, 240, 400, 400, 200, 100, 60, 60, 60, 120]


@pytest.mark.parametrize(("seconds", "transactions"), [(0.0, 6), (0.1, 30)])
def test_an_operators_transactions_are_shorter_where_they_are_slow(
    tmp_path: Path, seconds: float, transactions: int
) -> None:
    world = SqliteWorld(clock_at_start(), tmp_path / "spool")
    for _ in range(3 * CHUNK):
        world.commit()
    commits: list[int] = []

    def commit() -> bool:
        commits.append(1)
        world.clock.rightNow += seconds
        return False

    with world.desk() as desk:
        for drawer in desk._drawers:
            drawer.store.db.set_commit_hook(commit)
        assert desk.hold(EVERYTHING) == 3 * CHUNK
    assert len(commits) == transactions
    world.close()
