"""A log that several processes write into is read on, also after it was cut."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mta.admin.tail import MOST, Tail


class Log:
    """A file that is open for appending alone, and what was read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(b"before\n")
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.lines: list[str] = []
        self.tail = Tail(self.descriptor, self.lines.extend)

    def write(self, octets: bytes) -> list[str]:
        os.write(self.descriptor, octets)
        self.lines.clear()
        self.tail.look()
        return self.lines.copy()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path / "log")
    yield made
    os.close(made.descriptor)
    os.close(made.tail._file)


def test_what_is_new_comes_line_by_line(log: Log) -> None:
    assert log.write(b"") == []
    assert log.write(b"one\ntwo\nthr") == ["one", "two"]
    assert log.write(b"ee\n\xff\n") == ["three", "\\xff"]


def test_a_file_that_was_cut_is_read_from_its_beginning(log: Log) -> None:
    log.write(b"one\ntw")
    os.truncate(log.path, 0)
    assert log.write(b"new\n") == ["new"]


def test_who_is_far_behind_gets_the_last_lines_whole(log: Log) -> None:
    found = log.write(b"%d\n" % 10**20 * (MOST // 10))
    assert 0 < len(found) < MOST // 20 and set(found) == {str(10**20)}
    assert log.write(b"and on\n") == ["and on"]
