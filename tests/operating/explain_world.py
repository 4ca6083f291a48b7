"""One mail, explained and then sent: a whole relay in a simulated world, with all that it needs drawn from a seed.

The composition root builds the relay. Its reactor, its chance, the DNS and those around it are simulated; all that
decides is real, as are the sessions on both sides and the queue file.
"""

import io
import json
from base64 import b64encode
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import argon2
from simulated.network import START, Process, World
from simulated.people import Server, ServerSession, Talk
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.protocol import ClientCreator, Protocol
from twisted.internet.task import Clock

from mta.config.accounts_text import entry
from mta.config.load import load
from mta.config.model import Config
from mta.dns.memory import MemoryResolver, Name
from mta.ground import Ground
from mta.message.envelope import parse_queue_id
from mta.message.timeline import Event
from mta.operating.asking import ask
from mta.operating.explain import Explainer, Explanation
from mta.parts import finder
from mta.policy.account import Account
from mta.policy.exchangers import Exchanger
from mta.policy.pattern import Pattern
from mta.service import Relay
from mta.spool.desk import Desk

RELAY = "192.0.2.1"
FRIEND, STRANGER = "198.51.100.7", "203.0.113.250"
CONTENT = (
    b"From: a@client.test\r\nDate: Fri, 15 Jan 2027 08:00:00 +0000\r\nMessage-ID: <a@client.test>\r\n\r\nhello\r\n"
)
ACCOUNT, PASSWORD = "alice@client.test", "pencil"
SOON = 60.0  # seconds in which the first try has ended; the second one comes after five minutes

OURS = ("ours.test", "also.test", "sub.ours.test")
THEIRS = ("up.test", "even.test", "plain.test", "null.test", "gone.test", "unknown.test", "self.test", "half.test")
LOCAL = ("anna", "bert", "office", "circle", "round", "team", "crew", "old", "former", "postmaster", "nobody")
HOSTS = {f"mx{number}.hosts.test": f"203.0.113.{number}" for number in range(1, 7)}
STORE, SMART = "store.test", "smart.test"


class Case(NamedTuple):
    """A configuration, the world around it, and a mail. up: the addresses and ports where somebody answers. account:
    who logs in, "" for nobody. senders: what that account may send as."""

    settings: dict[str, Any]
    directory: dict[str, Any]
    zones: dict[str, Name]
    failures: set[str]
    up: frozenset[tuple[str, int]]
    client: str
    account: str
    senders: list[str]
    sender: str
    address: str


class Seen(NamedTuple):
    """What has really become of it. reply: to `command`. ends: pairs of an address and a word with the reply of what
    was refused by us. expanded: into whom; None where it was not. tried: hosts in order, by destination. taken: pairs
    of a reverse-path and an address that some server took it for. waits: seconds from a try to the next one."""

    command: str
    reply: str
    ends: set[tuple[str, str]]
    expanded: set[str] | None
    tried: dict[str, list[str]]
    taken: set[tuple[str, str]]
    waits: set[float]


def draw(seed: int) -> Case:
    """A case."""
    chance = Random(f"explain/{seed}")
    zones, failures = _dns(chance)
    up = frozenset((address, port) for address in _addresses(zones) for port in (24, 25, 2525) if chance.random() < 0.6)
    directory = {domain: _names(chance, domain) for domain in OURS if chance.random() < 0.75}
    settings = {
        "hostname": "relay.test",
        "postmaster": chance.choice(["postmaster@relay.test", "anna@ours.test", "boss@up.test"]),
        "spool": "spool",
        "listen": [{"address": f"{RELAY}:25", "source_routes": chance.choice(["strip", "follow", "refuse"])}],
        "relay": {
            "networks": ["198.51.100.0/24"],
            "domains": [domain for domain in (*OURS, "relay.test", ".ours.test") if chance.random() < 0.6],
        },
        "routes": [_route(chance) for _ in range(chance.randrange(6))],
        "dns": {"private_exchangers": chance.choice(["allow", "allow", "refuse"])},
        "admin": {"listen": None},
    }
    settings |= {"directory": "directory.yml"} if directory else {}
    account = ""
    if chance.random() < 0.3:
        auth = chance.choice(["offered", "offered", "required"])
        settings["listen"][0] |= {"auth": auth, "plaintext_auth": ["198.51.100.0/24", "203.0.113.0/24"]}
        settings["accounts"] = "accounts.yml"
        account = chance.choice([ACCOUNT, ACCOUNT, ""])
    senders = chance.choice([[], [], ["alice@client.test"], ["*@ours.test", "root@relay.test"]])
    client = chance.choice([FRIEND, FRIEND, STRANGER])
    return Case(settings, directory, zones, failures, up, client, account, senders, _sender(chance), _recipient(chance))


def _dns(chance: Random) -> tuple[dict[str, Name], set[str]]:
    zones = {name: Name(a=[address]) for name, address in HOSTS.items()}
    for name in chance.sample(list(HOSTS), 2):
        zones[name].aaaa.append(f"2001:db8::{len(zones)}:{name[2]}")
        zones[name].a.append(f"10.0.0.{name[2]}")
    hosts = [*HOSTS, "missing.hosts.test"]

    def some(number: int, preferences: range) -> list[Exchanger]:
        return [Exchanger(chance.choice(preferences), host) for host in chance.sample(hosts, number)]

    zones["up.test"] = Name(mx=some(3, range(10, 40, 10)))
    zones["even.test"] = Name(mx=some(3, range(10, 11)))
    zones["plain.test"] = Name(a=["203.0.113.20"])
    zones["null.test"] = Name(mx=[Exchanger(0, "")])
    zones["unknown.test"] = Name(mx=[Exchanger(10, "unknown.hosts.test"), *some(1, range(5, 20, 10))])
    # Not of one preference with another host: then chance decides whether that one gets the mail.
    zones["self.test"] = Name(mx=[Exchanger(10, "alias.hosts.test"), *some(1, range(5, 20, 10))])
    zones["alias.hosts.test"] = Name(a=[RELAY])
    zones["half.test"] = Name(mx=[Exchanger(20, "relay.test"), *some(3, range(10, 40, 10))])
    zones["relay.test"] = Name(a=[RELAY])
    zones |= {domain: Name(mx=some(2, range(10, 30, 10))) for domain in OURS}
    zones |= {STORE: Name(a=["203.0.113.30"]), SMART: Name(a=["203.0.113.31", "203.0.113.32"])}
    return zones, {"unknown.hosts.test", chance.choice([*THEIRS, "nothing.test"])}


def _addresses(zones: dict[str, Name]) -> list[str]:
    return sorted({address for zone in zones.values() for address in (*zone.a, *zone.aaaa)} - {RELAY})


def _names(chance: Random, domain: str) -> dict[str, Any]:
    """The local names of a domain; some of them lead in circles."""

    def somebody() -> str:
        away = f"{chance.choice(['joe', 'Sue'])}@{chance.choice(THEIRS)}"
        return chance.choice([*LOCAL, *LOCAL, f"{chance.choice(LOCAL)}@{chance.choice(OURS)}", away, away])

    def some() -> list[str]:
        return [somebody() for _ in range(chance.choice([1, 1, 2, 3, 5]))]

    section: dict[str, Any] = {
        "aliases": {name: some() for name in ("office", "circle", "round") if chance.random() < 0.8},
        "lists": {name: {"members": some(), "owner": somebody()} for name in ("team", "crew") if chance.random() < 0.8},
        "moved": {
            name: {"to": f"new@{chance.choice([*THEIRS, *OURS])}", "forward": chance.random() < 0.6}
            for name in ("old", "former")
            if chance.random() < 0.8
        },
    }
    if chance.random() < 0.6:
        section["mailboxes"] = {name: {} for name in ("anna", "bert") if chance.random() < 0.8}
    if chance.random() < 0.3:
        section["aliases"]["postmaster"] = some()
    return section


def _route(chance: Random) -> dict[str, Any]:
    to = [*OURS, ".ours.test", "*", "anna@ours.test", "joe@up.test", "postmaster@relay.test", *THEIRS]
    sender = ["<>", "*@client.test", "alice@client.test", "anna@ours.test", ".test", "*"]
    via = chance.choice(
        [
            *("mx", "discard", "550 5.7.1 closed", "451 4.7.1 not now"),
            *(f"lmtp://{STORE}", f"smtp://{SMART}:2525", "smtp://203.0.113.5", "smtp://nowhere.test"),
        ]
    )
    route = {"via": via}
    kind = chance.randrange(3)
    route |= {"to": chance.choice(to)} if kind != 1 else {}
    route |= {"from": chance.choice(sender)} if kind != 0 else {}
    if "//" in via or via == "mx":
        route |= {"tls": chance.choice(["may", "may", "none", "require"])}
    return route


def _sender(chance: Random) -> str:
    paths = ["alice@client.test", "anna@ours.test", "joe@up.test", "", "root", "@hop.test:alice@client.test"]
    return chance.choice([*paths, *paths[:4], *paths[:4]])


def _recipient(chance: Random) -> str:
    local = chance.choice([*LOCAL, "office", "team", "crew", "team"])
    match chance.choices(("local", "away", "routed", "odd"), (10, 6, 3, 4))[0]:
        case "local":
            return f"{local}@{chance.choice(OURS)}"
        case "away":
            return f"joe@{chance.choice(THEIRS)}"
        case "routed":
            hosts = chance.choice([["relay.test"], ["up.test"], ["relay.test", chance.choice([*OURS, *THEIRS])]])
            return f"{','.join(f'@{host}' for host in hosts)}:{local}@{chance.choice([*OURS, *THEIRS])}"
        case _:
            bare = ["postmaster", "Postmaster@Relay.Test", "root", "joe@", "two words@ours.test"]
            literal = ["joe@[203.0.113.5]", "joe@[10.0.0.9]"]
            return chance.choice(
                [*bare, *literal, f"{local.upper()}@Ours.Test", "joe%up.test@ours.test", f"{local}@other.test"]
            )


def written(case: Case, folder: Path) -> Config:
    """Its configuration, in a folder with its spool."""
    (folder / "directory.yml").write_text(json.dumps(case.directory))  # which is YAML, and sooner written
    patterns = tuple(map(Pattern.parse, case.senders))
    (folder / "accounts.yml").write_text(entry(Account(ACCOUNT, _hashed(), senders=patterns)))
    (folder / "accounts.yml").chmod(0o600)
    (folder / "mta.yml").write_text(json.dumps(case.settings))
    return load(folder / "mta.yml")


@cache
def _hashed() -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


def explained(case: Case, config: Config) -> Explanation:
    """What is said of it beforehand."""
    clock = Clock()
    clock.rightNow = START
    resolver = _resolver(case, clock)
    question = ask(config, case.address, f"<{case.sender}>", case.client, case.account)
    with Desk(config.spool) as desk:
        explaining = Explainer(config).explain(question, finder(config, resolver, Random(1)), START, desk.outlook)
        results: list[Any] = []
        ensureDeferred(explaining).addBoth(results.append)
    assert isinstance(results[0], Explanation), results[0].getTraceback()
    return results[0]


def _resolver(case: Case, clock: Any) -> MemoryResolver:
    resolver = MemoryResolver(clock, case.zones)
    resolver.failures = set(case.failures)
    return resolver


class _Lines(io.StringIO):
    """Where the log goes."""

    def __call__(self, line: str) -> None:
        self.write(line + "\n")


class _LmtpSession(ServerSession):
    """A mail store: LMTP answers the content once for each recipient (RFC 2033 4.2)."""

    def _command(self, line: str) -> None:
        super()._command(f"EHLO{line[4:]}" if line.startswith("LHLO") else line)

    def _say(self, reply: str) -> bool:
        for _ in self._recipients[1:] if reply == "250 2.0.0 taken" else ():
            super()._say(reply)
        return super()._say(reply)


class LmtpServer(Server):
    """A mail store."""

    def buildProtocol(self, addr: object) -> Protocol:
        return _LmtpSession(self)


def happened(case: Case, config: Config) -> Seen:
    """Send it, and see what becomes of it up to the end of its first try."""
    world = World()
    servers = [
        (LmtpServer if port == 24 else Server)(world, "host.test", address, port=port)
        for address, port in sorted(case.up)
    ]
    process = Process(world, RELAY)
    ground = Ground(
        process, _Lines(), Random(2), inline=True, resolver=lambda reactor, _: _resolver(case, reactor), poll=86_400.0
    )
    relay = Relay(config, ground)
    relay.startService()
    try:
        asked: list[tuple[str, str, int]] = []
        failed: list[Any] = []
        Deferred.fromCoroutine(_hand_over(world, case)).addCallbacks(asked.append, failed.append)
        world.run(SOON)
        assert not failed, failed[0].getTraceback()
        ((command, reply, number),) = asked
        if not number:
            return Seen(command, reply, set(), None, {}, set(), set())
        with Desk(config.spool, world.seconds) as desk:
            story = desk.story(number)
        assert story is not None
        taken = {(one.sender, to) for server in servers for one in server.taken for to in one.recipients}
        waits = {float(detail["next"]) - at for at, kind, detail in story.events if kind == "deferred"}
        return Seen(command, reply, _ends(story.events), _into(story.events), _tried(story.events), taken, waits)
    finally:
        stopped: list[Any] = []
        relay.stopService().addBoth(stopped.append)
        assert world.run_until(lambda: stopped, 30), "the relay does not stop"


async def _hand_over(world: World, case: Case) -> tuple[str, str, int]:
    """As a client: the command that decides, the reply to it, and the queue id; 0 where there is none."""
    process = Process(world, case.client)
    talk: Talk = await ClientCreator(process, Talk, world, case.client).connectTCP(RELAY, 25)
    await talk.replies(1)
    await talk.ask("EHLO client.test")
    if case.account:
        response = b64encode("\0".join(["", case.account, PASSWORD]).encode()).decode()
        (welcome,) = await talk.ask(f"AUTH PLAIN {response}")
        assert welcome.startswith("235"), welcome
    (mail,) = await talk.ask(f"MAIL FROM:<{case.sender}>")
    if not mail.startswith("2"):
        return "MAIL", mail, 0
    (rcpt,) = await talk.ask(f"RCPT TO:<{case.address}>")
    if not rcpt.startswith("2"):
        return "RCPT", rcpt, 0
    await talk.ask("DATA")
    final = await talk.send(CONTENT)
    assert final.startswith("250 2.0.0 queued as "), final
    talk.transport.loseConnection()
    return "RCPT", rcpt, parse_queue_id(final.split()[-1]) or 0


def _ends(events: tuple[Event, ...]) -> set[tuple[str, str]]:
    """Each recipient and what became of it; whoever waits now is deferred."""
    found = set()
    for _, kind, detail in events:
        if kind not in ("delivered", "failed", "discarded", "deferred"):
            continue
        reply = f" {detail['reply']}" if kind in ("failed", "deferred") and "host" not in detail else ""
        found |= {(address, f"{kind}{reply}") for address in _list(detail["recipients"])}
    return found


def _into(events: tuple[Event, ...]) -> set[str] | None:
    into = [detail["into"] for _, kind, detail in events if kind == "expanded"]
    return set(_list(into[0])) if into else None


def _tried(events: tuple[Event, ...]) -> dict[str, list[str]]:
    tried: dict[str, list[str]] = {}
    for _, kind, detail in events:
        if kind == "attempt" and "[" in str(detail["host"]) and detail["reply"] != "this relay itself":
            tried.setdefault(str(detail["destination"]), []).append(str(detail["host"]))
    return {name: list(dict.fromkeys(hosts)) for name, hosts in tried.items()}


def _list(value: Any) -> list[str]:
    assert isinstance(value, list)
    return value
