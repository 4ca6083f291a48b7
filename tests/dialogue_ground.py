"""What all dialogues are played on: one configuration, for the relay in memory and for the daemon alike.

Names, accounts and networks are the same everywhere; the words of a `With:` line choose a listener and a client.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import argon2
import trustme
import yaml
from scramp import ScramMechanism

from mta.config.accounts_text import entry
from mta.policy.account import Account, ScramForm
from mta.policy.pattern import Pattern

HOSTNAME = "mail.example.org"
STRANGER = "127.66.0.8"
TRUSTED = "127.66.0.9"  # may relay
BOTH = ["127.66.0.8/31"]
BEHIND_PROXIES = "192.0.2.0/24"  # may relay, too: whom a proxy speaks for

_LISTENER = {"tls", "bare_lf", "source_routes", "vrfy", "auth"}
_SWITCHES = {
    "auth_equals": ("auth_equals", True),
    "plaintext_auth": ("plaintext_auth", BOTH),
    "etrn": ("etrn", BOTH),
    "proxy": ("proxy_protocol", BOTH),
    "xclient": ("xclient", BOTH),
    "certificate": ("client_ca", "authority.pem"),
}
_RELAY = {"message_size": 0, "recipients": 5}
_CLIENT = {"relaying"}

DIRECTORY = """\
example.org:
  mailboxes:
    jean.dupont: {name: Jean Dupont}
    anne.dupont: {name: Anne Dupont}
    jones: {name: Indiana Jones}
    brown:
    andré: {name: André Martin}
    zoe: {name: Zoé Martin}
  aliases:
    postmaster: [jean.dupont]
    office: [jean.dupont, brown]
    circle: [round]
    round: [circle]
  lists:
    team: {name: The team, members: [jean.dupont, guest@else.example], owner: jean.dupont}
    everybody: {name: All of us, members: [team, anne.dupont, everybody, brown], owner: postmaster}
    friends: {members: [andré]}
  moved:
    old.name: {to: new.name@else.example, forward: true}
    former: {to: former@else.example, forward: false}
"""


def listener(settings: dict[str, str]) -> dict[str, Any]:
    """The keys of an entry of `listen`, without its address."""
    keys: dict[str, Any] = {"tls": "none", "auth": "none"}
    for word, value in settings.items():
        if word in _LISTENER:
            keys[word] = value
        elif word in _SWITCHES:
            assert value == "yes", f"{word}={value}"
            name, wanted = _SWITCHES[word]
            keys[name] = list(wanted) if isinstance(wanted, list) else wanted  # YAML would make an alias of the same
        else:
            assert word in _RELAY or (word in _CLIENT and value == "yes"), f"no setting: {word}={value}"
    return keys


def whole(settings: dict[str, str]) -> tuple[int, int]:
    """What holds for a relay as a whole: message_size and recipients."""
    size, recipients = (int(settings.get(word, default)) for word, default in _RELAY.items())
    return size, recipients


def client_address(settings: dict[str, str]) -> str:
    return TRUSTED if settings.get("relaying") == "yes" else STRANGER


def configuration(message_size: int, recipients: int, listeners: list[dict[str, Any]]) -> dict[str, Any]:
    """The keys of a relay's configuration. Its folder has the files that `write_files` writes."""
    return {
        "hostname": HOSTNAME,
        "spool": "spool",
        "listen": listeners,
        "tls": {"certificate": "server.pem", "key": "server.pem"},
        "relay": {"networks": [f"{TRUSTED}/32", BEHIND_PROXIES], "domains": ["example.org", "example.net"]},
        "accounts": "accounts.yml",
        "directory": "directory.yml",
        "routes": [
            {"to": "closed@example.net", "via": "550 5.2.1 this mailbox takes no mail"},
            # Where nobody listens, so that mail waits there.
            {"to": "dead.example", "via": "smtp://127.66.0.7:9", "name": "dead"},
            {"to": "*", "via": "discard"},
        ],
        "retry": {"after": ["1h"], "warn": "never"},
        "limits": {"message_size": message_size, "recipients": recipients},
        "admin": {"listen": None},
    }


def write_files(folder: Path) -> None:
    """Certificates, accounts and directory."""
    folder.mkdir(exist_ok=True)
    server, client, authority = _certificates()
    (folder / "server.pem").write_bytes(server)
    (folder / "client.pem").write_bytes(client)
    (folder / "authority.pem").write_bytes(authority)
    (folder / "directory.yml").write_text(DIRECTORY)
    accounts = folder / "accounts.yml"
    accounts.write_text(_accounts())
    accounts.chmod(0o600)


def write_configuration(folder: Path, settings: dict[str, str]) -> Path:
    """A whole configuration for one dialogue, for who reads it without listening anywhere."""
    write_files(folder)
    entry = {"address": "127.66.0.1:25", **listener(settings)}
    path = folder / "mta.yml"
    path.write_text(yaml.safe_dump(configuration(*whole(settings), [entry])))
    return path


@lru_cache
def _certificates() -> tuple[bytes, bytes, bytes]:
    """Of the server and of a client, each with its key, and of the authority that has signed both."""
    authority = trustme.CA()
    server = authority.issue_cert(HOSTNAME)
    client = authority.issue_cert("alice@example.org")
    return (
        server.private_key_and_cert_chain_pem.bytes(),
        client.private_key_and_cert_chain_pem.bytes(),
        authority.cert_pem.bytes(),
    )


@lru_cache
def _accounts() -> str:
    """alice, who has every form of the password "pencil" and may send as some; bob, with "eraser", as anybody."""
    alice = Account(
        "alice@example.org",
        argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("pencil"),
        _scram("SCRAM-SHA-1"),
        _scram("SCRAM-SHA-256"),
        "pencil",
        (Pattern.parse("alice@example.org"), Pattern.parse("*@shop.example")),
    )
    bob = Account("bob", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("eraser"))
    return entry(alice) + entry(bob)


def _scram(mechanism: str) -> ScramForm:
    salt, stored, server, iterations = ScramMechanism(mechanism).make_auth_info("pencil", 4096, b"0123456789abcdef")
    return ScramForm(mechanism, iterations, salt, stored, server)
