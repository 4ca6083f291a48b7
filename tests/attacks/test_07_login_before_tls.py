"""Case 7: a login offered, or taken, where its password can be read on the way."""

from base64 import b64encode
from pathlib import Path

import pytest
from attack_ground import GREETED, SENDER, Victim, codes

PASSWORD = b64encode(b"\0alice@example.org\0pencil").decode()


@pytest.mark.parametrize("auth", ["offered", "required"])
@pytest.mark.parametrize("line", [f"AUTH PLAIN {PASSWORD}", "AUTH PLAIN", "AUTH LOGIN", "AUTH LOGIN YWxpY2U="])
def test_it_is_refused_before_any_secret_is_asked_for(tmp_path: Path, line: str, auth: str) -> None:
    victim = Victim(tmp_path, tls="offered", auth=auth)
    announced = victim.say(GREETED)
    assert not [one for one in announced if "PLAIN" in one or "LOGIN" in one]
    assert [one[:10] for one in victim.say(line)] == ["538 5.7.11"]
    assert PASSWORD not in victim.log
    victim.say("STARTTLS")
    victim.encrypt()
    assert [one for one in victim.say(GREETED) if "AUTH" in one and "PLAIN" in one]
    assert codes(victim.say(f"AUTH PLAIN {PASSWORD}")) == ["235"]


def test_where_tls_is_required_nothing_comes_before_it(tmp_path: Path) -> None:
    victim = Victim(tmp_path, tls="required", auth="required")
    assert codes(victim.say(GREETED, SENDER)) == ["250", "530"]
    assert codes(victim.say(f"AUTH PLAIN {PASSWORD}"))[0] in ("530", "538")
    assert victim.say("NOOP")[0][:3] == "250"


def test_who_must_log_in_may_not_send_before(tmp_path: Path) -> None:
    victim = Victim(tmp_path, tls="offered", auth="required")
    victim.say(GREETED, "STARTTLS")
    victim.encrypt()
    assert codes(victim.say(GREETED, SENDER, "VRFY jones")) == ["250", "530", "530"]


def test_devices_that_are_named_may(tmp_path: Path) -> None:
    """`plaintext_auth` has the networks of printers and the like."""
    victim = Victim(tmp_path, tls="offered", auth="offered", plaintext_auth="yes")
    assert [one for one in victim.say(GREETED) if "PLAIN" in one]
    assert codes(victim.say(f"AUTH PLAIN {PASSWORD}")) == ["235"]
