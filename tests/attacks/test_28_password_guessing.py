"""Case 28: passwords that are guessed, by one address or by many, one account or all."""

from base64 import b64encode
from pathlib import Path

import pytest
from attack_ground import GREETED, Victim, codes
from login_ground import INSIDE_TLS, Ground, alice, refusal

from mta.auth.guessing import BY_ADDRESS, FORGOTTEN, WITH_ACCOUNT
from mta.logins import LoggedIn

RIGHT = b64encode(b"\0alice@example.org\0pencil").decode()


def plain(password: str, name: str = "alice@example.org") -> str:
    return "AUTH PLAIN " + b64encode(f"\0{name}\0{password}".encode()).decode()


def test_one_address_and_one_account(tmp_path: Path) -> None:
    """Each guess takes longer, then nothing is checked at all, not even what is right."""
    victim = Victim(tmp_path, auth="offered", plaintext_auth="yes")
    victim.say(GREETED)
    took: list[float] = []
    for number in range(WITH_ACCOUNT.most):
        began = victim.clock.seconds()
        said = victim.say(plain(f"guess{number}"))
        while not said:
            said = victim.later(1)
        assert codes(said) == ["535"]
        took.append(victim.clock.seconds() - began)
    assert took == sorted(took)
    assert took[-1] >= 16
    assert codes(victim.say(plain("pencil"))) == ["454"]
    failures = [line for line in victim.lines if "guess" in line or "login" in line]
    assert all("alice@example.org" in line and "guess" not in line for line in failures)
    assert len(failures) >= WITH_ACCOUNT.most, "a line for each"


def test_one_address_and_many_accounts(tmp_path: Path) -> None:
    ground = Ground(tmp_path, alice())
    answers = [refusal(ground.plain(f"name{number}", "guess")) for number in range(BY_ADDRESS.most + 5)]
    assert answers[-1].startswith("454 ")
    assert refusal(ground.plain("alice@example.org", "pencil")).startswith("454 ")
    ground.clock.advance(FORGOTTEN + 1)
    assert isinstance(ground.plain("alice@example.org", "pencil"), LoggedIn)


def test_many_addresses_and_one_account_lock_nobody_out(tmp_path: Path) -> None:
    """Whose account it is comes from an address of his own, and is let in."""
    ground = Ground(tmp_path, alice())
    for number in range(100):
        client = INSIDE_TLS._replace(address=f"198.51.100.{number}")
        for _ in range(3):
            ground.plain("alice@example.org", "guess", client=client)
    assert isinstance(ground.plain("alice@example.org", "pencil"), LoggedIn)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_many_at_once_are_no_way_around_it(tmp_path: Path, mechanism: str) -> None:
    """An attempt counts from its beginning: those that wait for their answer have been counted."""
    ground = Ground(tmp_path, alice())
    answered: list[object] = []
    for _ in range(100):
        exchange = ground.begin(mechanism)
        first = exchange.respond(b"\0alice@example.org\0guess" if mechanism == "PLAIN" else None)
        if mechanism == "LOGIN":
            exchange.respond(b"alice@example.org")
            first = exchange.respond(b"guess")
        elif mechanism == "CRAM-MD5":
            first = exchange.respond(b"alice@example.org " + b"0" * 32)
        first.addCallback(answered.append)
    ground.clock.advance(0)
    assert sum("535" in str(one) for one in answered) <= WITH_ACCOUNT.free
    ground.clock.pump([1.0] * 60)
    assert sum("535" in str(one) for one in answered) <= WITH_ACCOUNT.most
    assert len(answered) == 100


def test_who_is_unknown_cannot_be_told_from_who_is_wrong(tmp_path: Path) -> None:
    ground = Ground(tmp_path, alice())
    unknown, wrong = (refusal(ground.plain(name, "guess")) for name in ("nobody@example.org", "alice@example.org"))
    assert unknown == wrong


def test_a_session_has_an_end_too(tmp_path: Path) -> None:
    victim = Victim(tmp_path, auth="offered", plaintext_auth="yes")
    victim.say(GREETED)
    said: list[str] = []
    for _ in range(200):
        said += victim.say("AUTH LOGIN", "*") + victim.later(1)
        if victim.closed:
            break
    assert codes(said)[-1] == "421"
