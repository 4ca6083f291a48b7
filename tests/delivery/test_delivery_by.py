"""Mail that its sender wants delivered by a certain time (RFC 2852)."""

import pytest
from clockwork import DAY, GREYLISTED, HOUR, MINUTE, USUAL, Build, House
from test_delivery_days import about

from mta.delivery.records import untouched
from mta.interfaces import Claim
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Onward
from mta.transports.memory import DELIVERED


def submit(house: House, mode: str, seconds: float = 1000.0, to: str = "x@later.test", **more: object) -> int:
    return house.submit(
        Recipient(to, str(more.pop("notify", ""))), by=house.clock.seconds() + seconds, by_mode=mode, **more
    )


@pytest.mark.parametrize("down", [True, False])
def test_it_is_returned_at_that_time_and_not_tried_any_more(build: Build, down: bool) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.transport.down = {"later.test"} if down else set()
    number = submit(house, "R")
    house.run(HOUR)
    [bounce] = house.notices()
    assert bounce.at - house.began == pytest.approx(1000, abs=2)
    assert about(bounce.content) == [("x@later.test", "failed", "5.4.7")]
    expected = b"connection refused" if down else b"greylisted"
    assert b"delivery time expired" in bounce.content
    assert expected in bounce.content
    assert b"\r\nDeliver-By-Date: " in bounce.content
    assert house.story(number).result == "failed"
    tries = house.tries("later.test")
    assert tries
    assert max(tries) < 1000


def test_it_is_not_delivered_after_a_downtime_that_was_too_long(build: Build) -> None:
    house = build(start=False)
    submit(house, "R", silent=True)
    submit(house, "R", seconds=2 * HOUR, to="y@later.test", silent=True)
    house.run(HOUR)
    house.manager.start()
    house.run(MINUTE)
    assert [one.taken for one in house.carried("later.test")] == [("y@later.test",)]
    assert [about(one.content) for one in house.notices()] == [[("x@later.test", "failed", "5.4.7")]]


def test_a_claim_whose_time_passes_in_the_line_is_not_tried(build: Build) -> None:
    house = build(start=False)
    submit(house, "R", seconds=100, silent=True)
    [claim] = house.wait(house.spool.claim("later.test", 1, house.clock.seconds()))
    house.run(101)
    assert house.manager.reserve("later.test")
    house.manager.deliver(claim, None)
    house.manager.start()
    house.run(1)
    assert house.carried("later.test") == []
    assert [about(one.content) for one in house.notices()] == [[("x@later.test", "failed", "5.4.7")]]


@pytest.mark.parametrize("down", [True, False])
def test_its_sender_is_told_at_that_time_once_and_it_is_tried_on(build: Build, down: bool) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    house.transport.down = {"later.test"} if down else set()
    submit(house, "N")
    house.run(2 * DAY)
    [warning] = house.notices()
    assert warning.at - house.began == pytest.approx(1000, abs=2)
    assert about(warning.content) == [("x@later.test", "delayed", "4.4.7")]
    house.transport.down.clear()
    house.transport.answer("later.test", DELIVERED)
    house.run(DAY)
    assert house.messages == 0
    assert len(house.notices()) == 1


def test_the_usual_warning_gives_way_to_the_senders_own_time(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    submit(house, "N", seconds=10 * HOUR)
    house.run(DAY)
    assert [round((one.at - house.began) / HOUR) for one in house.notices()] == [10]


@pytest.mark.parametrize(("mode", "notify"), [("N", "NEVER"), ("N", "FAILURE"), ("R", "NEVER"), ("R", "DELAY")])
def test_notify_is_heard_here_too(build: Build, mode: str, notify: str) -> None:
    house = build(poll=HOUR)
    house.transport.answer("later.test", GREYLISTED)
    number = submit(house, mode, notify=notify)
    house.run(HOUR)
    assert house.notices() == []
    assert (house.story(number).result == "failed") == (mode == "R")


@pytest.mark.parametrize(
    ("onward", "told"), [(Onward.RELAYED, ["relayed"]), (Onward.PASSED, ["relayed"]), (Onward.FINAL, [])]
)
def test_a_trace_tells_of_each_relay(build: Build, onward: Onward, told: list[str]) -> None:
    house = build()
    house.transport.answer("later.test", DELIVERED._replace(onward=onward))
    submit(house, "RT")
    house.run(1)
    assert [about(one.content)[0][1] for one in house.notices()] == told


def test_what_is_put_back_is_brought_up_in_time() -> None:
    envelope = Envelope("s@up.test", (Recipient("x@later.test"),), 1000.0, by=1100.0, by_mode="R")
    claim = Claim(1, 1, 1, "later.test", envelope)
    assert untouched(claim, USUAL, 1050.0).deadline == 1100.0
    assert untouched(claim, USUAL, 1100.0).deadline > 1100.0
