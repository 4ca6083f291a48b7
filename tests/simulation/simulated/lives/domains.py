"""Who is who around a relay that lives a life: domains, hosts, local names, and the configuration that knows them."""

from __future__ import annotations

from pathlib import Path

from mta.config.load import load
from mta.config.model import Config
from mta.dns.memory import Name
from mta.policy.exchangers import Exchanger
from simulated.scenario import RELAY

REMOTE = ("one.test", "two.test", "smart.test", "dead.test", "gone.test", "discard.test")
DOMAINS = {  # who takes mail for whom, the first one preferred
    "one.test": ("mx1.one.test",),
    "two.test": ("mx1.two.test", "mx2.two.test"),
    "dead.test": ("mx.dead.test",),
    "client.test": ("mail.client.test",),
    "relay.test": ("mail.client.test",),  # the postmaster's mailbox
}
HOSTS = {
    "mx1.one.test": "203.0.113.1",
    "mx1.two.test": "203.0.113.2",
    "mx2.two.test": "203.0.113.3",
    "mx.dead.test": "203.0.113.4",
    "mail.client.test": "203.0.113.5",
    "smart.host.test": "203.0.113.6",
    "store.host.test": "203.0.113.7",
    "elsewhere.test": "203.0.113.8",
    RELAY: RELAY,
}
TAKERS = {  # hosts that may have mail for a domain
    **DOMAINS,
    "smart.test": ("smart.host.test",),
    "local.test": ("store.host.test",),
}
NOBODY_LISTENS = "mx.dead.test"

MAILBOXES = ("jean@local.test", "anne@local.test")
ALIAS, LIST, MOVED, UNKNOWN = "info@local.test", "team@local.test", "old@local.test", "who@local.test"
REFUSED = "no@refused.test"
EXPANSIONS = {
    ALIAS: ("jean@local.test", "info@one.test"),
    LIST: ("anne@local.test", "member@two.test", "nobody@one.test"),
    MOVED: ("old@two.test",),
}
OWNER = "jean@local.test"

_CONFIGURATION = """
hostname: relay.test
spool: spool
listen: [{{address: "{relay}:25"}}]
relay: {{networks: [198.51.100.0/24], domains: [local.test]}}
directory: directory.yml
routes:
  - {{to: discard.test, via: discard}}
  - {{to: refused.test, via: "550 5.7.1 no mail goes there"}}
  - {{to: smart.test, via: "smtp://203.0.113.6"}}
  - {{to: local.test, via: "lmtp://203.0.113.7:24"}}
retry: {{after: [{after}], warn: {warn}, give_up: {give_up}}}
history: 100d
"""
_DIRECTORY = f"""
local.test:
  mailboxes: {{jean: {{}}, anne: {{}}}}
  aliases: {{info: [{", ".join(EXPANSIONS[ALIAS])}]}}
  lists: {{team: {{members: [{", ".join(EXPANSIONS[LIST])}], owner: {OWNER}}}}}
  moved: {{old: {{to: {EXPANSIONS[MOVED][0]}, forward: true}}}}
"""


def configuration(folder: Path, retry: tuple[str, str, str]) -> Config:
    """The relay's configuration, from files in this folder; its spool is there as well."""
    after, warn, give_up = retry
    text = _CONFIGURATION.format(relay=RELAY, after=after.replace(" ", ", "), warn=warn, give_up=give_up)
    (folder / "mta.yml").write_text(text)
    (folder / "directory.yml").write_text(_DIRECTORY)
    return load(folder / "mta.yml")


def zones() -> dict[str, Name]:
    """The DNS when all is well. gone.test is not in it."""
    domains = {
        domain: Name(mx=[Exchanger(10 * number, host) for number, host in enumerate(hosts, 1)])
        for domain, hosts in DOMAINS.items()
    }
    return domains | {host: Name(a=[address]) for host, address in HOSTS.items() if host != RELAY}


def domain_of(address: str) -> str:
    """Of a mailbox."""
    return address.rpartition("@")[2]


def expanded(address: str) -> tuple[str, ...]:
    """Who gets mail for a recipient."""
    return EXPANSIONS.get(address, (address,))
