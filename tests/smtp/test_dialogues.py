"""Every dialogue of tests/dialogues, in memory."""

import pytest
from dialogue import Dialogue, all_dialogues, play
from fake_owner import FakeOwner

from mta.smtp.server import ServerSettings


class InMemory:
    """A server session as the peer of a dialogue. cut: octets per read, 0 for all at once."""

    def __init__(self, settings: dict[str, str], cut: int) -> None:
        self._owner = FakeOwner(
            ServerSettings(
                message_size=int(settings.get("message_size", "0")),
                bare_lf=settings.get("bare_lf", "refuse"),
                lenient=settings.get("lenient") == "yes",
            )
        )
        self._cut = cut
        self.octets = self._owner.greet()

    def send(self, octets: bytes) -> None:
        step = self._cut or len(octets)
        for at in range(0, len(octets), step):
            self.octets += self._owner.hear(octets[at : at + step])

    def line(self) -> str | None:
        if not self.octets:
            assert self._owner.session.closing, "the server says nothing, and does not close either"
            return None
        line, crlf, self.octets = self.octets.partition(b"\r\n")
        assert crlf
        return line.decode("ascii")


@pytest.mark.parametrize("cut", [0, 1, 7])
@pytest.mark.parametrize("dialogue", all_dialogues(), ids=lambda dialogue: dialogue.name)
def test_dialogue(dialogue: Dialogue, cut: int) -> None:
    peer = InMemory(dialogue.settings, cut)
    play(dialogue, peer)
    assert peer.octets == b"", "sent, but not expected"
