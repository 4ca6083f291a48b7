"""What a session leaves behind: the envelopes and the octets that are kept of what a client has said."""

import re
from pathlib import Path

import pytest
from house_in_memory import InMemory
from twisted.internet.defer import fail

from mta.interfaces import Busy
from mta.message.envelope import Recipient

HELLO = "EHLO client.example.com"
MAIL = "MAIL FROM:<smith@client.example.com>"
RCPT = "RCPT TO:<jones@example.net>"
CONTENT = ("DATA", "Subject: kept", "", "..dot", ".")
LOG_IN = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHBlbmNpbA=="


class Session(InMemory):
    """A client that says lines, and is answered with codes."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder, settings)

    def say(self, *lines: str | bytes) -> list[str]:
        """Say it all at once; the answers, line by line, the greeting left out."""
        for line in lines:
            self.send((line.encode() if isinstance(line, str) else line) + b"\r\n")
        said, self._octets = (self._octets + self._wire.value()).decode(), b""
        self._wire.clear()
        return [line for line in said.splitlines() if not re.match(r"220 mail|250-|250 [A-Z]", line)]

    @property
    def envelope(self):
        """The only one."""
        [claim] = self.dispatcher.claims
        return claim.envelope

    @property
    def content(self) -> bytes:
        """The only one, behind our trace field."""
        [content] = self.dispatcher.contents
        return re.sub(rb"\AReceived: .*\r\n(?:\t.*\r\n)*", b"", content)


def paths(session: Session) -> dict[str, list[str]]:
    """Who gets it, by reverse-path."""
    return {
        claim.envelope.sender: [one.address for one in claim.envelope.recipients] for claim in session.dispatcher.claims
    }


def test_an_ordinary_message(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.say(HELLO, MAIL, RCPT, *CONTENT)
    envelope = session.envelope
    assert (envelope.sender, envelope.recipients) == ("smith@client.example.com", (Recipient("jones@example.net"),))
    assert envelope.client[1:] == ("client.example.com", "ESMTP", "", "")
    assert (envelope.body, envelope.eight_bit, envelope.dotted, envelope.ret, envelope.envid) == (
        "",
        False,
        True,
        "",
        "",
    )
    assert session.content == b"Subject: kept\r\n\r\n.dot\r\n"


def test_an_alias_keeps_the_reverse_path(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.say(HELLO, MAIL, "RCPT TO:<office@example.org>", *CONTENT)
    assert paths(session) == {"smith@client.example.com": ["jean.dupont@example.org", "brown@example.org"]}


def test_a_list_is_sent_from_its_owner_and_lists_in_it_from_theirs(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.say(HELLO, MAIL, "RCPT TO:<everybody@example.org>", *CONTENT)
    assert paths(session) == {
        "jean.dupont@example.org": ["jean.dupont@example.org", "guest@else.example"],
        "postmaster@example.org": ["anne.dupont@example.org", "brown@example.org"],
    }
    [message] = session.spool.messages.values()
    [expanded] = [event.detail for event in message.events if event.kind == "expanded"]
    assert expanded["recipients"] == ["everybody@example.org"]


def test_mail_for_who_has_moved_goes_to_the_new_address_and_says_whom_it_was_for(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.say(HELLO, MAIL, "RCPT TO:<old.name@example.org>", *CONTENT)
    [recipient] = session.envelope.recipients
    assert (recipient.address, recipient.original) == ("new.name@else.example", "rfc822;old.name@example.org")


@pytest.mark.parametrize(
    ("mode", "sender", "recipient"),
    [
        ("strip", "smith@client.example.com", "jones@example.net"),
        ("follow", "@mail.example.org,@relay.example:smith@client.example.com", "@example.net:jones@example.net"),
    ],
)
def test_source_routes(mode: str, sender: str, recipient: str, tmp_path: Path) -> None:
    session = Session(tmp_path, source_routes=mode)
    session.say(
        HELLO,
        "MAIL FROM:<@relay.example:smith@client.example.com>",
        "RCPT TO:<@mail.example.org,@example.net:jones@example.net>",
        *CONTENT,
    )
    assert paths(session) == {sender: [recipient]}


def test_wishes_are_kept(tmp_path: Path) -> None:
    session = Session(tmp_path, relaying="yes", tls="implicit", auth="offered")
    now = session.clock.seconds()
    session.say(
        HELLO,
        "MAIL FROM:<smith@client.example.com> SIZE=10 BODY=8BITMIME RET=FULL ENVID=a+2Bb SMTPUTF8 REQUIRETLS "
        "MT-PRIORITY=-3 BY=60;RT AUTH=first+2Bone@example.com",
        "RCPT TO:<jones@example.net> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;J+2Bones@example.com",
        *CONTENT,
    )
    envelope = session.envelope
    assert envelope.recipients == (Recipient("jones@example.net", "SUCCESS,DELAY", "rfc822;J+2Bones@example.com"),)
    assert (envelope.body, envelope.ret, envelope.envid) == ("8BITMIME", "FULL", "a+2Bb")
    assert (envelope.smtputf8, envelope.requiretls, envelope.priority) == (True, True, -3)
    assert (envelope.by, envelope.by_mode) == (pytest.approx(now + 60, abs=1), "RT")
    assert envelope.client.protocol == "UTF8SMTPS"


def test_who_first_submitted_it_is_believed_of_those_who_may_relay(tmp_path: Path) -> None:
    for settings, believed in ({"relaying": "yes"}, "first@example.com"), ({}, "<>"):
        session = Session(tmp_path, auth="offered", plaintext_auth="yes", **settings)
        session.say(HELLO, f"{MAIL} AUTH=first@example.com", RCPT, *CONTENT)
        assert session.envelope.auth == believed


def test_a_login_is_told_in_the_envelope(tmp_path: Path) -> None:
    session = Session(tmp_path, auth="required", tls="implicit")
    session.say(HELLO, LOG_IN, "MAIL FROM:<alice@example.org>", "RCPT TO:<x@elsewhere.example>", *CONTENT)
    client = session.envelope.client
    assert (client.protocol, client.login) == ("ESMTPSA", "alice@example.org")
    assert client.tls.startswith("TLSv1.3 ")


def test_what_is_to_be_released_later_is_not_tried_now(tmp_path: Path) -> None:
    session = Session(tmp_path, relaying="yes")
    now = session.clock.seconds()
    session.say(HELLO, f"{MAIL} HOLDFOR=3600", RCPT, *CONTENT)
    assert session.dispatcher.claims == []
    [message] = session.spool.messages.values()
    assert message.envelope.released == pytest.approx(now + 3600, abs=1)


def test_chunks_are_kept_as_one_content(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.send(
        b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<jones@example.net>\r\nBDAT 8\r\nabc\r\n.\r\nBDAT 5 LAST\r\n\r\ndef"
    )
    assert session.content == b"abc\r\n.\r\n\r\ndef\r\n"


def test_binary_content_is_kept_octet_for_octet(tmp_path: Path) -> None:
    session = Session(tmp_path)
    binary = bytes(range(256)) + b"\r\n.\r\n\n\r"
    session.say(HELLO, f"{MAIL} BODY=BINARYMIME", RCPT, f"BDAT {len(binary)} LAST".encode() + b"\r\n" + binary)
    assert session.content == binary
    assert session.envelope.body == "BINARYMIME"


def test_what_a_submission_lacks_is_added_for_those_who_may_relay_alone(tmp_path: Path) -> None:
    session = Session(tmp_path, relaying="yes")
    session.say("HELO printer", "MAIL FROM:<root>", "RCPT TO:<admin>", *CONTENT)
    assert paths(session) == {"root@mail.example.org": ["admin@mail.example.org"]}
    assert {line.partition(b":")[0] for line in session.content.split(b"\r\n\r\n")[0].split(b"\r\n")} == {
        b"Date",
        b"From",
        b"Message-ID",
        b"Subject",
    }


def test_no_room_is_told_at_mail_and_leaves_no_transaction(tmp_path: Path) -> None:
    session = Session(tmp_path)
    session.spool.is_full = True
    assert session.say(HELLO, f"{MAIL} SIZE=1000", RCPT)[-2:] == [
        "452 4.3.1 no room to queue this now; try again later",
        "503 5.5.1 say MAIL first",
    ]


def test_a_queue_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(tmp_path, relaying="yes")
    monkeypatch.setattr(session.dispatcher, "start_queue", lambda *asked: fail(Busy("too many")))
    assert session.say(HELLO, "ETRN dead.example")[-1].startswith("458 4.3.0 ")
