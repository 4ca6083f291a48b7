"""Clients that ask for more than delivery: reports (RFC 3461), addresses in UTF-8 (RFC 6531), and missing fields."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import agents, commands, libraries
from peers.agents import RelayingPostfix, domain_of
from peers.ground import Loopback
from peers.postfix import running_postfix
from peers.submission import USER, Client, Dsn, Letter, Office, Way
from reading import trace_on_top

CONTENT = (
    b"From: alice@client.test\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    b"Message-ID: <asking@client.test>\r\nSubject: more\r\n\r\nhello\r\n"
)
INTERNATIONAL = (
    "From: Zoë <zoë@client.test>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"
    "Message-ID: <utf8@client.test>\r\nSubject: größer\r\n\r\nschön\r\n"
).encode()
POSTFIX = "Postfix"

CLIENTS: dict[str, Client] = {
    "curl": commands.curl,
    "msmtp": commands.msmtp,
    "smtplib": libraries.python,
    "Net-SMTP": libraries.perl,
    "nodemailer": libraries.nodemailer,
}


@pytest.fixture(scope="module")
def folder(scratch: Path) -> Path:
    """A folder for what clients need, one after the other."""
    made = scratch / "asking"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def postfix_client(office: Office, folder: Path, scratch: Path, loopback: Loopback) -> Iterator[RelayingPostfix]:
    """Postfix, which logs in within TLS."""
    desk = office.desk(Way.STARTTLS, "PLAIN", folder)
    with running_postfix(RelayingPostfix(scratch / "asks", loopback.address(), [desk], office.papers)) as one:
        yield one


@pytest.fixture
def client(request: pytest.FixtureRequest, name: str) -> Client:
    """The client of that name."""
    if name == POSTFIX:
        postfix: RelayingPostfix = request.getfixturevalue("postfix_client")
        return postfix.send
    return CLIENTS[name]


@pytest.mark.parametrize("name", ["msmtp", "smtplib", "Net-SMTP", "nodemailer", POSTFIX])
def test_what_is_asked_about_reports_goes_on_to_the_next_hop(
    office: Office, client: Client, folder: Path, name: str
) -> None:
    desk = office.desk(Way.STARTTLS, "PLAIN", folder)
    recipient = f"dsn-{name}@{domain_of(desk)}".lower()
    sent = client(desk, Letter(USER, recipient, CONTENT, Dsn("SUCCESS,FAILURE", "HDRS", "envelope")))
    assert sent.status == 0, sent.text
    [taken] = office.hop.wait_for(recipient)
    asked = set(taken.parameters["MAIL"].split())
    assert asked >= ({"RET=HDRS"} if name == "msmtp" else {"RET=HDRS", "ENVID=envelope"})
    [notify] = re.findall(r"NOTIFY=(\S+)", taken.parameters[recipient])
    assert set(notify.split(",")) == {"SUCCESS", "FAILURE"}
    trace_on_top(taken.content, CONTENT)


@pytest.mark.parametrize("name", ["curl", "smtplib", "nodemailer", POSTFIX])
def test_addresses_and_fields_in_utf_8_go_on_to_the_next_hop(
    office: Office, client: Client, folder: Path, name: str
) -> None:
    desk = office.desk(Way.STARTTLS, "PLAIN", folder)
    recipient = f"jörg-{name}@{domain_of(desk)}".lower()
    sent = client(desk, Letter("zoë@client.test", recipient, INTERNATIONAL))
    assert sent.status == 0, sent.text
    [taken] = office.hop.wait_for(recipient)
    assert taken.sender == "zoë@client.test"
    assert "SMTPUTF8" in taken.parameters["MAIL"].split()
    ours, *_ = trace_on_top(taken.content, INTERNATIONAL)
    assert b"by relay.test with UTF8SMTPSA id " in ours


def test_swaks_does_not_ask_for_utf_8_and_is_told_to(office: Office, folder: Path) -> None:
    sent = commands.swaks(
        office.desk(Way.STARTTLS, "PLAIN", folder), Letter("zoë@client.test", "utf8@swaks.test", INTERNATIONAL)
    )
    assert sent.status != 0
    assert re.search(r"5\d\d 5\.6\.7 .*SMTPUTF8", sent.text), sent.text


def test_fields_that_a_submission_lacks_are_added_above_it(office: Office, folder: Path) -> None:
    content = b"From: alice@client.test\r\nSubject: bare\r\n\r\nhello\r\n"
    recipient = "bare@curl.test"
    sent = commands.curl(office.desk(Way.IMPLICIT, "PLAIN", folder), Letter(USER, recipient, content))
    assert sent.status == 0, sent.text
    [taken] = office.hop.wait_for(recipient)
    top, *rest = taken.content.partition(b"From: ")
    assert b"".join(rest) == content
    assert re.search(rb"^Message-ID: <[^<>\s]+@relay\.test>\r$", top, re.MULTILINE | re.IGNORECASE)
    assert re.search(rb"^Date: .* [+-]\d{4}\r$", top, re.MULTILINE)


def test_exim_ends_its_session_with_a_chunk_and_hears_what_became_of_it(office: Office, folder: Path) -> None:
    desk = office.desk(Way.PLAIN, "CRAM-MD5", folder)
    sent = agents.exim(desk, Letter(USER, "chunk@exim.test", CONTENT))
    assert sent.status == 0, sent.text
    assert " K C=" in sent.text, "Exim marks mail with K that it has handed on with BDAT"
    [taken] = office.hop.wait_for("chunk@exim.test")
    trace_on_top(taken.content, CONTENT)
