"""The addresses of the relay, their names, and the name in HELO."""

import pytest
from doctor_ground import FAILED, NO_NAME, NOTHING, has

from mta.operating.doctor.finding import Level
from mta.operating.doctor.names import Own, judge_helo, judge_own, judge_ptr, own_addresses
from mta.policy.exchangers import Answer

HOST = "mail.good.net"
FOUR, SIX = "11.1.2.3", "2a00:1::25"


@pytest.mark.parametrize(
    ("given", "local", "of_name", "own"),
    [
        ((), [FOUR, SIX], has(FOUR), Own((FOUR, SIX))),
        ((), ["10.0.0.5"], has(FOUR, SIX), Own((FOUR,), ("10.0.0.5",), presumed=True)),
        ((), ["10.0.0.5", SIX], has(FOUR, "2a00:1::99"), Own((SIX, FOUR), ("10.0.0.5",), presumed=True)),
        ((), ["10.0.0.5"], has("10.0.0.5"), Own((), ("10.0.0.5",))),
        ((), [], NOTHING, Own()),
        ((FOUR, FOUR), ["10.0.0.5"], has(SIX), Own((FOUR,))),
    ],
)
def test_which_addresses_are_ours(given: tuple[str, ...], local: list[str], of_name: Answer[str], own: Own) -> None:
    assert own_addresses(given, local, of_name) == own


@pytest.mark.parametrize(
    ("own", "level", "words"),
    [
        (Own((FOUR, SIX)), Level.OK, f"mail leaves from {FOUR}, {SIX}"),
        (Own((FOUR,), ("10.0.0.5",), presumed=True), Level.NOTE, "is taken for its public address"),
        (Own((), ("10.0.0.5",)), Level.UNKNOWN, "(only 10.0.0.5)"),
    ],
)
def test_what_is_known_of_them(own: Own, level: Level, words: str) -> None:
    (finding,) = judge_own(own)
    assert finding.level == level
    assert words in finding.seen


@pytest.mark.parametrize(
    ("names", "forward", "level", "words"),
    [
        (has(HOST), {HOST: has(FOUR)}, Level.OK, f"{HOST} leads back"),
        (has("old.good.net"), {"old.good.net": has(FOUR)}, Level.NOTE, f"calls itself {HOST}"),
        (has(HOST, "b.good.net"), {HOST: has(FOUR), "b.good.net": has(FOUR)}, Level.NOTE, "2 PTR records"),
        (has(HOST), {HOST: has("11.9.9.9")}, Level.PROBLEM, "does not lead back"),
        (has(HOST), {HOST: NO_NAME}, Level.PROBLEM, "does not lead back"),
        (has(HOST), {HOST: FAILED}, Level.UNKNOWN, "could not be asked for"),
        (NO_NAME, {}, Level.PROBLEM, "no PTR record"),
        (FAILED, {}, Level.UNKNOWN, "SERVFAIL"),
    ],
)
def test_an_address_has_a_name_that_leads_back(
    names: Answer[str], forward: dict[str, Answer[str]], level: Level, words: str
) -> None:
    finding = judge_ptr(FOUR, HOST, names, forward)
    assert finding.level == level
    assert words in finding.seen
    if level is Level.PROBLEM:
        assert finding.record == f"3.2.1.11.in-addr.arpa. PTR {HOST}."


def test_the_address_may_be_written_in_another_way() -> None:
    assert judge_ptr("2a00:1::25", HOST, has(HOST), {HOST: has("2A00:1:0:0::25")}).level is Level.OK


@pytest.mark.parametrize(
    ("host", "addresses", "own", "level", "record"),
    [
        (HOST, has(FOUR, SIX), Own((FOUR, SIX)), Level.OK, ""),
        (HOST, has(FOUR), Own((FOUR, SIX)), Level.WARNING, f"{HOST}. AAAA {SIX}"),
        (HOST, NO_NAME, Own((FOUR,)), Level.PROBLEM, f"{HOST}. A {FOUR}"),
        (HOST, NO_NAME, Own((), ("10.0.0.5",)), Level.PROBLEM, ""),
        (HOST, NOTHING, Own((SIX,)), Level.PROBLEM, f"{HOST}. AAAA {SIX}"),
        (HOST, has("10.0.0.5"), Own((), ("10.0.0.5",)), Level.PROBLEM, ""),
        (HOST, FAILED, Own((FOUR,)), Level.UNKNOWN, ""),
        ("mail", has(FOUR), Own((FOUR,)), Level.PROBLEM, ""),
        ("mail.lan", has(FOUR), Own((FOUR,)), Level.PROBLEM, ""),
        ("11.1.2.3", has(FOUR), Own((FOUR,)), Level.PROBLEM, ""),
    ],
)
def test_the_name_in_helo(host: str, addresses: Answer[str], own: Own, level: Level, record: str) -> None:
    (finding,) = judge_helo(host, addresses, own)
    assert (finding.level, finding.record) == (level, record)
