"""Connections that processes count together."""

import os
from collections.abc import Iterator

import pytest

from mta.net.tally import Alone, Tally, make_tally


@pytest.fixture
def tallies() -> Iterator[list[Tally]]:
    memory = make_tally(3)
    yield [Tally(memory, number, 3) for number in range(3)]
    os.close(memory)


def test_each_sees_what_the_others_have(tallies: list[Tally]) -> None:
    first, second, third = tallies
    for _ in range(3):
        first.change("192.0.2.1", +1)
    second.change("192.0.2.1", +1)
    second.change("2001:db8::1", +1)
    assert [one.elsewhere() for one in tallies] == [2, 3, 5]
    assert [one.elsewhere_from("192.0.2.1") for one in tallies] == [1, 3, 4]
    assert [one.elsewhere_from("2001:db8::1") for one in tallies] == [1, 0, 1]
    first.change("192.0.2.1", -1)
    assert third.elsewhere_from("192.0.2.1") == 3


def test_one_that_has_died_has_nobody(tallies: list[Tally]) -> None:
    first, second, _ = tallies
    first.change("192.0.2.1", +1)
    second.change("192.0.2.1", +1)
    second.forget(0)
    assert [one.elsewhere() for one in tallies] == [1, 0, 1]
    assert [one.elsewhere_from("192.0.2.1") for one in tallies] == [1, 0, 1]


def test_one_that_was_taken_for_dead_may_still_count(tallies: list[Tally]) -> None:
    first, second, _ = tallies
    first.change("192.0.2.1", +1)
    second.forget(0)
    first.change("192.0.2.1", -1)
    first.change("192.0.2.1", +1)
    assert second.elsewhere() == second.elsewhere_from("192.0.2.1") == 1


def test_one_that_begins_has_nobody(tallies: list[Tally]) -> None:
    first, second, _ = tallies
    first.change("192.0.2.1", +1)
    first.clear()
    assert second.elsewhere() == second.elsewhere_from("192.0.2.1") == 0


def test_the_idlest_of_the_others_lets_in_and_has_the_fewest(tallies: list[Tally]) -> None:
    first, second, third = tallies
    first.let_in(True)
    assert first.idlest() is None, "no other has begun"
    second.let_in(True)
    third.let_in(True)
    for one, count in ((first, 1), (second, 3), (third, 2)):
        for _ in range(count):
            one.change("192.0.2.1", +1)
    assert [one.here() for one in tallies] == [1, 3, 2]
    assert [one.idlest() for one in tallies] == [(2, 2), (1, 0), (1, 0)]
    third.let_in(False)
    assert first.idlest() == (3, 1), "one that stops gets nobody, however few it has"
    first.forget(1)
    assert first.idlest() is None, "nor does one that is gone"
    assert third.idlest() == (1, 0)
    first.clear()
    assert third.idlest() is None, "nor one that has begun again, until it lets in"


def test_thousands_of_clients_are_hardly_ever_taken_for_each_other(tallies: list[Tally]) -> None:
    first, second, _ = tallies
    for number in range(1000):
        first.change(f"198.51.{number // 250}.{number % 250}", +1)
    strangers = [second.elsewhere_from(f"203.0.{number // 250}.{number % 250}") for number in range(1000)]
    assert max(strangers) <= 2
    assert sum(strangers) < 100


def two_who_are_taken_for(client: str) -> list[str]:
    """Addresses that share the one count, and the other, with a client, as anybody finds who can try them all."""
    memory = make_tally(2)
    first, second = (Tally(memory, number, 2) for number in range(2))
    os.close(memory)
    tried: list[str] = []
    while not second.elsewhere_from(client):
        tried.append(f"2001:db8::{len(tried):x}")
        first.change(tried[-1], +1)
    return [one for one in reversed(tried) if is_needed(first, second, one, client)]


def is_needed(first: Tally, second: Tally, one: str, client: str) -> bool:
    """Is a client no longer taken for somebody without this one? Then it is there again."""
    first.change(one, -1)
    if second.elsewhere_from(client):
        return False
    first.change(one, +1)
    return True


def test_nobody_can_look_for_addresses_that_are_taken_for_a_client(tallies: list[Tally]) -> None:
    first, second, _ = tallies
    found = two_who_are_taken_for("192.0.2.1")
    assert 1 <= len(found) <= 2
    for one in found:
        first.change(one, +1)
    assert second.elsewhere() == len(found)
    assert second.elsewhere_from("192.0.2.1") == 0, "what was found out of one relay is of no use with another"


def test_the_only_process_has_no_others() -> None:
    alone = Alone()
    alone.change("192.0.2.1", +1)
    assert alone.elsewhere() == alone.elsewhere_from("192.0.2.1") == 0
