"""Envelopes and queue ids keep what they are given."""

from hypothesis import given
from hypothesis import strategies as st

from mta.message.envelope import (
    Client,
    Envelope,
    QueueIds,
    Recipient,
    format_queue_id,
    parse_queue_id,
    recipients_from_json,
    recipients_to_json,
)

text = st.text(max_size=20)
recipients = st.lists(st.builds(Recipient, text, text, text), max_size=5).map(tuple)


@given(
    st.builds(
        Envelope,
        sender=text,
        recipients=recipients,
        received=st.floats(0, 1e11),
        size=st.integers(0, 1 << 40),
        client=st.builds(Client, text, text, text),
        body=text,
        eight_bit=st.booleans(),
        dotted=st.booleans(),
        ret=text,
        envid=text,
        notice_for=st.integers(0, 1 << 62),
        by=st.floats(0, 1e11),
        released=st.floats(0, 1e11),
    )
)
def test_an_envelope_is_read_back_as_it_was_stored(envelope: Envelope) -> None:
    packed = recipients_from_json(recipients_to_json(envelope.recipients))
    assert Envelope.from_json(envelope.to_json(), packed) == envelope


def test_an_envelope_of_an_older_version_gets_the_defaults_of_newer_fields() -> None:
    assert Envelope.from_json('["a@b",1.0,2,["","",""]]', ()).dotted is True


@given(st.integers(0, (1 << 63) - 1))
def test_a_queue_id_is_read_back_from_what_people_see(number: int) -> None:
    shown = format_queue_id(number)
    assert parse_queue_id(shown) == number
    assert parse_queue_id(shown.lower()) == number


def test_what_people_mistake_in_a_queue_id_is_forgiven() -> None:
    assert parse_queue_id("O1L") == parse_queue_id("011")


def test_what_is_no_queue_id_is_none() -> None:
    for text in ("", "U", "*", "../x", "1 2", "Z" * 14):
        assert parse_queue_id(text) is None, text


def test_queue_ids_rise_though_the_clock_stands_or_goes_back() -> None:
    ids = QueueIds(worker=3)
    numbers = [ids.next(now) for now in (1000.0, 1000.0, 999.0, 1000.5)]
    assert numbers == sorted(set(numbers))


def test_queue_ids_go_on_after_the_last_one_known() -> None:
    last = QueueIds(worker=1).next(2_000_000_000.0)
    assert QueueIds(worker=1, after=last).next(1_000_000_000.0) > last


def test_workers_never_make_the_same_queue_id() -> None:
    one, other = QueueIds(worker=0), QueueIds(worker=1)
    assert {one.next(5.0) for _ in range(100)}.isdisjoint(other.next(5.0) for _ in range(100))


def test_queue_ids_of_this_century_have_twelve_digits() -> None:
    assert len(format_queue_id(QueueIds().next(1_800_000_000.0))) == 12
