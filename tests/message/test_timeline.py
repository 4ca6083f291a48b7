"""Events as text: what was told comes back, whatever was said, and texts in a row are read as one."""

from hypothesis import given
from hypothesis import strategies as st

from mta.message.timeline import Event, events_from_json, events_to_json

texts = st.text(st.characters(exclude_categories=()))  # lone surrogates and all kinds of line ends included
details = st.dictionaries(
    texts, st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.lists(texts)
)
events = st.lists(st.builds(Event, st.floats(0, 4e9), texts, details))


@given(st.lists(events))
def test_what_was_told_comes_back(written: list[list[Event]]) -> None:
    text = "".join(events_to_json(some) for some in written)
    assert events_from_json(text) == [event for some in written for event in some]


@given(events)
def test_the_text_is_lines_of_ascii(some: list[Event]) -> None:
    text = events_to_json(some)
    assert text.isascii()
    assert text.count("\n") == bool(some)


def test_it_can_be_read_by_people() -> None:
    told = (
        Event(1.5, "delivered", {"recipients": ["a@example.org"], "reply": "250 2.0.0 ok"}),
        Event(2.0, "ended", {}),
    )
    assert events_to_json(told) == (
        '[[1.5,"delivered",{"recipients":["a@example.org"],"reply":"250 2.0.0 ok"}],[2.0,"ended",{}]]\n'
    )
