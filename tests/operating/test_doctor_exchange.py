"""MX records."""

import pytest
from doctor_ground import FAILED, NO_NAME, NOTHING, has

from mta.operating.doctor.exchange import Host, Relay, judge_mx
from mta.operating.doctor.finding import Level
from mta.operating.doctor.names import Own
from mta.policy.exchangers import Answer, Exchanger

DOMAIN, HOST, OURS = "good.net", "mail.good.net", "11.1.2.3"
RELAY = Relay(HOST, Own((OURS,)), takes=True)
ELSEWHERE = RELAY._replace(takes=False)
MX = has(Exchanger(10, HOST))
OTHER = has(Exchanger(10, "mx.other.net"))


@pytest.mark.parametrize(
    ("answer", "hosts", "relay", "levels", "words"),
    [
        (MX, {HOST: Host(has(OURS), NOTHING)}, RELAY, [Level.OK], "comes to this relay: MX mail.good.net (10)"),
        (MX, {HOST: Host(has(OURS), NOTHING)}, RELAY._replace(by_mx=True), [Level.PROBLEM], "to itself: it bounces"),
        (has(Exchanger(5, "mx.other.net"), Exchanger(10, HOST)),
         {"mx.other.net": Host(has("11.9.9.9"), NOTHING), HOST: Host(has(OURS), NOTHING)}, RELAY._replace(by_mx=True),
         [Level.OK], "comes to this relay: MX mx.other.net (5), mail.good.net (10)"),
        (OTHER, {"mx.other.net": Host(has(OURS), NOTHING)}, RELAY, [Level.OK], "comes to this relay"),
        (OTHER, {"mx.other.net": Host(has("11.9.9.9"), NOTHING)}, RELAY, [Level.WARNING], "goes to others"),
        (OTHER, {"mx.other.net": Host(has("11.9.9.9"), NOTHING)}, ELSEWHERE, [Level.NOTE], "not taken here"),
        (MX, {HOST: Host(has(OURS), has("a.net"))}, RELAY, [Level.PROBLEM, Level.OK], "alias (CNAME) of a.net"),
        (MX, {HOST: Host(NO_NAME, NOTHING)}, RELAY, [Level.PROBLEM, Level.OK], "has no address"),
        (MX, {HOST: Host(FAILED, NOTHING)}, RELAY, [Level.UNKNOWN, Level.OK], "SERVFAIL"),
        (MX, {HOST: Host(has("192.168.1.1"), NOTHING)}, RELAY, [Level.PROBLEM, Level.OK], "nobody outside can reach"),
        (has(Exchanger(10, "11.1.2.3")), {"11.1.2.3": Host(NO_NAME, NOTHING)}, ELSEWHERE,
         [Level.PROBLEM, Level.NOTE], "does not name a host"),
        (has(Exchanger(0, "")), {}, RELAY, [Level.PROBLEM], "null MX"),
        (has(Exchanger(0, "")), {}, ELSEWHERE, [Level.NOTE], "null MX"),
        (has(Exchanger(0, ""), Exchanger(5, HOST)), {HOST: Host(has(OURS), NOTHING)}, RELAY,
         [Level.PROBLEM], "contradict"),
        (NOTHING, {DOMAIN: Host(has(OURS), NOTHING)}, RELAY, [Level.NOTE], "own address"),
        (NOTHING, {DOMAIN: Host(has("11.9.9.9"), NOTHING)}, RELAY, [Level.PROBLEM], "which is not this relay"),
        (NOTHING, {DOMAIN: Host(NOTHING, NOTHING)}, RELAY, [Level.PROBLEM], "neither an MX record nor an address"),
        (NOTHING, {DOMAIN: Host(FAILED, NOTHING)}, RELAY, [Level.UNKNOWN], "SERVFAIL"),
        (NO_NAME, {}, RELAY, [Level.PROBLEM], "does not exist"),
        (FAILED, {}, RELAY, [Level.UNKNOWN], "SERVFAIL"),
    ],
)  # fmt: skip
def test_where_mail_for_a_domain_goes(
    answer: Answer[Exchanger], hosts: dict[str, Host], relay: Relay, levels: list[Level], words: str
) -> None:
    found = judge_mx(DOMAIN, answer, hosts, relay)
    assert [one.level for one in found] == levels
    assert words in found[0].seen
    assert all(one.advice for one in found if one.level is Level.PROBLEM)


def test_the_record_to_publish() -> None:
    (finding,) = judge_mx(DOMAIN, NOTHING, {DOMAIN: Host(NOTHING, NOTHING)}, RELAY)
    assert finding.record == "good.net. MX 10 mail.good.net."
