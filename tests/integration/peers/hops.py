"""Hops: Postfix behind many ports, each with something switched off or asked for, and Dovecot's accounts behind it."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import trustme

from .daemon import Relay
from .dovecot import Accounts, running_accounts
from .ground import greets, wait_until
from .postfix import Postfix, running_postfix

HOST = "mx.hops.test"
OTHER_NAME = "other.hops.test"  # the same host, by a name that does not stand in its certificate
DOMAIN = "hops.test"
USER, PASSWORD = "shop", "correct horse"

KEYWORDS = (
    "8bitmime", "auth", "chunking", "dsn", "enhancedstatuscodes", "etrn", "pipelining", "size", "smtputf8", "starttls",
    "vrfy",
)  # fmt: skip
MECHANISMS = ("plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256")

_LOGGED_IN = {
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_tls_security_level": "encrypt",
    "smtpd_client_restrictions": "permit_sasl_authenticated, reject",
}
_SERVICES: dict[str, dict[str, str]] = {
    "all": {},
    **{f"no-{word}": {"smtpd_discard_ehlo_keywords": word} for word in KEYWORDS},
    "silent": {"smtpd_discard_ehlo_keywords": "silent-discard, dsn, size"},
    "nothing": {"smtpd_discard_ehlo_keywords": ", ".join(KEYWORDS)},
    "old-tls": {"smtpd_tls_mandatory_protocols": "TLSv1", "smtpd_tls_protocols": "TLSv1"},
    "implicit": {"smtpd_tls_wrappermode": "yes"},
    "clear": {
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_tls_security_level": "none",
        "smtpd_tls_auth_only": "no",
        "smtpd_sasl_mechanism_filter": "plain, login",
    },
    **{f"by-{name}": {**_LOGGED_IN, "smtpd_sasl_mechanism_filter": name} for name in MECHANISMS},
    "no-login": {**_LOGGED_IN, "smtpd_discard_ehlo_keywords": "auth"},
    "login": _LOGGED_IN,
}
# Postfix does not look whether its logger has taken a line, and of very many some are lost: no count goes by those.
_TACITURN = frozenset({"login", *(f"by-{name}" for name in MECHANISMS)})


class Hops:
    """One Postfix, which takes mail for hops.test behind each of its ports. ports: by the names of the services.

    Its mailboxes have the names of the services, too. authority: whoever believes it can verify the certificate.
    """

    def __init__(self, folder: Path, address: str, reports: str) -> None:
        """reports: the address of the host that takes mail for sender.test."""
        self.postfix = Postfix(folder, address, HOST, DOMAIN, [*_SERVICES, "spare", "jürgen"])
        self.address = address
        self.authority = folder / "authority.pem"
        made = trustme.CA()
        made.cert_pem.write_to_path(self.authority)
        issued = made.issue_cert(HOST)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        (folder / "hops.pem").write_bytes(issued.private_key_pem.bytes() + chain)
        self.postfix.set(
            smtpd_tls_security_level="may",
            smtpd_tls_chain_files=f"{folder}/hops.pem",
            smtpd_sasl_type="dovecot",
            smtpd_sasl_path=f"{folder}/auth",
            smtpd_tls_auth_only="yes",
            smtpd_sasl_auth_enable="yes",
            smtpd_delay_reject="yes",
            transport_maps=f"inline:{{ {{ sender.test = smtp:[{reports}]:25 }} }}",
        )
        self.ports = {
            name: self.postfix.listen(name, verbose=name not in _TACITURN, **settings)
            for name, settings in _SERVICES.items()
        }
        self.accounts = Accounts(folder, {USER: PASSWORD}, MECHANISMS)

    def url(self, name: str, scheme: str = "smtp", host: str = HOST) -> str:
        """For `via:`."""
        return f"{scheme}://{host}:{self.ports[name]}"

    def route(self, name: str, recipient: str = "", **more: Any) -> dict[str, Any]:
        """A route for the mailbox of a service (or another one) over that service's port."""
        return {"to": f"{recipient or name}@{DOMAIN}", "via": self.url(name), **more}

    def heard(self, name: str, what: str) -> list[str]:
        """The commands at a service's port that hold some text."""
        return [line for line in self.postfix.heard(name) if what in line]

    def logged(self, name: str, pattern: str) -> list[str]:
        """The lines of the log that a service has written, and that match."""
        return re.findall(rf"^.*? {name}/smtpd\[[0-9]+\]: {pattern}.*$", self.postfix.log, re.MULTILINE)

    def mail_from(self, mailbox: str, sender: str) -> list[bytes]:
        """What a mailbox has from a sender."""
        top = f"Return-Path: <{sender}>\n".encode()
        return [message for message in self.postfix.mailbox(mailbox) if message.startswith(top)]

    def wait_for(self, mailbox: str, sender: str) -> bytes:
        """The one message that a mailbox has from a sender, once it is there."""
        [message] = wait_until(lambda: self.mail_from(mailbox, sender), f"{mailbox} has mail from {sender}")
        return message


@contextlib.contextmanager
def running_hops(hops: Hops) -> Iterator[Hops]:
    """Both, started, and stopped at the end."""
    with running_accounts(hops.accounts), running_postfix(hops.postfix):
        wait_until(lambda: greets(hops.address, hops.ports["login"]), "Postfix greets at its last port")
        yield hops


def attempts(relay: Relay, queue_id: str, count: int = 1) -> list[Mapping[str, Any]]:
    """The tries of a message, as `mta show --json` tells of them, once there are so many."""

    def told() -> list[Mapping[str, Any]]:
        found = [event for event in relay.story_of(queue_id)["events"] if event["event"] == "attempt"]
        return found if len(found) >= count else []

    return wait_until(told, f"{count} tries of {queue_id} are recorded", pause=0.1)
