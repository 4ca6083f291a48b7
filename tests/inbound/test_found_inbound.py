"""What was found when the receiving side was attacked: secrets that reach the log, last words that nobody reads."""

from base64 import b64encode
from pathlib import Path

import pytest
from house_in_memory import InMemory

from mta.smtp import replies
from mta.smtp.limits import REPLY_LINE
from mta.smtp.reply import render

PASSWORD = b64encode(b"my pencil").decode()


def said(relay: InMemory, text: str) -> list[str]:
    """The replies to some lines, all sent at once."""
    if text:
        relay.send(text.replace("\n", "\r\n").encode())
    octets = relay.rest()
    relay._octets = b""
    relay._wire.clear()
    return octets.decode().split("\r\n")[:-1]


def open_relay(folder: Path, **settings: str) -> InMemory:
    """A relay that has greeted."""
    relay = InMemory(folder, settings)
    said(relay, "")
    return relay


@pytest.mark.parametrize(
    "lines",
    [
        f" AUTH PLAIN {PASSWORD}\n",
        f"AUTH\tPLAIN {PASSWORD}\n",
        f"AUTH: PLAIN {PASSWORD}\n",
        f"auth=plain {PASSWORD}\n",
        f"AUTH PLAIN {PASSWORD}!\n",
        f"AUTH LOGIN\n{PASSWORD}\n{PASSWORD}\n",
        f"EHLO client.example.com\nAUTH LOGIN\n{PASSWORD}\n{PASSWORD}\n",
        f"EHLO client.example.com\nAUTH NONSENSE\n{PASSWORD}\n{PASSWORD}\n",
        f"EHLO client.example.com\nAUTH CRAM-MD5\nnonsense!\n{PASSWORD}\n",
    ],
)
@pytest.mark.parametrize("auth", ["none", "offered"])
def test_what_may_be_a_password_is_not_logged(tmp_path, lines, auth):
    relay = open_relay(tmp_path, auth=auth)
    said(relay, lines)
    assert any("rejected" in line for line in relay.lines)
    assert not [line for line in relay.lines if PASSWORD in line]


def test_other_nonsense_is_logged(tmp_path):
    relay = open_relay(tmp_path, auth="offered")
    said(relay, "FROBNICATE now\nEHLO client.example.com\nAUTH NONSENSE\nNOOP\nFROBNICATE then\n")
    assert [line for line in relay.lines if "FROBNICATE now" in line]
    assert [line for line in relay.lines if "FROBNICATE then" in line]


BEGUN = "EHLO client.example.com\nMAIL FROM:<smith@client.example.com>{}\n"


@pytest.mark.parametrize("rcpt", ["jones@example.org> ORCPT=utf-8;jonés@example.org", "@é.example:jones@example.org>"])
def test_letters_beyond_ascii_anywhere_in_rcpt_need_smtputf8(tmp_path, rcpt):
    relay = open_relay(tmp_path, source_routes="follow", relaying="yes")
    said(relay, BEGUN.format(""))
    assert said(relay, f"RCPT TO:<{rcpt}\n") == [str(replies.NON_ASCII_ADDRESS)]
    said(relay, "RSET\n" + BEGUN.format(" SMTPUTF8"))
    assert said(relay, f"RCPT TO:<{rcpt}\n") == [str(replies.RECIPIENT_OK)]


def test_ascii_original_recipients_need_none(tmp_path):
    relay = open_relay(tmp_path)
    said(relay, BEGUN.format(""))
    assert said(relay, r"RCPT TO:<jones@example.org> ORCPT=utf-8;jon\x{E9}s@example.org" + "\n") == [
        str(replies.RECIPIENT_OK)
    ]


@pytest.mark.parametrize("account", ["alice@example.org", "a" * 255, "josé"])
@pytest.mark.parametrize("sender", ["a@b.example", "é@b.example", "a" * 64 + "@" + "d" * 189])
def test_a_refused_sender_is_told_in_one_line_of_ascii(account, sender):
    octets = render(replies.not_your_address(sender, account))
    assert octets.isascii()
    assert len(octets) <= REPLY_LINE


def test_clients_of_a_proxy_do_not_log_in_by_its_certificate(tmp_path):
    relay = open_relay(tmp_path, xclient="yes", certificate="yes", tls="implicit", auth="offered")
    assert any("EXTERNAL" in line for line in said(relay, "EHLO proxy.example.com\n"))
    said(relay, "XCLIENT ADDR=198.51.100.7\n")
    assert not any("EXTERNAL" in line for line in said(relay, "EHLO client.example.com\n"))
    assert said(relay, "AUTH EXTERNAL =\n") == [str(replies.UNKNOWN_MECHANISM)]


def test_a_handshake_that_ends_after_the_last_word_changes_nothing(tmp_path):
    relay = InMemory(tmp_path, {"tls": "offered"})
    said(relay, "EHLO client.example.com\nSTARTTLS\n")
    session = relay._wire.protocol
    session.overdue()
    deadline = session.deadline
    assert said(relay, "") == [str(replies.command_timeout("mail.example.org"))]
    relay.encrypt()
    assert said(relay, "") == []
    assert session.deadline == deadline <= relay.clock.seconds() + 10


def test_a_client_that_has_quit_has_little_time_to_close(tmp_path):
    relay = open_relay(tmp_path)
    session = relay._wire.protocol
    said(relay, "QUIT\n")
    assert session.deadline <= relay.clock.seconds() + 10


def test_an_idle_client_does_not_keep_the_relay_from_stopping(tmp_path):
    """It may not take notice of the end of TLS, which a connection waits for."""
    relay = open_relay(tmp_path)
    session = relay._wire.protocol
    cut = []
    relay._wire.abortConnection = lambda: cut.append(relay.clock.seconds())
    begun = relay.clock.seconds()
    session._door.close(10.0)
    while not cut and relay.clock.seconds() < begun + 20:
        relay.clock.advance(0.5)
    assert cut[0] - begun <= 4


def test_a_chunk_that_nobody_wants_has_the_time_of_content(tmp_path):
    relay = open_relay(tmp_path)
    said(relay, "EHLO client.example.com\n")
    assert said(relay, "BDAT 1000\n") == [str(replies.MAIL_FIRST)]
    for _ in range(10):
        relay.wait(200)
        relay.send(b"x" * 100)
    assert said(relay, "NOOP\n") == [str(replies.OK)]
    said(relay, "BDAT 1000\n")
    relay.wait(302)
    assert said(relay, "") == [str(replies.content_timeout("mail.example.org"))]


def test_who_waits_for_a_login_is_told_when_logins_end(tmp_path):
    """Guesses are slowed; the relay stops without waiting for them."""
    relay = open_relay(tmp_path, auth="offered", plaintext_auth="yes")
    session = relay._wire.protocol
    said(relay, "EHLO client.example.com\n")
    wrong = b64encode(b"\0bob\0wrong").decode()
    while said(relay, f"AUTH PLAIN {wrong}\n"):
        pass
    session._door.close(10.0)
    assert said(relay, "") == []
    session._conversation._house.authentication.stop()
    assert said(relay, "") == [str(replies.LOGIN_UNAVAILABLE), str(replies.shutting_down("mail.example.org"))]
