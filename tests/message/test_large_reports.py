"""Notices about many recipients, each of whom was told something else at great length."""

import time

import pytest

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Outcome, Result
from mta.message.report import About, failure_report
from mta.message.returned import Returned
from mta.message.statusfields import Action, Fate
from mta.smtp.reply import Reply

HOST = "mx.example.org[192.0.2.1]:25"
ENVELOPE = Envelope("a@b", (), 0.0)
ABOUT = About("relay.example", "chief@relay.example", "0ID", ENVELOPE, Returned(b"A: b\r\n"), "a@b")


def told(number: int, line: str, lines: int) -> Fate:
    """What becomes of a recipient who was told a number, and some lines that are the same."""
    reply = Reply(550, "5.1.1", (f"nobody called {number}", *[line] * lines))
    return Fate(Recipient(f"user{number}@example.org"), Outcome(Result.FAILED, reply, HOST), 0.0, Action.FAILED)


@pytest.mark.alone
@pytest.mark.parametrize("line", ["\N{PILE OF POO}" * 240, "word " * 190])
def test_a_notice_is_no_larger_than_there_are_recipients_in_it(line: str) -> None:
    fates = [told(number, line, 16) for number in range(1000)]
    began = time.process_time()
    content = failure_report(ABOUT, fates, "0NOTICE", 0.0)
    assert time.process_time() - began < 0.2  # in the reactor's thread
    assert len(content) < 3_000_000
    text = content.decode().partition("--=_0NOTICE\r\n")[2].partition("--=_0NOTICE")[0]
    for number in (0, 500, 999):
        assert f"550 5.1.1 nobody called {number}" in text
        assert f"smtp; 550 5.1.1 nobody called {number}" in content.decode().replace("\r\n ", " ")


def test_what_few_were_told_is_quoted_in_full() -> None:
    fates = [told(number, "a line of thirty-two characters.", 16) for number in range(3)]
    content = failure_report(ABOUT, fates, "0NOTICE", 0.0).decode()
    assert content.count("550 5.1.1 a line of thirty-two characters.") == 3 * 16
