"""Submission: a relay that people log in to, the ways into it, and what a client must know to take one of them."""

import contextlib
import hashlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import trustme

from .daemon import Relay, running_relay
from .ground import free_port
from .sinks import Sink

USER = "alice@client.test"
PASSWORD = "correct=horse,battery%20"  # the characters that one mechanism or another has a meaning for
ANY = "any"  # the mechanism of a client that may choose
OTHERS = ("bob@client.test", "carol@client.test", "dave@client.test")  # their password is the same
HELO = "client.test"  # the name that every client gives itself
SERVER = "relay.test"  # the name that stands in the relay's certificate, beside its address


class Way(StrEnum):
    """How a client and the relay come to speak SMTP."""

    PLAIN = "plain"
    STARTTLS = "starttls"
    IMPLICIT = "implicit"


class Papers:
    """A certificate authority of this run, with certificates for the relay and for one of its users, as files in PEM.

    authority: what clients trust, and what the relay believes about its users.
    """

    def __init__(self, folder: Path, address: str, user: str) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        made = trustme.CA()
        self.authority = folder / "authority.pem"
        made.cert_pem.write_to_path(self.authority)
        self.certificate, self.key = self._issue(made, folder / "relay", address, SERVER)
        self.user_certificate, self.user_key = self._issue(made, folder / "user", user)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 digest of the relay's certificate, in pairs of hexadecimal digits."""
        first, end, _ = self.certificate.read_text().partition("-----END CERTIFICATE-----")
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first + end)).digest().hex(":").upper()

    @staticmethod
    def _issue(authority: trustme.CA, stem: Path, *names: str) -> tuple[Path, Path]:
        issued = authority.issue_cert(*names)
        certificate, key = stem.with_suffix(".pem"), stem.with_suffix(".key")
        certificate.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        key.chmod(0o644)  # Postfix and Exim read it as users of their own
        return certificate, key


class Dsn(NamedTuple):
    """What a sender asks of RFC 3461. notify: as in NOTIFY. returned: FULL or HDRS."""

    notify: str
    returned: str
    envelope_id: str = ""


@dataclass(frozen=True)
class Letter:
    """One message. content: CRLF at the end of lines, without transparency."""

    sender: str
    recipient: str
    content: bytes
    dsn: Dsn | None = None


@dataclass(frozen=True)
class Desk:
    """Where a message is handed in, and who does.

    mechanism: in capitals as SMTP has it, or `ANY`; "" for a client that does not log in. folder: for files of the
    client's own.
    """

    address: str
    port: int
    way: Way
    mechanism: str
    user: str
    password: str
    papers: Papers
    folder: Path


class Sent(NamedTuple):
    """How it went. status: 0 where the client takes the letter for sent. text: what it said, the dialogue if it can."""

    status: int
    text: str


Client = Callable[[Desk, Letter], Sent]
"""A client: hands in one letter at a desk, and has ended when this returns."""


@dataclass(frozen=True)
class Office:
    """A relay with accounts, which hands all mail to one next hop.

    It has a listener for each of: login or none, implicit TLS or not. Only 127.0.0.1 may do without a login.
    """

    relay: Relay
    papers: Papers
    hop: Sink
    ports: dict[tuple[bool, bool], int]

    def desk(self, way: Way, mechanism: str, folder: Path, user: str = USER, password: str = PASSWORD) -> Desk:
        """One of its desks, for a client that has its files in a folder."""
        port = self.ports[bool(mechanism), way is Way.IMPLICIT]
        return Desk(self.relay.address, port, way, mechanism, user, password, self.papers, folder)


@contextlib.contextmanager
def open_office(folder: Path, address: str, papers: Papers, hop: Sink) -> Iterator[Office]:
    """The relay, started; its accounts are those of `USER` and `OTHERS`."""
    ports = {(login, implicit): free_port(address) for login in (False, True) for implicit in (False, True)}
    listeners = [
        {
            "address": f"{address}:{port}",
            "tls": "implicit" if implicit else "offered",
            "auth": "required" if login else "none",
            **({"plaintext_auth": ["127.0.0.1/32"], "client_ca": str(papers.authority)} if login else {}),
        }
        for (login, implicit), port in ports.items()
    ]
    settings = {
        "listen": listeners,
        "relay": {"networks": ["127.0.0.1/32"]},
        "routes": [{"to": "*", "via": f"smtp://{hop.address}:{hop.port}"}],
        "tls": {"certificate": str(papers.certificate), "key": str(papers.key)},
        "accounts": "accounts.yml",
    }
    relay = Relay(folder, address, ports[False, False], settings)
    for user in (USER, *OTHERS):
        relay.mta("account", "add", user, "--password-stdin", "--cram-md5", stdin=PASSWORD)
    with running_relay(relay):
        yield Office(relay, papers, hop, ports)
