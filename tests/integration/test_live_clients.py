"""Every client hands its mail in: by each way into the relay, with each mechanism it knows, octet for octet."""

import re
from base64 import b64encode, encodebytes
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import agents, commands, libraries
from peers.agents import RelayingPostfix, domain_of
from peers.clients import Talk
from peers.ground import Loopback, wait_until
from peers.postfix import running_postfix
from peers.submission import ANY, OTHERS, USER, Client, Desk, Letter, Office, Sent, Way
from reading import trace_on_top

SHOWING = ("PLAIN", "LOGIN")
SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-256")
BOUND = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
# Each version of TLS, which GnuTLS is asked for, has its own type of channel binding.
VERSIONS = {"tls-exporter": "NORMAL", "tls-unique": "NORMAL:-VERS-TLS1.3"}
POSTFIX = "Postfix"

CLIENTS: dict[str, Client] = {
    "swaks": commands.swaks,
    "curl": commands.curl,
    "msmtp": commands.msmtp,
    "s-nail": commands.s_nail,
    "smtplib": libraries.python,
    "Net-SMTP": libraries.perl,
    "nodemailer": libraries.nodemailer,
    "Exim": agents.exim,
}

# "" is no login. None of them knows more of what the relay offers, as Debian 12 builds them.
MECHANISMS = {
    "swaks": ("", *SHOWING, "CRAM-MD5"),
    "curl": ("", *SHOWING, "CRAM-MD5", "EXTERNAL"),
    "msmtp": ("", *SHOWING, "CRAM-MD5", *SCRAM, "EXTERNAL"),
    "s-nail": ("", *SHOWING, "CRAM-MD5", "EXTERNAL"),
    "smtplib": ("", *SHOWING, "CRAM-MD5"),
    "Net-SMTP": ("", *SHOWING, "CRAM-MD5", "EXTERNAL"),
    "nodemailer": ("", *SHOWING, "CRAM-MD5"),
    "Exim": ("", *SHOWING, "CRAM-MD5", "EXTERNAL"),
    POSTFIX: ("", *SHOWING, "CRAM-MD5", *SCRAM),
}

# A certificate is shown in TLS, or nowhere.
TABLE = [
    pytest.param(client, way, mechanism, id=f"{client}-{way}-{mechanism or 'no-login'}")
    for client, mechanisms in MECHANISMS.items()
    for way in Way
    for mechanism in mechanisms
    if way is not Way.PLAIN or mechanism != "EXTERNAL"
]

# One each that has a password to be wrong about, and who it says it is: an account bears three failures for nothing.
WRONG = {
    "swaks": ("PLAIN", OTHERS[0]),
    "curl": ("LOGIN", OTHERS[0]),
    "msmtp": ("SCRAM-SHA-256", OTHERS[0]),
    "s-nail": ("LOGIN", OTHERS[1]),
    "smtplib": ("CRAM-MD5", OTHERS[1]),
    "Net-SMTP": ("PLAIN", OTHERS[1]),
    "nodemailer": ("CRAM-MD5", OTHERS[2]),
    "Exim": ("CRAM-MD5", OTHERS[2]),
    POSTFIX: ("SCRAM-SHA-1", OTHERS[2]),
}

LONGEST = b"x" * 998
CONTENT = (
    b"From: Alice <alice@client.test>\r\nTo: Bob <bob@up.test>\r\nSubject: =?utf-8?q?caf=C3=A9?= and\r\n\tmore\r\n"
    b"Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <clients@client.test>\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed;\r\n boundary="=_part"\r\n\r\nA preamble.\r\n--=_part\r\n'
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b".\r\n..\r\n.hidden\r\nFrom here, caf\xe9 \xff\x80\r\n" + LONGEST + b"\r\n." + LONGEST[1:] + b"\r\n"
    b"spaces at the end  \r\n\t\r\n\r\n\r\n--=_part\r\n"
    b"Content-Type: application/octet-stream; name=all.bin\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename=all.bin\r\n\r\n"
    + encodebytes(bytes(range(256)) * 8).replace(b"\n", b"\r\n")
    + b"--=_part--\r\nAn epilogue.\r\n\r\n.\r\n"
)


def _way_of(client: str, mechanism: str) -> Way:
    """STARTTLS, but for whoever would give up there."""
    return Way.PLAIN if gives_up(client, Way.STARTTLS, mechanism) else Way.STARTTLS


@pytest.fixture(scope="module")
def wrong_desks(office: Office, scratch: Path) -> dict[str, Desk]:
    """For each client the desk where it has the wrong password."""
    folders = {client: scratch / f"wrong-{client}" for client in WRONG}
    for folder in folders.values():
        folder.mkdir()
    return {
        client: office.desk(_way_of(client, mechanism), mechanism, folders[client], user, "not the password")
        for client, (mechanism, user) in WRONG.items()
    }


@pytest.fixture(scope="module")
def postfix_client(
    office: Office, wrong_desks: dict[str, Desk], scratch: Path, loopback: Loopback
) -> Iterator[RelayingPostfix]:
    """Postfix, with a transport for each of the desks that it goes to in these tests."""
    folder = scratch / "postfix-client"
    desks = [office.desk(way, mechanism, folder) for way in Way for mechanism in MECHANISMS[POSTFIX]]
    desks += [office.desk(Way.STARTTLS, ANY, folder), wrong_desks[POSTFIX]]
    with running_postfix(RelayingPostfix(folder, loopback.address(), desks, office.papers)) as one:
        yield one


@pytest.fixture
def client(request: pytest.FixtureRequest, name: str) -> Client:
    """The client of that name. Postfix is started by the first that asks for it."""
    if name == POSTFIX:
        postfix: RelayingPostfix = request.getfixturevalue("postfix_client")
        return postfix.send
    return CLIENTS[name]


@pytest.fixture
def folder(scratch: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with files of one client, which may run as another user."""
    made = scratch / re.sub(r"\W+", "-", request.node.name)
    made.mkdir()
    return made


@pytest.mark.parametrize(("name", "way", "mechanism"), TABLE)
def test_it_arrives_octet_for_octet(
    office: Office, client: Client, folder: Path, name: str, way: Way, mechanism: str
) -> None:
    desk = office.desk(way, mechanism, folder)
    recipient = f"{name}@{domain_of(desk)}".lower()
    before = len(office.relay.output)
    sent = client(desk, Letter(USER, recipient, CONTENT))
    if gives_up(name, way, mechanism):
        assert_it_gave_up(sent, office, recipient)
        return
    assert sent.status == 0, sent.text
    [taken] = office.hop.wait_for(recipient)
    assert (taken.sender, taken.recipients) == (USER, [recipient])
    ours, *_ = trace_on_top(taken.content, CONTENT)
    assert f"by relay.test with {_protocol(name, way, mechanism, sent)} id ".encode() in ours
    if mechanism:
        told = f"account={USER} mechanism={mechanism}\n"
        wait_until(lambda: told in office.relay.output[before:], "the log has the login")


def _protocol(name: str, way: Way, mechanism: str, sent: Sent) -> str:
    """The word of RFC 3848, or RFC 6531, for how the client came. s-nail says HELO where it does not mean to log in.

    Some msmtp, 1.8.28 among them, ask for SMTPUTF8 whatever the addresses are.
    """
    if name == "s-nail" and not mechanism:
        return "SMTP"
    asks = re.search(r"^--> MAIL FROM:<[^>]*>.* SMTPUTF8\b", sent.text, re.MULTILINE) if name == "msmtp" else None
    return f"{'UTF8SMTP' if asks else 'ESMTP'}{'' if way is Way.PLAIN else 'S'}{'A' if mechanism else ''}"


def gives_up(name: str, way: Way, mechanism: str) -> bool:
    """Does this client refuse to do it? msmtp that knows channel binding cannot go without, where there is TLS."""
    return name == "msmtp" and way is not Way.PLAIN and mechanism in SCRAM and commands.msmtp_binds()


def assert_it_gave_up(sent: Sent, office: Office, recipient: str) -> None:
    """Of itself, before it said a word of its login: the relay had no part in it."""
    assert sent.status != 0, sent.text
    assert "--> EHLO " in sent.text
    assert "--> AUTH" not in sent.text
    assert "GNU SASL" in sent.text
    assert recipient not in office.relay.output


@pytest.mark.parametrize("name", [one for one in MECHANISMS if one not in ("s-nail", "Exim")])
def test_left_to_itself_it_chooses_a_mechanism_and_logs_in(
    office: Office, client: Client, folder: Path, name: str
) -> None:
    desk = office.desk(Way.STARTTLS, ANY, folder)
    recipient = f"{name}@{domain_of(desk)}".lower()
    before = len(office.relay.output)
    sent = client(desk, Letter(USER, recipient, CONTENT))
    assert sent.status == 0, sent.text
    binds = name == "msmtp" and commands.msmtp_binds()
    assert (f"account={USER} mechanism={BOUND[0]}\n" in office.relay.output[before:]) == binds, "it binds if it can"
    [taken] = office.hop.wait_for(recipient)
    ours, *_ = trace_on_top(taken.content, CONTENT)
    assert f"by relay.test with {_protocol(name, Way.STARTTLS, ANY, sent)} id ".encode() in ours


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_password_is_a_535_and_no_mail(
    office: Office, wrong_desks: dict[str, Desk], client: Client, name: str
) -> None:
    desk = wrong_desks[name]
    recipient = f"wrong@{domain_of(desk)}"
    sent = client(desk, Letter(desk.user, recipient, CONTENT))
    assert sent.status != 0, sent.text
    assert "535" in sent.text
    assert recipient not in office.relay.output
    assert not office.hop.messages_for(recipient)


@pytest.mark.parametrize("way", Way)
def test_a_message_much_larger_than_any_buffer_arrives(office: Office, folder: Path, way: Way) -> None:
    lines = b"".join(b"%072d\r\n" % number for number in range(60_000))
    recipient = f"large-{way}@curl.test"
    sent = commands.curl(office.desk(way, "PLAIN", folder), Letter(USER, recipient, CONTENT + lines))
    assert sent.status == 0, sent.text[-2000:]
    [taken] = office.hop.wait_for(recipient)
    trace_on_top(taken.content, CONTENT + lines)


def test_a_client_that_closes_its_side_behind_its_mail_is_answered(office: Office) -> None:
    recipient = "half@closed.test"
    with Talk(office.relay.address, office.relay.port) as talk:
        assert talk.reply().startswith("220 ")
        assert talk.say("EHLO client.test").startswith("250-")
        talk.send(f"MAIL FROM:<{USER}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
        assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        talk.send(b"Subject: half closed\r\n\r\nhello\r\n.\r\nQUIT\r\n")
        talk.end()
        assert talk.reply().startswith("250 2.0.0 queued as ")
        assert talk.reply().startswith("221 2.0.0 ")
        assert talk.line() is None
    assert len(office.hop.wait_for(recipient)) == 1


@pytest.mark.parametrize("kind", VERSIONS)
@pytest.mark.parametrize("mechanism", BOUND)
def test_gnu_sasl_binds_its_login_to_its_connection(office: Office, folder: Path, kind: str, mechanism: str) -> None:
    """It has GnuTLS, which is another implementation than the relay's, and libgsasl, as msmtp has."""
    before = len(office.relay.output)
    sent = commands.gsasl(office.desk(Way.STARTTLS, mechanism, folder), f"--priority={VERSIONS[kind]}")
    assert sent.status == 0, sent.text
    assert b64encode(f"p={kind},".encode())[:16].decode() in sent.text
    told = f"account={USER} mechanism={mechanism}\n"
    wait_until(lambda: told in office.relay.output[before:], "the log has the login")
