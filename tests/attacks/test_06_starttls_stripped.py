"""Case 6: somebody takes STARTTLS away, or breaks it, where the way onward has to be encrypted."""

from pathlib import Path
from typing import Any

import pytest
from carry_world import HANG_UP, Server, World

from mta.auth.logins import Logins, Upstream
from mta.message.outcome import Carried, Result
from mta.policy.routing import Hop, Via

WITHOUT = "250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
WITH = "250-mx\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN"
REQUIRE, VERIFY = (Hop(Via.MX, "example.net", tls=tls) for tls in ("require", "verify"))
LOGIN = Hop(Via.MX, "example.net", login="provider")
BREAKS: list[dict[str, Any]] = [
    {"EHLO": WITHOUT},
    {"EHLO": "502 5.5.1 what?", "HELO": "250 mx"},
    {"EHLO": WITH, "STARTTLS": "454 4.7.0 not now"},
    {"EHLO": WITH, "STARTTLS": "502 5.5.1 what?"},
    {"EHLO": WITH, "STARTTLS": HANG_UP},
    {"EHLO": WITH, "STARTTLS": "220 go", "tls": "wrong version number"},
]


def stripped(hop: Hop, script: dict[str, Any], world: World) -> tuple[Carried, Server]:
    how = dict(script)
    tls = how.pop("tls", None)
    server = world.serve(**how)
    server.tls = tls or server.tls
    return world.carry(hop=hop, seconds=1000), server


@pytest.mark.parametrize("hop", [REQUIRE, VERIFY])
@pytest.mark.parametrize("script", BREAKS)
def test_the_mail_waits_and_says_why(script: dict[str, Any], hop: Hop) -> None:
    carried, server = stripped(hop, script, World())
    [outcome] = carried.outcomes
    assert outcome.result is Result.DEFERRED
    assert "TLS" in str(outcome.reply) or "454" in str(outcome.reply)
    assert not [line for line in server.heard if line.startswith(("MAIL", "AUTH"))]


def test_a_certificate_of_somebody_else() -> None:
    world = World()
    world.tls.wrong.add("mx.example.net")
    carried, server = stripped(VERIFY, {"EHLO": WITH, "STARTTLS": "220 go"}, world)
    assert carried.outcomes[0].result is Result.DEFERRED
    assert "not for mx.example.net" in str(carried.outcomes[0].reply)
    assert server.messages == []


@pytest.mark.parametrize("script", BREAKS)
def test_no_password_goes_in_the_clear(tmp_path: Path, script: dict[str, Any]) -> None:
    """Even where the route asks for no TLS: who can strip STARTTLS would have the password else."""
    file = tmp_path / "password"
    file.write_text("pencil")
    logins = Logins({"provider": Upstream("shop", file)}, lambda path: path.read_text())
    world = World()
    world.logins.mechanism = logins.mechanism  # type: ignore[method-assign]
    carried, server = stripped(LOGIN, script, world)
    assert carried.outcomes[0].result in (Result.DEFERRED, Result.HELD)
    assert not [line for line in server.heard if line.startswith(("MAIL", "AUTH"))]
    assert server.messages == []
