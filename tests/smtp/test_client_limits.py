"""What a server allows one session (RFC 9422): announced, kept count of, and kept to."""

from typing import Any

import pytest
from client_script import BYE, GO, OK, Turn, ends, heard, play
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.allowance import RECIPIENTS_LIMIT, Allowance
from mta.smtp.asking import Mail, Peer, introduced
from mta.smtp.client import How, Next, Stage, deliver
from mta.smtp.reply import Reply

LETTER = b"hello\r\n"
TAKEN = (How.TAKEN, 250, Stage.CONTENT)
LATER = (How.LATER, 451, Stage.MAIL)


def peer(limits: str) -> Peer:
    return introduced(Reply(250, "", ("mx.example hello", "PIPELINING", f"LIMITS {limits}")))


def letter(*recipients: str) -> Mail:
    return Mail("s@example.com", recipients, len(LETTER), False, False, lambda: iter([LETTER]))


def transaction(*recipients: str, opening: str = "") -> list[Turn]:
    rcpts = "".join(f"RCPT TO:<{address}>\r\n" for address in recipients)
    lines = f"{opening}MAIL FROM:<s@example.com>\r\n{rcpts}DATA\r\n"
    return [(lines, [OK] * (lines.count("\r\n") - 1) + [GO]), (LETTER + b".\r\n", [OK])]


@pytest.mark.parametrize(
    ("announced", "mails", "taken"),
    [
        ("", float("inf"), RECIPIENTS_LIMIT),
        ("RCPTMAX=20", float("inf"), 20),
        ("rcptmax=20 mailmax=3", 3, 20),
        ("RCPTMAX=1000000 MAILMAX=1000000", float("inf"), RECIPIENTS_LIMIT),
        ("RCPTMAX=999999", float("inf"), RECIPIENTS_LIMIT),
        ("RCPTMAX=0 MAILMAX=00 X=1 RCPTMAX MAILMAX=-1 =", float("inf"), RECIPIENTS_LIMIT),
        ("RCPTDOMAINMAX=2", float("inf"), 2),
        ("RCPTDOMAINMAX=2 RCPTMAX=1", float("inf"), 1),
    ],
)
def test_limits_are_read_and_what_is_none_is_passed_over(announced: str, mails: float, taken: int) -> None:
    allowance = Allowance(announced)
    assert allowance.mails == mails
    everybody = [f"a@{number}.example" for number in range(200)]
    chosen, others = allowance.take(everybody, list(range(200)))
    assert chosen == list(range(taken))
    assert chosen + others == list(range(200))


def test_a_server_that_announces_none_has_none() -> None:
    assert introduced(Reply(250, "", ("mx.example", "PIPELINING"))).allowance is None
    assert peer("").allowance is not None


def test_recipients_of_one_transaction() -> None:
    turns = [*transaction("a@x", "b@x"), *transaction("c@x", "d@x"), *transaction("e@x")]
    delivery = play(deliver(peer("RCPTMAX=2"), letter("a@x", "b@x", "c@x", "d@x", "e@x")), *turns)
    assert ends(delivery) == [TAKEN] * 5
    assert delivery.next is Next.MAIL


def test_a_session_ends_with_its_last_transaction() -> None:
    to = peer("MAILMAX=2")
    assert play(deliver(to, letter("a@x")), *transaction("a@x")).next is Next.MAIL
    assert play(deliver(to, letter("b@x")), *transaction("b@x")).next is Next.LEAVE


def test_who_has_no_turn_in_this_session_has_one_in_the_next() -> None:
    mail = letter("a@x", "b@x", "c@x", "d@x", "e@x")
    delivery = play(deliver(peer("MAILMAX=2 RCPTMAX=2"), mail), *transaction("a@x", "b@x"), *transaction("c@x", "d@x"))
    assert ends(delivery) == [TAKEN] * 4 + [LATER]
    assert delivery.next is Next.LEAVE


def test_a_refused_mail_counts() -> None:
    to = peer("MAILMAX=1")
    lines = transaction("a@x")[0][0]
    delivery = play(deliver(to, letter("a@x")), (lines, ["550 no", "503 no", "503 no"]))
    assert ends(delivery) == [(How.REFUSED, 550, Stage.MAIL)]
    assert delivery.next is Next.LEAVE


def test_a_session_that_is_lost_is_not_left_politely() -> None:
    delivery = play(deliver(peer("MAILMAX=1"), letter("a@x")), (transaction("a@x")[0][0], [BYE] * 3))
    assert delivery.next is Next.NOTHING


def test_domains_of_one_session() -> None:
    to = peer("RCPTDOMAINMAX=2")
    delivery = play(deliver(to, letter("a@x", "b@y", "c@Z", "d@X")), *transaction("a@x", "b@y", "d@X"))
    assert ends(delivery) == [TAKEN, TAKEN, LATER, TAKEN]
    assert delivery.next is Next.MAIL
    # The count is the session's, not the message's; a domain that it has had is no new one.
    assert play(deliver(to, letter("e@Y")), *transaction("e@Y")).next is Next.MAIL
    with pytest.raises(StopIteration) as end:
        next(deliver(to, letter("f@z"), Next.RESET))
    assert ends(end.value.value) == [LATER]
    assert end.value.value.next is Next.RESET


def test_too_many_recipients_count_against_the_session_too() -> None:
    lines = transaction("a@x", "b@x")[0][0]
    turns: list[Any] = [(lines, [OK, OK, "452 4.5.3 too many", GO]), (LETTER + b".\r\n", [OK])]
    delivery = play(deliver(peer("MAILMAX=1"), letter("a@x", "b@x")), *turns)
    assert ends(delivery) == [TAKEN, LATER]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_with_enough_sessions_everybody_is_reached_once_within_the_limits(
    mails: int, recipients: int, domains: int, numbers: list[int]
) -> None:
    left = [f"r{index}@{number}.example" for index, number in enumerate(numbers)]
    reached: list[str] = []
    for _session in range(len(left)):
        dialogue = deliver(peer(f"MAILMAX={mails} RCPTMAX={recipients} RCPTDOMAINMAX={domains}"), letter(*left))
        said: list[list[str]] = []
        step = next(dialogue)
        while True:
            lines = [line.decode() for line in getattr(step, "lines", ())]
            if lines:
                said.append([line[9:-3] for line in lines[1:-1]])
                replies = [heard(OK)] * (len(lines) - 1) + [heard(GO)]
            else:
                step.sent = True  # type: ignore[union-attr]
                replies = [heard(OK)]
            try:
                step = dialogue.send(replies)
            except StopIteration as end:
                endings = end.value.endings
                break
        assert len(said) <= mails
        assert max(map(len, said)) <= recipients
        assert len({path.partition("@")[2] for group in said for path in group}) <= domains
        reached += [path for group in said for path in group]
        left = [path for path, ending in zip(left, endings, strict=True) if ending.how is How.LATER]
        if not left:
            break
    assert sorted(reached) == sorted(f"r{index}@{number}.example" for index, number in enumerate(numbers))
