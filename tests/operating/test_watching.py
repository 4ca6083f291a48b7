"""`mta.operating.watching`: what counts as a change, and the rates."""

import pytest

from mta.operating.watching import CHANGED, NEW, WINDOW, Look, Rates, Seen, Watching
from mta.spool.listing import QueuedMessage, QueuedRecipient, Totals


def message(number: int, created: float = 0.0, **more: object) -> QueuedMessage:
    recipient = QueuedRecipient(f"u{number}@x", "ready", 0.0, "", "x", 0, "")
    return QueuedMessage(number, 100, "s@x", created, (recipient._replace(**more),))


def see(watching: Watching, at: float, *messages: QueuedMessage, total: int | None = None, ended: int = 0) -> Seen:
    count = len(messages) if total is None else total
    return watching.see(Look(at, list(messages), Totals(messages=count), ended))


def test_what_is_new_and_what_has_changed() -> None:
    watching = Watching()
    assert see(watching, 10.0, message(1), message(2))[1:] == ({}, 0, None)
    seen = see(watching, 12.0, message(1, attempts=1), message(2, next_attempt=5.0), message(3, created=11.0))
    assert seen.marks == {(1, "u1@x", ""): CHANGED, (3, "u3@x", ""): NEW}
    assert see(watching, 14.0, message(1, attempts=1), message(2)).marks == {}


@pytest.mark.parametrize("what", [{"state": "held"}, {"last_reply": "451 no"}, {"destination": "y"}, {"wish": "drop"}])
def test_each_thing_that_is_a_change(what: dict[str, str]) -> None:
    watching = Watching()
    see(watching, 10.0, message(1))
    assert list(see(watching, 11.0, message(1, **what)).marks.values()) == [CHANGED]


def test_what_comes_into_sight_is_not_new() -> None:
    """The listing has a limit: where the oldest goes, one that has long been there is listed."""
    watching = Watching()
    see(watching, 10.0, message(1, created=1.0))
    seen = see(watching, 12.0, message(2, created=2.0))
    assert (seen.marks, seen.gone) == ({}, 1)


def test_rates_are_of_the_last_seconds() -> None:
    watching = Watching()
    assert watching.since(100.0) == 100.0
    see(watching, 100.0, total=50)
    assert watching.since(102.0) == 100.0
    assert see(watching, 102.0, total=60, ended=10).rates == Rates(accepted=10.0, ended=5.0)
    for at in range(104, 160, 2):
        seen = see(watching, float(at), total=60, ended=0)
    assert seen.rates == Rates(0.0, 0.0)
    assert 158.0 - watching.since(160.0) == WINDOW
    assert see(watching, 160.0, total=0, ended=20).rates == Rates(0.0, 20 / 12)
