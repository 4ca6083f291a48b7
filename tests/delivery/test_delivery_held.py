"""Mail that waits for somebody to mend something here, such as a password: held, told of, and never bounced."""

import pytest
from clockwork import DAY, HOUR, MINUTE, Build, House
from test_delivery_days import about

from mta.delivery.destination import Destinations
from mta.interfaces import Claim, Pause
from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Carried, Outcome, held
from mta.policy.window import WindowLimits
from mta.transports.memory import DELIVERED

REFUSED = held(535, "5.7.8", "the login for relay.test was refused", "relay.test[192.0.2.1]:587")


def test_a_refused_login_holds_the_mail_and_says_so(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("smart.test", REFUSED)
    number = house.submit("a@smart.test", "b@smart.test")
    house.run(MINUTE)
    assert [(one.state, one.last_reply) for one in house.waiting()] == [("held", str(REFUSED.reply))] * 2
    [alarm] = house.logged("alarm")
    assert alarm == {"destination": "smart.test", "why": f"mail is held: {REFUSED.reply}"}
    [told] = [event.detail for event in house.story(number).events if event.kind == "held"]
    assert (told["recipients"], told["why"]) == (["a@smart.test", "b@smart.test"], str(REFUSED.reply))
    house.run(6 * DAY)
    assert house.notices() == []
    assert len(house.tries("smart.test")) == 1
    assert house.story(number).ended is None


def test_a_login_is_not_tried_for_each_message_and_what_waits_is_never_bounced(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("smart.test", REFUSED)
    for number in range(200):
        house.submit(f"r{number}@smart.test")
    house.run(HOUR)
    tries = len(house.tries("smart.test"))
    assert tries < 20
    assert sorted({one.state for one in house.waiting()}) == ["held", "waiting"]
    # Who waits is told of the delay, and of nothing else; at its end it is held.
    house.run(4 * HOUR)
    warnings = house.notices()
    assert 200 - 30 < len(warnings) < 200
    assert {about(one.content)[0][1:] for one in warnings} == {("delayed", "4.3.5")}
    house.run(5 * DAY)
    assert len(house.notices()) == len(warnings)
    assert {one.state for one in house.waiting()} == {"held"}
    assert len(house.waiting()) == 200
    assert len(house.tries("smart.test")) < 400
    # The password is right again.
    house.transport.answer("smart.test", DELIVERED)
    house.operate("release")
    house.operate("retry")
    house.run(2 * HOUR)
    assert house.messages == 0
    assert len(house.notices()) == len(warnings)


def test_a_restart_does_not_turn_it_into_a_failure(build: Build) -> None:
    house = build(poll=HOUR)
    house.transport.answer("smart.test", REFUSED)
    house.submit("first@smart.test")
    house.run(1)
    house.submit("second@smart.test")
    house.run(1)
    house.restart(start=False)
    house.run(4 * HOUR - MINUTE)
    house.manager.start()
    house.run(6 * DAY)
    assert {one.state for one in house.waiting()} == {"held"}
    assert not any(about(one.content)[0][1] == "failed" for one in house.notices())


def test_what_is_stuck_beside_what_is_not(house: House) -> None:
    house.transport.answer("a@smart.test", REFUSED)
    house.submit("a@smart.test", "b@smart.test")
    house.run(1)
    assert [(one.address, one.state) for one in house.waiting()] == [("a@smart.test", "held")]
    house.submit("c@smart.test")
    house.run(1)
    assert house.carried("smart.test")[-1].taken == ("c@smart.test",), "the destination takes mail"


@pytest.mark.parametrize(
    ("outcomes", "pause"),
    [
        ((REFUSED,), Pause(60.0, 1, str(REFUSED.reply))),
        ((REFUSED, REFUSED), Pause(60.0, 1, str(REFUSED.reply))),
        ((DELIVERED, REFUSED), None),
        ((REFUSED, DELIVERED), None),
    ],
)
def test_a_refused_login_is_news_of_the_destination(outcomes: tuple[Outcome, ...], pause: Pause | None) -> None:
    limits = WindowLimits()
    one = Destinations(limits, 10, 10).wake("smart.test")

    class NoChance:
        def random(self) -> float:
            return 0.0

    assert one.heard(Carried(outcomes), limits, 0.0, NoChance()) == pause  # type: ignore[arg-type]


@pytest.mark.parametrize("in_memory", [True, False])
def test_what_waits_behind_it_is_put_off_and_not_held(in_memory: bool) -> None:
    one = Destinations(WindowLimits(), 10, 10).wake("smart.test")
    one.refusal = REFUSED if in_memory else None
    envelope = Envelope("s@up.test", (Recipient("r@smart.test"),), 0.0)
    outcome = one.last_outcome(Claim(1, 1, 1, "smart.test", envelope, last_reply=str(REFUSED.reply)))
    assert (outcome.result, outcome.reply.code, outcome.reply.enhanced) == ("deferred", 451, "4.3.5")
    assert "the login for relay.test was refused" in outcome.reply.text


def test_a_refusal_by_one_of_several_hosts_is_quoted_as_the_last_answer() -> None:
    one = Destinations(WindowLimits(), 10, 10).wake("several.test")
    envelope = Envelope("s@up.test", (Recipient("r@several.test"),), 0.0)
    outcome = one.last_outcome(Claim(1, 1, 1, "several.test", envelope, attempts=2, last_reply="554 5.7.1 not you"))
    assert outcome.result == "deferred"
    assert str(outcome.reply) == "451 4.4.0 the last answer was: 554 5.7.1 not you"
