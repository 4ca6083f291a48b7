"""Local names of the directory: who gets their mail, what is said of them, and queues that are started by ETRN."""

from collections.abc import Iterator

import pytest
import yaml
from peers.clients import Talk
from peers.daemon import Relay, running_relay
from peers.ground import Loopback, free_port
from peers.knot import Dns
from peers.sinks import MakeSink, Sink, Sinks
from peers.speaking import hand_in
from reading import read_report

CONTENT = (
    b"From: a@sender.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <names@sender.test>\r\n"
    b"Subject: names\r\n\r\nbody\r\n"
)
OWNER = "owner@sender.test"
DIRECTORY = {
    "names.test": {
        "mailboxes": {
            "jean.dupont": {"name": "Jean Dupont"},
            "anne.dupont": {"name": "Anne Dupont"},
            "jones": {"name": "Indiana Jones"},
        },
        "aliases": {
            "office": ["jones", "far@far.test", "jean.dupont"],
            "boss": ["anne.dupont"],
            "lost": ["gone@far.test", "jones"],
        },
        "lists": {
            "team": {"name": "The team", "members": ["jean.dupont", "far@far.test", "gone@far.test"], "owner": OWNER},
            "all": {"members": ["team", "jones", "all"], "owner": "boss"},
        },
        "moved": {
            "old.name": {"to": "new.name@far.test", "forward": True},
            "former": {"to": "former@far.test", "forward": False},
        },
    }
}
STRANGER = "127.0.0.2"  # a client that may not relay


@pytest.fixture(scope="module")
def hosts(sinks: Sinks, loopback: Loopback, dns: Dns) -> Iterator[tuple[Sink, Sink]]:
    """The store of names.test, and the host of far.test, where gone@far.test is not."""
    store, far = (sinks.listen(loopback.address(), 25, name) for name in ("store.names.test", "mx.far.test"))
    far.always("RCPT gone@far.test", "550 5.1.1 gone for good")
    dns.zone("far.test", f"@ MX 10 mx\nmx A {far.address}\n*.below MX 10 mx")
    yield store, far
    for one in (store, far):
        sinks.pause(one)


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, loopback: Loopback, dns: Dns, hosts: tuple[Sink, Sink]
) -> Iterator[Relay]:
    """A relay that knows the names, and tries again after an hour only."""
    address = loopback.address()
    folder = tmp_path_factory.mktemp("names")
    (folder / "directory.yml").write_text(yaml.safe_dump(DIRECTORY, sort_keys=False))
    settings = {
        "listen": [
            {"address": f"{address}:{port}", "tls": "none"} for port in (free_port(address), free_port(address))
        ],
        "relay": {"networks": ["127.0.0.1/32"], "domains": ["names.test"]},
        "directory": "directory.yml",
        "routes": [{"to": "names.test", "via": f"smtp://{hosts[0].address}:25", "name": "store"}],
        "retry": {"after": ["1h"], "warn": "never", "give_up": "5d"},
        "dns": {"nameservers": [dns.nameserver]},
    }
    port = int(str(settings["listen"][0]["address"]).rpartition(":")[2])  # type: ignore[index]
    with running_relay(Relay(folder, address, port, settings)) as running:
        yield running


def test_an_alias_reaches_everybody_from_the_same_sender(relay: Relay, hosts: tuple[Sink, Sink], sender: str) -> None:
    store, far = hosts
    before = len(far.messages_for("far@far.test"))
    queue_id = hand_in(relay, sender, ["office@names.test"], CONTENT)
    [near] = [one for one in store.wait_for("jones@names.test") if one.sender == sender]
    distant = far.wait_for("far@far.test", before + 1)[-1]
    assert sorted(near.recipients) == ["jean.dupont@names.test", "jones@names.test"]
    assert distant.sender == sender
    assert abs(near.at - distant.at) < 2, "all at once"
    assert near.content.endswith(CONTENT)
    relay.wait_until_gone(queue_id)
    story = relay.story_of(queue_id)
    states = {one["address"]: one["state"] for one in story["recipients"]}
    assert states == {
        "office@names.test": "expanded",
        "jones@names.test": "delivered",
        "jean.dupont@names.test": "delivered",
        "far@far.test": "delivered",
    }
    told = relay.story(queue_id)
    assert "office@names.test expanded into jones@names.test, far@far.test, jean.dupont@names.test" in told


def test_a_list_goes_on_from_its_owner_who_hears_of_failures(
    relay: Relay, hosts: tuple[Sink, Sink], senders: Sink, sender: str
) -> None:
    store, far = hosts
    told_before = len(senders.messages_for(OWNER))
    queue_id = hand_in(relay, sender, ["all@names.test"], CONTENT)
    relay.wait_until_gone(queue_id)
    by_owner = [one for one in store.taken if one.sender == OWNER]
    assert [one.recipients for one in by_owner] == [["jean.dupont@names.test"]]
    by_boss = [one for one in store.taken if one.sender == "boss@names.test"]
    assert [one.recipients for one in by_boss] == [["jones@names.test"]], "once, though the list is one of its members"
    assert [one.recipients for one in far.taken if one.sender == OWNER] == [["far@far.test"]]
    bounce = senders.wait_for(OWNER, told_before + 1)[-1]
    report = read_report(bounce.content)
    assert (report.about("gone@far.test")["action"], report.about("gone@far.test")["status"]) == ("failed", "5.1.1")
    assert bounce.sender == ""
    assert not senders.messages_for(sender), "whoever wrote to the list hears nothing of its members"
    assert "gone@far.test" in relay.story(queue_id)


def test_the_failure_of_an_alias_goes_to_the_sender(relay: Relay, senders: Sink, sender: str, hosts: object) -> None:
    hand_in(relay, sender, ["lost@names.test"], CONTENT)
    [bounce] = senders.wait_for(sender)
    fields = read_report(bounce.content).about("gone@far.test")
    assert (fields["status"], fields["original-recipient"]) == ("5.1.1", "rfc822;lost@names.test")


def test_moved_users_and_unknown_ones(relay: Relay, hosts: tuple[Sink, Sink], sender: str) -> None:
    with Talk(relay.address, relay.port, STRANGER) as talk:
        talk.reply()
        for command, reply in (
            ("EHLO client.test", "250"),
            (f"MAIL FROM:<{sender}>", "250 2.1.0"),
            ("RCPT TO:<unknown@names.test>", "550 5.1.1"),
            ("RCPT TO:<former@names.test>", "551 5.1.6 User not local; please try <former@far.test>"),
            ("RCPT TO:<far@far.test>", "550 5.7.1"),
            ("RCPT TO:<old.name@names.test>", "251 2.1.5 User not local; will forward to <new.name@far.test>"),
            ("DATA", "354"),
            (CONTENT.decode() + ".", "250 2.0.0 queued as"),
        ):
            assert talk.say(command).startswith(reply), command
    [forwarded] = hosts[1].wait_for("new.name@far.test")
    assert (forwarded.sender, forwarded.recipients) == (sender, ["new.name@far.test"])
    assert forwarded.content.endswith(CONTENT)


def test_names_are_told_to_those_who_may_relay(relay: Relay) -> None:
    said = {
        "VRFY Jean Dupont": "250 2.1.5 Jean Dupont <jean.dupont@names.test>",
        "VRFY jones@names.test": "250 2.1.5 Indiana Jones <jones@names.test>",
        "VRFY dupont": "553-5.1.4 Ambiguous; possibilities are\n"
        "553-5.1.4 Jean Dupont <jean.dupont@names.test>\n553 5.1.4 Anne Dupont <anne.dupont@names.test>",
        "VRFY team": "550 5.1.0 That is a mailing list, not a user",
        "EXPN team": "250-2.1.5 Jean Dupont <jean.dupont@names.test>\n"
        "250-2.1.5 <far@far.test>\n250 2.1.5 <gone@far.test>",
        "EXPN jones": "550 5.1.0 That is a user, not a mailing list",
    }
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        assert {command: talk.say(command) for command in said} == said
        assert talk.say("VRFY nobody").startswith("550 5.1.1")
        assert talk.say("VRFY far@far.test").startswith("252 ")
    with Talk(relay.address, relay.port, STRANGER) as talk:
        talk.reply()
        for command in said:
            assert talk.say(command)[:4] in ("252 ", "502 "), command


def etrn(relay: Relay, node: str, source: str = "") -> str:
    with Talk(relay.address, relay.port, source) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        return talk.say(f"ETRN {node}")


def test_etrn_starts_a_queue(relay: Relay, hosts: tuple[Sink, Sink], sender: str) -> None:
    store, far = hosts
    wanted = {
        "waits@far.test": (far, "far.test"),
        "waits@deep.below.far.test": (far, "@below.far.test"),
        "anne.dupont@names.test": (store, "#store"),
    }
    for address, (host, _) in wanted.items():
        host.script(f"RCPT {address}", "450 4.2.1 come back later")
    queue_ids = [hand_in(relay, sender, [address], CONTENT) for address in wanted]
    for queue_id in queue_ids:
        relay.wait_until_deferred(queue_id)
    assert etrn(relay, "far.test", STRANGER).startswith("459 4.7.1 ")
    for address, (host, node) in wanted.items():
        assert etrn(relay, node).startswith("253 2.0.0 "), node
        assert host.wait_for(address, within=5)[0].content.endswith(CONTENT)
    for queue_id in queue_ids:
        relay.wait_until_gone(queue_id)
    assert etrn(relay, "elsewhere.test").startswith("251 2.0.0 ")
    assert etrn(relay, "#nothing").startswith("459 ")


def test_a_dead_member_keeps_nobody_waiting(
    relay: Relay, hosts: tuple[Sink, Sink], sender: str, sink: MakeSink
) -> None:
    store, far = hosts
    far.script("RCPT far@far.test", "451 4.3.0 not today")
    before = len(store.messages_for("jones@names.test"))
    queue_id = hand_in(relay, sender, ["office@names.test"], CONTENT)
    store.wait_for("jones@names.test", before + 1)
    entry = relay.wait_until_deferred(queue_id)
    assert [one["address"] for one in entry["recipients"]] == ["far@far.test"]
    relay.mta("drop", "--yes", queue_id)
