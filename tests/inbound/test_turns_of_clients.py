"""A client that says a great deal at once does not keep the others waiting."""

from pathlib import Path
from typing import Any

import pytest
from house_in_memory import InMemory

from mta.inbound.conversation import Conversation

READ = 65_536  # octets that the reactor reads at once


class Busy(InMemory):
    """A listener with one client, whose turns can be counted."""

    def read(self, octets: bytes) -> None:
        """Octets that arrive at once; nobody else has a turn yet."""
        self._wire.protocol.dataReceived(octets)

    def turn(self) -> bool:
        """One turn of the reactor. Is there anything to do in it?"""
        due = [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]
        for call in due:
            function, arguments = call.func, call.args
            call.cancel()
            function(*arguments)
        return bool(due)

    def replies(self) -> int:
        """How many there are since it was last asked."""
        found = self._wire.value().count(b"\r\n")
        self._wire.clear()
        return found


@pytest.mark.parametrize("command", [b"RCPT TO:<a@b>\r\n", b"BDAT 0\r\n", b"BDAT 1\r\nx"])
def test_what_is_read_at_once_is_answered_in_turns(command: bytes, tmp_path: Path) -> None:
    relay = Busy(tmp_path, {"relaying": "yes", "recipients": "100000"})
    relay.send(b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    relay.replies()
    commands = READ // len(command)
    relay.read(command * commands)
    answered = [relay.replies()]
    while relay.turn():
        answered.append(relay.replies())
    assert sum(answered) == commands
    assert max(answered) <= 500
    assert len(answered) > commands // 500 - 1


def test_a_handshake_that_comes_at_the_end_of_a_turn_begins_once(tmp_path: Path) -> None:
    relay = Busy(tmp_path, {"tls": "offered", "relaying": "yes", "recipients": "100000"})
    commands = [b"EHLO x", b"MAIL FROM:<>", *[b"RCPT TO:<a@b>"] * 496, b"RSET", b"STARTTLS"]
    assert len(commands) == 500
    relay.read(b"".join(command + b"\r\n" for command in commands))
    assert relay.replies() > 500
    assert not relay.turn()
    relay.encrypt()
    relay.send(b"NOOP\r\n")
    assert relay.line() == "250 2.0.0 ok"


def test_a_client_that_goes_between_two_turns_is_forgotten(tmp_path: Path) -> None:
    relay = Busy(tmp_path, {"relaying": "yes", "recipients": "100000"})
    relay.send(b"EHLO x\r\nMAIL FROM:<>\r\n")
    relay.read(b"RCPT TO:<a@b>\r\n" * 4000)
    relay._wire.protocol.connectionLost()
    relay.replies()
    while relay.turn():
        assert relay.replies() == 0


def test_what_takes_long_is_answered_in_shorter_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As to name a list of ten thousand does."""
    relay = Busy(tmp_path, {"relaying": "yes", "recipients": "100000"})
    relay.send(b"EHLO x\r\nMAIL FROM:<>\r\n")
    relay.replies()
    answer = Conversation.answer

    def slowly(conversation: Conversation, event: Any) -> Any:
        relay.clock.rightNow += 0.1
        return answer(conversation, event)

    monkeypatch.setattr(Conversation, "answer", slowly)
    relay.read(b"RCPT TO:<a@b>\r\n" * 500)
    answered = [relay.replies()]
    while relay.turn():
        answered.append(relay.replies())
    assert sum(answered) == 500
    assert max(answered) <= 20
