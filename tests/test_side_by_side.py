"""Who wants to be alone is, and does not wait for ever."""

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.peers.ground import wait_until

TAKE = """
import sys
from pathlib import Path
from turns import Turns

with Turns(Path(sys.argv[1])).turn(sys.argv[2] == "alone"):
    Path(sys.argv[1], sys.argv[3]).touch()
    sys.stdin.read()
"""


class Visitor:
    """A process that takes a turn, in which it stays until it is told to go."""

    def __init__(self, folder: Path, name: str, how: str) -> None:
        self._inside = folder / name
        command = [sys.executable, "-c", TAKE, folder, how, name]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parent, stdin=subprocess.PIPE)

    @property
    def has_entered(self) -> bool:
        return self._inside.exists()

    def go(self) -> None:
        with self._process:  # closes what it reads, and waits for its end
            pass

    def die(self) -> None:
        self._process.kill()
        self.go()


@pytest.fixture
def room(tmp_path: Path) -> Iterator["Room"]:
    made = Room(tmp_path)
    yield made
    for one in made.visitors:
        one.die()


class Room:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.visitors: list[Visitor] = []

    def visitor(self, how: str = "") -> Visitor:
        self.visitors.append(Visitor(self.folder, f"visitor{len(self.visitors)}", how))
        return self.visitors[-1]

    def entered(self, how: str = "") -> Visitor:
        one = self.visitor(how)
        wait_until(lambda: one.has_entered, "it enters")
        return one

    def somebody_waits(self) -> bool:
        """Somebody holds the door."""
        with (self.folder / "door").open("r+") as door:
            try:
                fcntl.lockf(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return True
        return False


def test_many_at_once_or_one_alone_in_turn(room: Room) -> None:
    first, second = room.entered(), room.entered()
    alone = room.visitor("alone")
    wait_until(room.somebody_waits, "it waits for those inside")
    later = room.visitor()
    first.go()
    assert room.somebody_waits()
    assert not alone.has_entered
    assert not later.has_entered, "not past the one who waits"
    second.go()
    wait_until(lambda: alone.has_entered, "it is alone")
    wait_until(room.somebody_waits, "the last one waits")
    assert not later.has_entered
    alone.die()  # and whoever dies has left
    wait_until(lambda: later.has_entered, "the last one enters")
