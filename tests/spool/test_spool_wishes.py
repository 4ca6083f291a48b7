"""Wishes as text, and what becomes of recipients when they are granted."""

import pytest

from mta.interfaces import Waiting
from mta.message.envelope import Recipient
from mta.spool.wishes import Left, add, grant

NOW = 1_800_000_000.0


def waiting(*addresses: str, state: str = "waiting") -> Waiting:
    return Waiting(tuple(Recipient(one) for one in addresses), "x", NOW + 9, NOW + 99, 2, False, "450 later", state)


@pytest.mark.parametrize(
    ("wish", "verb", "addresses", "expected"),
    [
        ("", "hold", None, "hold"),
        ("hold", "drop", None, "drop"),
        ("hold", "release", None, ""),
        ("drop", "release", None, "drop"),
        ("", "release", None, ""),
        ("", "hold", ["a@x"], '{"":"","a@x":"hold"}'),
        ('{"":"","a@x":"hold"}', "drop", ["b@x"], '{"":"","a@x":"hold","b@x":"drop"}'),
        ('{"":"","a@x":"hold"}', "retry", ["a@x"], '{"":"","a@x":"retry"}'),
        ('{"":"","a@x":"hold"}', "drop", None, "drop"),
        ('{"":"","a@x":"hold","b@x":"drop"}', "release", None, '{"":"","b@x":"drop"}'),
        ('{"":"","a@x":"hold","b@x":"drop"}', "release", ["a@x", "b@x"], '{"":"","b@x":"drop"}'),
        ("hold", "release", ["a@x"], '{"":"hold","a@x":""}'),
        ('{"":"hold","a@x":""}', "hold", ["a@x"], "hold"),
    ],
)
def test_adding_a_wish(wish: str, verb: str, addresses: list[str] | None, expected: str) -> None:
    assert add(wish, verb, addresses) == expected


def test_without_a_wish_all_stays_as_it_is() -> None:
    groups = [waiting("a@x"), waiting("b@x", state="held")]
    assert grant("", groups, NOW) == ([Left(groups[0]), Left(groups[1])], [])


@pytest.mark.parametrize(
    ("wish", "change", "left_wish", "kind"),
    [
        ("hold", {"state": "held"}, "", "held"),
        ("retry", {"due": NOW}, "", "retried"),
        ("bounce", {"due": NOW, "deadline": NOW}, "bounce", None),
        ("drop", None, "", "dropped"),
    ],
)
def test_granting(wish: str, change: dict | None, left_wish: str, kind: str | None) -> None:
    group = waiting("a@x", "b@x")
    left, events = grant(wish, [group], NOW)
    assert left == ([] if change is None else [Left(group._replace(**change), left_wish)])
    assert [(one.kind, one.at, one.detail) for one in events] == (
        [] if kind is None else [(kind, NOW, {"recipients": ["a@x", "b@x"], "by": "operator"})]
    )


def test_a_wish_for_some_parts_them_from_the_others() -> None:
    left, events = grant('{"":"","b@x":"drop","c@x":"hold"}', [waiting("a@x", "b@x", "c@x", "d@x")], NOW)
    assert left == [Left(waiting("a@x", "d@x")), Left(waiting("c@x", state="held"))]
    assert [(one.kind, one.detail["recipients"]) for one in events] == [("dropped", ["b@x"]), ("held", ["c@x"])]


def test_retry_does_not_release_what_the_try_left_held_but_bounce_ends_it() -> None:
    held = waiting("a@x", state="held")
    assert grant("retry", [held], NOW) == ([Left(held)], [])
    [left], _ = grant("bounce", [held], NOW)
    assert (left.waiting.state, left.wish) == ("waiting", "bounce")
