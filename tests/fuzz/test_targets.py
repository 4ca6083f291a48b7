"""Every target is given what hypothesis makes up, what the corpus keeps, and what repeats itself up to a limit.

`make fuzz` goes on for longer, by what atheris finds out.
"""

import corpus
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from targets import TARGETS
from targets.measures import Target, TooMuch, TooSlow, examine, examine_memory, stretch
from targets.pumping import grows_as_it_should, pumped
from targets.seeds import seeds

EACH = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
_ALL = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """What the inputs of a target are made of, behind a few octets that choose how they are taken."""
    words = st.sampled_from([word for word in target.words if len(word) < 1000])
    body = st.lists(words | st.binary(max_size=6), max_size=12).map(b"".join)
    return st.builds(bytes.__add__, st.binary(min_size=2, max_size=8), body)


def pumps(target: Target) -> st.SearchStrategy[tuple[bytes, bytes, bytes]]:
    """A beginning, something to repeat, and an end."""
    words = st.sampled_from(target.words)
    short = st.sampled_from([word for word in target.words if len(word) < 1000])
    # The first octet of most targets says how to cut: whole, or by 63.
    begin = st.builds(bytes.__add__, st.sampled_from([b"\0\0", b"\x3f\1"]), st.lists(short, max_size=4).map(b"".join))
    return st.tuples(begin, st.lists(words, min_size=1, max_size=3).map(b"".join), short)


@EACH
def test_whatever_hypothesis_makes_up(target: Target) -> None:
    @settings(max_examples=60, suppress_health_check=_ALL, phases=[Phase.explicit, Phase.generate, Phase.shrink])
    @given(inputs(target))
    def holds(octets: bytes) -> None:
        examine(target, octets)

    holds()


@pytest.mark.alone
@EACH
def test_what_the_corpus_keeps(target: Target) -> None:
    kept = list(corpus.entries(target.name))
    assert kept, f"corpus/{target.name}.txt is missing"
    for octets in kept:
        examine(target, octets)


@EACH
def test_what_is_said_in_dialogues(target: Target) -> None:
    for octets in list(seeds(target.name))[::8]:
        examine(target, octets)


@pytest.mark.alone
@EACH
def test_time_grows_as_inputs_do(target: Target) -> None:
    @settings(max_examples=4, suppress_health_check=_ALL, phases=[Phase.explicit, Phase.generate])
    @given(pumps(target))
    def holds(pump: tuple[bytes, bytes, bytes]) -> None:
        grows_as_it_should(target, *pump)
        examine(target, pumped(target.largest, *pump))

    holds()


@EACH
def test_memory_is_in_proportion(target: Target) -> None:
    @settings(max_examples=1, suppress_health_check=_ALL, phases=[Phase.explicit, Phase.generate])
    @given(pumps(target))
    def holds(pump: tuple[bytes, bytes, bytes]) -> None:
        examine_memory(target, pumped(target.largest // 8, *pump))

    holds()


@pytest.mark.soak
@EACH
def test_time_grows_as_inputs_do_for_many(target: Target) -> None:
    @settings(max_examples=200, suppress_health_check=_ALL, phases=[Phase.explicit, Phase.generate])
    @given(pumps(target))
    def holds(pump: tuple[bytes, bytes, bytes]) -> None:
        grows_as_it_should(target, *pump)
        examine(target, pumped(target.largest, *pump))

    holds()


# What measures must be able to find something.


def test_what_takes_too_long_is_found() -> None:
    def slow(octets: bytes) -> None:
        with stretch():
            sum(range(10_000_000))

    with pytest.raises(TooSlow):
        examine(Target("slow", slow, (b"x",)), b"")


def test_what_goes_by_the_square_is_found() -> None:
    def square(octets: bytes) -> None:
        for at in range(0, len(octets), 4):
            octets.count(b"y", at)

    target = Target("square", square, (b"x",), 65_536)
    with pytest.raises(TooSlow, match="a quarter of it"):
        grows_as_it_should(target, b"", b"x", b"")


def test_what_takes_too_much_memory_is_found() -> None:
    def greedy(octets: bytes) -> None:
        bytes(15_000_000)

    with pytest.raises(TooMuch):
        examine_memory(Target("greedy", greedy, (b"x",)), b"x")


def test_entries_of_a_corpus_are_read_as_they_are_written() -> None:
    assert corpus.value("b'a' * 3 + b'\\xff'") == b"aaa\xff"
    for octets in (b"", b"x" * 200, bytes(range(256))):
        assert corpus.value(corpus.written(octets)) == octets
    with pytest.raises(ValueError, match="made of octets"):
        corpus.value("bytes(9)")
