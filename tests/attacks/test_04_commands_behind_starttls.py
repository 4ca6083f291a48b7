"""Case 4: what somebody on the way writes in the clear, for the server to take as said inside TLS."""

from base64 import b64encode
from pathlib import Path

import pytest
from attack_ground import GREETED, RECIPIENT, SENDER, Victim, codes

MAIL = [SENDER, RECIPIENT, "DATA", "Subject: injected", "", "text", ".", "QUIT"]
PASSWORD = b64encode(b"\0alice@example.org\0pencil").decode()


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_nothing_behind_it_is_ever_heard(tmp_path: Path, cut: int) -> None:
    victim = Victim(tmp_path, cut, tls="offered")
    assert codes(victim.say(GREETED, "STARTTLS", "EHLO evil.example.com", *MAIL)) == ["250", "220"]
    victim.encrypt()
    assert victim.heard() == [], "the first word inside is the client's"
    assert codes(victim.say(*MAIL[:3])) == ["503", "503", "503"], "and it has to introduce itself anew"
    assert victim.claims == []


def test_not_in_a_segment_of_its_own_either(tmp_path: Path) -> None:
    victim = Victim(tmp_path, tls="offered")
    victim.say(GREETED, "STARTTLS")
    assert victim.say("EHLO evil.example.com", *MAIL) == []
    victim.encrypt()
    assert victim.heard() == []
    assert victim.claims == []


def test_half_a_line_is_not_completed_inside(tmp_path: Path) -> None:
    """The rest of a command, or of an argument, would come from the client itself."""
    victim = Victim(tmp_path, tls="offered")
    victim.say(GREETED)
    assert codes(
        victim.send_all(b"STARTTLS\r\nEHLO evil.example.com\r\nMAIL FROM:<evil@client.example.com>\r\nRSE")
    ) == ["220"]
    victim.encrypt()
    assert codes(victim.say("T")) == ["500"]


def test_a_login_in_the_clear_is_not_one_inside(tmp_path: Path) -> None:
    victim = Victim(tmp_path, tls="offered", auth="required", plaintext_auth="yes")
    assert codes(victim.say(GREETED, f"AUTH PLAIN {PASSWORD}", "STARTTLS")) == ["250", "235", "220"]
    victim.encrypt()
    assert codes(victim.say(GREETED, SENDER)) == ["250", "530"]


def test_an_exchange_that_has_begun_does_not_go_on_inside(tmp_path: Path) -> None:
    victim = Victim(tmp_path, tls="offered", auth="offered", plaintext_auth="yes")
    assert codes(victim.say(GREETED, "AUTH PLAIN", "STARTTLS")) == ["250", "334", "501"]
    assert codes(victim.say("STARTTLS")) == ["220"]
    victim.encrypt()
    assert codes(victim.say(PASSWORD)) == ["500"]


def test_a_transaction_keeps_tls_away(tmp_path: Path) -> None:
    """Else a reverse-path from the clear would go with the client's recipients."""
    victim = Victim(tmp_path, tls="offered")
    assert codes(victim.say(GREETED, SENDER, "STARTTLS")) == ["250", "250", "503"]
