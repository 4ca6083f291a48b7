"""What MAIL and RCPT come to, and the reasons that are told on the way."""

from ipaddress import ip_network

import pytest

from mta.policy.access import Access
from mta.policy.addressing import Addressing
from mta.policy.admission import Admission
from mta.policy.directory import Alias, Directory, Domain, MailingList, User
from mta.policy.pattern import Pattern
from mta.policy.routing import Routing
from mta.smtp.address import parse_path, scan_path

DIRECTORY = Directory(
    [
        Domain(
            "ours.test",
            (
                User("anna@ours.test"),
                Alias("office@ours.test", ("team@ours.test", "anna@ours.test")),
                MailingList("team@ours.test", ("anna@ours.test", "team@ours.test"), "anna@ours.test"),
            ),
            True,
        )
    ]
)
ADMISSION = Admission(
    "relay.test",
    "boss@ours.test",
    Access([ip_network("192.0.2.0/24")], ["ours.test", "hop.test"]),
    Addressing(DIRECTORY, Routing(), "boss@ours.test"),
)
RELAYING, STRANGER = True, False


@pytest.mark.parametrize(
    ("path", "mode", "may_relay", "recipient", "notes"),
    [
        ("<joe@up.test>", "strip", RELAYING, "joe@up.test", []),
        ("<joe@hop.test>", "strip", STRANGER, "joe@hop.test", [("relaying", "hop.test is in relay.domains", "")]),
        (
            "<root>",
            "strip",
            RELAYING,
            "root@relay.test",
            [("completed", "the recipient has no domain, and is taken for root@relay.test", "")],
        ),
        (
            "<@hop.test:joe@up.test>",
            "follow",
            STRANGER,
            "@hop.test:joe@up.test",
            [
                ("source route", "followed: it goes on to @hop.test:joe@up.test, from me@client.test", ""),
                ("relaying", "hop.test is in relay.domains", ""),
            ],
        ),
        (
            "<@relay.test:joe@hop.test>",
            "strip",
            RELAYING,
            "joe@hop.test",
            [("source route", "left out: it goes on to joe@hop.test, from me@client.test", "")],
        ),
        *(
            (
                path,
                "strip",
                STRANGER,
                "boss@ours.test",
                [("postmaster", "taken from everybody, for the postmaster of this relay, boss@ours.test", "")],
            )
            for path in ("<Postmaster>", "<POSTMASTER@relay.test>")
        ),
    ],
)
def test_how_a_recipient_is_taken(
    path: str, mode: str, may_relay: bool, recipient: str, notes: list[tuple[str, str, str]]
) -> None:
    told: list[tuple[str, str, str]] = []
    parsed, _ = scan_path(path, 0, unqualified=True)
    addressed = ADMISSION.recipient(parsed, mode, may_relay, "me@client.test", note=lambda *note: told.append(note))
    assert addressed.recipient.address == recipient
    assert told == notes
    assert ADMISSION.recipient(parsed, mode, may_relay, "me@client.test") == addressed


def test_the_entries_that_are_followed_are_told_in_order() -> None:
    told: list[str] = []
    path = parse_path("<office@ours.test>")
    addressed = ADMISSION.recipient(path, "strip", RELAYING, "me@client.test", note=lambda *note: told.append(note[2]))
    names = ("office", "team", "anna", "team", "anna")  # the list itself once more, now from its owner
    assert told == [f"{name}@ours.test" for name in names]
    assert [one.reverse_path for one in addressed.forwardings] == ["anna@ours.test", "me@client.test"]


@pytest.mark.parametrize(
    ("path", "mode", "may_relay", "reply", "why"),
    [
        ("<@hop.test:joe@up.test>", "refuse", RELAYING, 550, "it has a source route"),
        ("<joe@up.test>", "strip", STRANGER, 550, "up.test is not in relay.domains, nor the client in relay.networks"),
        ("<bert@ours.test>", "strip", RELAYING, 550, "directory: bert@ours.test is not a name of its domain"),
    ],
)
def test_why_a_recipient_is_refused(path: str, mode: str, may_relay: bool, reply: int, why: str) -> None:
    addressed = ADMISSION.recipient(parse_path(path), mode, may_relay, "me@client.test")
    assert addressed.is_refused
    assert addressed.reply is not None
    assert (addressed.reply.code, addressed.why) == (reply, why)


def test_a_sender_is_completed_and_may_be_used() -> None:
    told: list[str] = []
    path, _ = scan_path("<root>", 0, unqualified=True)
    senders = (Pattern.parse("root@relay.test"),)
    assert ADMISSION.sender(path, "strip", "anna", senders, lambda *note: told.append(note[1])) == "root@relay.test"
    assert told == [
        "the sender has no domain, and is taken for root@relay.test",
        "anna may send as root@relay.test",
    ]
    refused = ADMISSION.sender(parse_path("<joe@up.test>"), "strip", "anna", senders)
    assert str(refused).startswith("553 5.7.1")
    assert str(ADMISSION.sender(parse_path("<@hop.test:joe@up.test>"), "refuse", "", ())).startswith("550 5.1.2")
