"""Case 24: passwords and tokens in logs, listings, timelines, bounces, or anywhere on the disk of the spool."""

from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from attack_ground import Victim
from carry_world import SILENT, World
from peers.clients import Talk
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port
from peers.sinks import thread_of_sinks

from mta.auth.logins import Logins, Upstream
from mta.message.outcome import Result
from mta.policy.routing import Hop, Via

PASSWORD = "Korrekt-Pferd-Batterie-Klammer"
TOKEN = "ya29.a0AfH6SMBxToken"
USER = "alice@example.org"
PLAIN = b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
WORD = b64encode(PASSWORD.encode()).decode()
OAUTH = b64encode(f"user={USER}\1auth=Bearer {TOKEN}\1\1".encode()).decode()
SECRETS = [PASSWORD, TOKEN, PLAIN, WORD, OAUTH, PLAIN[20:], WORD[8:], OAUTH[40:]]
SAID = [
    [f"AUTH PLAIN {PLAIN}"],
    ["AUTH PLAIN", PLAIN],
    ["AUTH LOGIN", b64encode(USER.encode()).decode(), WORD],
    [f"AUTH LOGIN {b64encode(USER.encode()).decode()}", WORD],
    ["AUTH LOGIN", "*", WORD],
    [f"AUTH XOAUTH2 {OAUTH}"],
    [f"AUTH PLAIN {PLAIN} {PLAIN}"],
    [f"AUTH PLAIN {PLAIN}!"],
    [f"AUTH  PLAIN\t{PLAIN}"],
    [f"AUTHPLAIN {PLAIN}"],
    [f"auth plain {PLAIN}", PLAIN],
    [f" AUTH PLAIN {PLAIN}"],
    ["AUTH CRAM-MD5", WORD],
    ["AUTH PLAIN", PLAIN + "x" * 13_000],
    ["AUTH PLAIN " + PLAIN + "x" * 13_000],
    ["AUTH PLAIN", PLAIN + "\0"],
    [f"AUTH PLAIN {PLAIN}\x1b"],
]


def found(octets: bytes) -> list[str]:
    """The secrets that stand in there."""
    return [one for one in SECRETS if one.encode() in octets]


@pytest.mark.parametrize("auth", ["none", "offered"])
@pytest.mark.parametrize("lines", SAID)
def test_however_auth_is_misspelt_nothing_of_it_is_logged(tmp_path: Path, lines: list[str], auth: str) -> None:
    victim = Victim(tmp_path, auth=auth, plaintext_auth="yes")
    victim.say("EHLO client.example.com")
    for line in lines:
        said = victim.say(line)
        victim.later(60)
        assert found("".join(said).encode()) == []
    assert found(victim.log.encode()) == []


ECHOES: list[str | bytes] = [
    f'500 5.5.1 Command unrecognized: "AUTH PLAIN {PLAIN}"',
    f"535 5.7.8 wrong: {PLAIN[:30]}",
    f"501-5.5.2 you said\r\n501 5.5.2 {PLAIN}",
    f"AUTH PLAIN {PLAIN}\r\n".encode(),
    f"454 4.7.0 {PLAIN}, later",
    f"235 2.7.0 welcome {PLAIN}",
]


@pytest.mark.parametrize("said", [*ECHOES, SILENT])
def test_a_server_that_repeats_what_we_said_does_not_spread_it(tmp_path: Path, said: str | bytes) -> None:
    """In what is kept of the try, and told of it: outcomes and transcripts. MAIL fails where the login did not."""
    file = tmp_path / "password"
    file.write_text(PASSWORD)
    logins = Logins({"provider": Upstream(USER, file)}, lambda path: path.read_text())
    world = World()
    world.logins.mechanism = logins.mechanism  # type: ignore[method-assign]
    inside = "250-mx\r\n250 AUTH PLAIN"
    server = world.serve(
        EHLO=["250-mx\r\n250 STARTTLS", inside], STARTTLS="220 go", AUTH=said, MAIL=f"550 5.7.1 no, {PLAIN}"
    )
    carried = world.carry(hop=Hop(Via.MX, "example.net", tls="require", login="provider"), seconds=1000)
    assert [line for line in server.heard if PLAIN in line], "the password was needed"
    assert carried.outcomes[0].result is not Result.DELIVERED
    assert found(repr(carried).encode()) == []


@contextmanager
def daemon(folder: Path) -> Iterator[Relay]:
    """The real relay, with an account, and a next hop that refuses our login."""
    loopback = Loopback()
    address, onward = loopback.address(), loopback.address()
    (folder / "upstream").write_text(PASSWORD)
    (folder / "upstream").chmod(0o600)
    trustme.CA().issue_cert("relay.test").private_key_and_cert_chain_pem.write_to_path(folder / "relay.pem")
    with thread_of_sinks() as sinks:
        hop = sinks.listen(onward, free_port(onward), "hop.test")
        hop.extensions += ("AUTH CRAM-MD5 PLAIN",)
        settings = {
            "listen": [
                {
                    "address": f"{address}:{(port := free_port(address))}",
                    "auth": "offered",
                    "plaintext_auth": ["127.0.0.0/8"],
                }
            ],
            "tls": {"certificate": "relay.pem", "key": "relay.pem"},
            "accounts": "accounts.yml",
            "logins": {"provider": {"user": USER, "password_file": "upstream"}},
            "routes": [{"to": "*", "via": f"smtp://{hop.address}:{hop.port}", "login": "provider"}],
        }
        relay = Relay(folder, address, port, settings)
        relay.mta("account", "add", USER, "--password-stdin", stdin=PASSWORD)
        with running_relay(relay):
            yield relay


def test_all_output_and_all_of_the_spool(tmp_path: Path) -> None:
    """The daemon is told secrets in every way, right and wrong, and has to use one; then everything is searched."""
    with daemon(tmp_path) as relay:
        for lines in SAID:
            with Talk(relay.address, relay.port) as talk:
                talk.reply()
                talk.say("EHLO client.test")
                talk.send("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
                assert found(talk.reply().encode()) == []
        with Talk(relay.address, relay.port) as talk:
            talk.reply()
            talk.say("EHLO client.test")
            assert talk.say(f"AUTH PLAIN {PLAIN}").startswith("235 ")
            talk.say(f"MAIL FROM:<{USER}>")
            talk.say("RCPT TO:<bob@there.test>")
            talk.say("DATA")
            talk.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
            queue_id = talk.reply().split()[-1]
        relay.wait_until_deferred(queue_id)
        told = [relay.mta(*words).stdout for words in (["queue"], ["show", queue_id], ["show", queue_id, "--json"])]
        relay.stop()
        told.append(relay.output)
    assert "login" in told[-1], "there was something to tell"
    assert found("".join(told).encode("utf-8", "surrogateescape")) == []
    files = [one for one in relay.spool.rglob("*") if one.is_file()]
    assert files
    assert {str(one): found(one.read_bytes()) for one in files if found(one.read_bytes())} == {}
    assert found((tmp_path / "accounts.yml").read_bytes()) == []
