"""What can be said to the benchmark."""

import argparse

import pytest

from bench.verbs import ALL, SHORT, make_parser


@pytest.mark.parametrize("line", [*SHORT.strip().splitlines(), *ALL.strip().splitlines()])
def test_every_row_can_be_said_and_keeps_what_stood_before_it(line: str) -> None:
    given = argparse.Namespace(peers=("mta",), repeats=7)
    asked = make_parser().parse_args(line.split(), given)
    assert (asked.verb, asked.peers, asked.repeats) == (line.split()[0], ("mta",), 7)
    assert callable(asked.run)


def test_sizes_and_lists() -> None:
    words = "relay --size 100k --many --workers 1,4 --peers mta,postfix"
    asked = make_parser().parse_args(words.split())
    assert (asked.size, asked.many, asked.pipelined) == (102_400, True, False)
    assert (asked.workers, asked.peers) == ((1, 4), ("mta", "postfix"))


@pytest.mark.parametrize("words", ["relay --size 10q", "relay --messages 0", "--peers exim", "nothing"])
def test_mistakes_are_named(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        make_parser().parse_args(words.split())
    assert words.split()[-1] in capsys.readouterr().err
