"""What notices say, to people and to programs, whatever comes from outside."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Outcome, Result, deferred, failed
from mta.message.report import About, delay_report, failure_report, success_report
from mta.message.returned import LARGEST_WHOLE, Returned, returned
from mta.message.statusfields import Action, Fate, status
from mta.message.trace import mail_date
from mta.smtp.reply import Reply

RECEIVED = 1_700_000_000.0
NOW = RECEIVED + 5 * 86400
HEADER = (
    b"Received: from client.example (192.0.2.9)\r\n\tby relay.example.net with SMTP id ABC\r\n"
    b"From: Alice <alice@example.com>\r\nSubject: Lunch\r\nMessage-ID: <1@example.com>\r\n"
)


def about(
    header: bytes | Returned = HEADER,
    sender: str = "alice@example.com",
    envid: str = "",
    to: str = "",
    smtputf8: bool = False,
) -> About:
    envelope = Envelope(sender, (), RECEIVED, envid=envid, smtputf8=smtputf8)
    given = header if isinstance(header, Returned) else Returned(header)
    return About("relay.example.net", "postmaster@example.net", "0ABCDEF", envelope, given, to or sender)


def refused(
    *lines: str, code: int = 550, enhanced: str = "5.1.1", host: str = "mx.example.org[192.0.2.1]:25"
) -> Outcome:
    return Outcome(Result.FAILED, Reply(code, enhanced, lines), host)


def fate(
    outcome: Outcome, address: str = "bob@example.org", original: str = "", action: Action = Action.FAILED
) -> Fate:
    return Fate(Recipient(address, original=original), outcome, NOW - 10, action)


def parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def parts(content: bytes) -> tuple[str, list[Message], str]:
    """The text, the groups of fields (the first about the message), and the quoted header."""
    assert_fit_to_send(content)
    message = parsed(content)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    text, fields, header = message.get_payload()
    assert [part.get_content_type() for part in message.get_payload()] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    return (
        text.get_content().replace("\r\n", "\n"),
        fields.get_payload(),
        header.get_payload(decode=True).decode("latin-1"),
    )


def assert_fit_to_send(content: bytes) -> None:
    assert content.isascii()
    assert b"\0" not in content
    assert content.endswith(b"\r\n")
    lines = content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    boundary = re.search(rb'boundary="([^"]+)"', content)
    assert boundary is not None
    assert len(boundary[1]) <= 70
    delimiters = [line for line in lines if line.startswith(b"--" + boundary[1])]
    assert delimiters == [b"--" + boundary[1]] * 3 + [b"--" + boundary[1] + b"--"]
    assert content.count(boundary[1]) == 5


def test_failure_as_a_program_reads_it() -> None:
    content = failure_report(about(), [fate(refused("No such user", "here"))], "0NOTICE", NOW)
    message = parsed(content)
    assert message["From"] == "Mail Delivery System <MAILER-DAEMON@relay.example.net>"
    assert message["To"] == "alice@example.com"
    assert message["Subject"] == "Undelivered mail to bob@example.org"
    assert message["Message-ID"] == "<0NOTICE@relay.example.net>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert message["Date"].datetime.replace(tzinfo=UTC) == datetime.fromtimestamp(NOW, UTC)
    _, (of_message, of_recipient), _ = parts(content)
    assert dict(of_message.items()) == {
        "Reporting-MTA": "dns; relay.example.net",
        "X-Queue-ID": "0ABCDEF",
        "Arrival-Date": mail_date(RECEIVED),
    }
    assert dict(of_recipient.items()) == {
        "Final-Recipient": "rfc822; bob@example.org",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; mx.example.org",
        "Diagnostic-Code": "smtp; 550 5.1.1 No such user here",
        "Last-Attempt-Date": mail_date(NOW - 10),
    }


def test_compat32_reads_the_same() -> None:
    message = message_from_bytes(failure_report(about(), [fate(refused("No such user"))], "0NOTICE", NOW))
    _, fields, _ = message.get_payload()
    assert fields.get_payload()[1]["Status"] == "5.1.1"


def test_failure_as_a_person_reads_it() -> None:
    text, _, _ = parts(failure_report(about(), [fate(refused("No such user", "here"))], "0NOTICE", NOW))
    assert text.splitlines() == [
        "This is the mail relay relay.example.net.",
        "",
        "Your message could not be delivered to this recipient. It will not be tried",
        "again.",
        "",
        "  <bob@example.org>",
        "    mx.example.org[192.0.2.1]:25 said:",
        "      550 5.1.1 No such user",
        "      550 5.1.1 here",
        "    There is no such mailbox. Check what stands before the @ in the address.",
        "",
        f"The message was received on {mail_date(RECEIVED)}",
        "and has the queue id 0ABCDEF here. Its header is attached, its text is not.",
        "If you need help, write to postmaster@example.net and quote this notice.",
    ]


def test_header_is_quoted_octet_for_octet() -> None:
    content = failure_report(about(), [fate(refused("no"))], "0NOTICE", NOW)
    assert parts(content)[2].encode().rstrip(b"\r\n") + b"\r\n" == HEADER
    assert HEADER in content


def test_one_notice_for_all_and_equal_replies_once_in_the_text() -> None:
    gone, full = refused("gone"), refused("full", code=552, enhanced="5.2.2")
    fates = [fate(gone, "a@example.org"), fate(full, "b@example.org"), fate(gone, "c@example.org")]
    content = failure_report(about(), fates, "0NOTICE", NOW)
    text, fields, _ = parts(content)
    assert parsed(content)["Subject"] == "Undelivered mail to 3 recipients"
    assert [(group["Final-Recipient"], group["Status"]) for group in fields[1:]] == [
        ("rfc822; a@example.org", "5.1.1"),
        ("rfc822; b@example.org", "5.2.2"),
        ("rfc822; c@example.org", "5.1.1"),
    ]
    assert text.index("<a@") < text.index("<c@") < text.index("gone") < text.index("<b@") < text.index("full")
    assert text.count("gone") == 1


def test_what_we_say_ourselves_is_no_smtp_reply() -> None:
    outcome = failed(550, "5.1.2", "the domain example.invalid does not exist")
    text, fields, _ = parts(failure_report(about(), [fate(outcome)], "0NOTICE", NOW))
    assert fields[1]["Diagnostic-Code"] == "x-mta; 550 5.1.2 the domain example.invalid does not exist"
    assert fields[1]["Remote-MTA"] is None
    assert "    the domain example.invalid does not exist\n    There is no such mail domain." in text


def test_given_up_after_days() -> None:
    outcome = deferred(451, "4.4.1", "connection refused", "mx.example.org[192.0.2.1]:25")
    text, fields, _ = parts(failure_report(about(), [fate(outcome)], "0NOTICE", NOW))
    assert (fields[1]["Action"], fields[1]["Status"]) == ("failed", "4.4.1")
    assert fields[1]["Remote-MTA"] is None
    assert "mx.example.org[192.0.2.1]:25: connection refused" in text
    assert "could not be reached." in text
    assert "tried for 5 days" in " ".join(text.split())


@pytest.mark.parametrize("days", [0, 20])
def test_its_age_is_counted_from_when_its_sender_wanted_it_to_go(days: int) -> None:
    released = RECEIVED + days * 86400
    held = about()._replace(envelope=Envelope("alice@example.com", (), RECEIVED, released=released if days else 0.0))
    outcome = deferred(451, "4.4.1", "connection refused", "mx.example.org[192.0.2.1]:25")
    now = released + 4 * 3600
    delayed, _, _ = parts(delay_report(held, [fate(outcome, action=Action.DELAYED)], "0NOTICE", now, now + 86400))
    assert "is delayed: after 4 hours it has not been delivered" in " ".join(delayed.split())
    given_up, _, _ = parts(failure_report(held, [fate(outcome)], "0NOTICE", now))
    assert "tried for 4 hours" in " ".join(given_up.split())
    assert f"received on {mail_date(RECEIVED)}" in delayed


def test_delay() -> None:
    outcome = Outcome(Result.DEFERRED, Reply(450, "4.2.0", ("greylisted",)), "mx.example.org[192.0.2.1]:25")
    late = fate(outcome, action=Action.DELAYED)
    content = delay_report(about(), [late], "0NOTICE", RECEIVED + 4 * 3600, NOW)
    text, fields, _ = parts(content)
    assert parsed(content)["Subject"] == "Delayed mail to bob@example.org"
    assert (fields[1]["Action"], fields[1]["Status"]) == ("delayed", "4.2.0")
    assert fields[1]["Will-Retry-Until"] == mail_date(NOW)
    assert fields[1]["Diagnostic-Code"] == "smtp; 450 4.2.0 greylisted"
    assert "You need not send it again" in " ".join(text.split())


def test_envelope_id_and_original_recipient_are_decoded() -> None:
    content = failure_report(
        about(envid="order+3D17"), [fate(refused("no"), original="rfc822;bob+2Bx@example.org")], "0NOTICE", NOW
    )
    _, fields, _ = parts(content)
    assert fields[0]["Original-Envelope-Id"] == "order=17"
    assert fields[1]["Original-Recipient"] == "rfc822;bob+x@example.org"


def test_notice_about_a_notice_goes_to_whom_it_is_said() -> None:
    content = failure_report(about(sender="", to="postmaster@example.net"), [fate(refused("no"))], "0NOTICE", NOW)
    assert parsed(content)["To"] == "postmaster@example.net"
    assert "without a sender" in parts(content)[0]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mx.example.org[192.0.2.1]:25", "dns; mx.example.org"),
        ("[192.0.2.1]:25", "dns; [192.0.2.1]"),
        ("[2001:db8::1]:25", "dns; [IPv6:2001:db8::1]"),
        ("unix:/run/lmtp", "dns; unix:/run/lmtp"),
        ("mx.example.org", "dns; mx.example.org"),
        ("", None),
    ],
)
def test_remote_server(host: str, name: str | None) -> None:
    _, fields, _ = parts(failure_report(about(), [fate(refused("no", host=host))], "0NOTICE", NOW))
    assert fields[1]["Remote-MTA"] == name


@pytest.mark.parametrize(
    ("code", "enhanced", "action", "expected"),
    [
        (550, "5.1.1", Action.FAILED, "5.1.1"),
        (550, "", Action.FAILED, "5.0.0"),
        (550, "4.1.1", Action.FAILED, "5.0.0"),
        (451, "4.7.1", Action.FAILED, "4.7.1"),
        (451, "5.7.1", Action.DELAYED, "4.0.0"),
        (552, "", Action.FAILED, "5.0.0"),
        (250, "2.1.5", Action.DELIVERED, "2.1.5"),
        (550, "5.1.1\r\nX: y", Action.FAILED, "5.0.0"),
        (550, "5.1", Action.FAILED, "5.0.0"),
        (550, "5.1.1000", Action.FAILED, "5.0.0"),
        (354, "", Action.FAILED, "5.0.0"),
        (354, "", Action.DELAYED, "4.0.0"),
        (999, "9.9.9", Action.RELAYED, "2.0.0"),
    ],
)
def test_status(code: int, enhanced: str, action: Action, expected: str) -> None:
    assert status(Reply(code, enhanced, ("text",)), action) == expected


def test_long_diagnostic_is_folded_not_encoded() -> None:
    words = " ".join(f"word{n}" for n in range(100))
    content = failure_report(about(), [fate(refused(words))], "0NOTICE", NOW)
    assert parts(content)[1][1]["Diagnostic-Code"] == f"smtp; 550 5.1.1 {words}"
    assert b"=?" not in content


def test_injected_line_ends_stay_one_field() -> None:
    hostile = "no\r\nStatus: 2.0.0\r\n\r\nFinal-Recipient: rfc822; x@y\0\x1b[2J\u2028end"
    content = failure_report(about(), [fate(refused(hostile), "b\r\nBcc: c@d@example.org")], "0NOTICE", NOW)
    assert parsed(content)["Bcc"] is None
    _, fields, _ = parts(content)
    assert len(fields) == 2
    assert fields[1].get_all("Status") == ["5.1.1"]
    assert fields[1]["Diagnostic-Code"] == ("smtp; 550 5.1.1 no Status: 2.0.0 Final-Recipient: rfc822; x@y??[2J end")


def test_text_in_other_scripts_can_be_read() -> None:
    content = failure_report(about(), [fate(refused("Postfach überfüllt, 邮箱已满"))], "0NOTICE", NOW)
    text, fields, _ = parts(content)
    assert "550 5.1.1 Postfach überfüllt, 邮箱已满\n" in text
    assert fields[1]["Diagnostic-Code"] == r"smtp; 550 5.1.1 Postfach \xfcberf\xfcllt, \u90ae\u7bb1\u5df2\u6ee1"


@pytest.mark.parametrize(
    "line",
    [
        "Subject: Grüße".encode(),
        b"Subject: nul \0 escape \x1b",
        b"Subject: bare \r carriage return",
        b"Subject: bare \n line feed",
        b"Subject: long " + b"x" * 2000,
        b"Subject: trailing space ",
        b"Subject: =3D equals \x80",
    ],
)
def test_unclean_header_is_quoted_and_comes_back(line: bytes) -> None:
    header = b"From: a@b\r\n" + line + b"\r\nTo: c@d\r\n"
    content = failure_report(about(header), [fate(refused("no"))], "0NOTICE", NOW)
    assert parts(content)[2].encode("latin-1").rstrip(b"\r\n") == header.rstrip(b"\r\n")


def test_header_is_bounded_and_the_body_never_quoted() -> None:
    for header in (b"X: y\r\n" * 100_000, b"X: " + b"y" * 1_000_000 + b"\r\n", b"X: " + b"y" * 70_000, b""):
        content = failure_report(about(header), [fate(refused("no"))], "0NOTICE", NOW)
        quoted = parts(content)[2]
        assert len(quoted) <= 64 * 1024
        assert quoted.count("\n") <= 1001
    content = failure_report(about(b"X: y\r\n\r\nsecret\r\n"), [fate(refused("no"))], "0NOTICE", NOW)
    assert b"X: y" in content
    assert b"secret" not in content
    assert b"secret" not in failure_report(about(b"\r\nsecret\r\n"), [fate(refused("no"))], "0NOTICE", NOW)


def test_boundary_avoids_what_is_inside() -> None:
    header = b"Subject: =_0NOTICE\r\nX: --=_0NOTICE=\r\n--=_0NOTICE--\r\n"
    parts(failure_report(about(header), [fate(refused("--=_0NOTICE"))], "0NOTICE", NOW))


def test_thousand_recipients() -> None:
    fates = [fate(refused("gone " * 100), f"user{n}@example.org") for n in range(1000)]
    content = failure_report(about(), fates, "0NOTICE", NOW)
    assert len(parts(content)[1]) == 1001
    assert len(content) < 2_000_000


REPORTS = {
    Action.FAILED: lambda about, fates: failure_report(about, fates, "0NOTICE", NOW),
    Action.DELAYED: lambda about, fates: delay_report(about, fates, "0NOTICE", NOW, NOW + 86400),
    Action.DELIVERED: lambda about, fates: success_report(about, fates, "0NOTICE", NOW),
    Action.RELAYED: lambda about, fates: success_report(about, fates, "0NOTICE", NOW),
    Action.EXPANDED: lambda about, fates: success_report(about, fates, "0NOTICE", NOW),
}
WILD = st.text(st.characters() | st.sampled_from("\r\n\t\0 <>@=-_\x7f\x85\u2028\ud800é"), max_size=300)
LONG = st.builds(str.__mul__, WILD, st.integers(1, 40))
REPLIES = st.builds(
    Reply,
    st.integers(0, 999),
    st.sampled_from(["", "5.1.1", "4.4.1", "5.7.26"]) | WILD,
    st.lists(WILD | LONG, max_size=30).map(tuple),
)
OUTCOMES = st.builds(Outcome, st.sampled_from(Result), REPLIES, WILD, st.booleans())
RECIPIENTS = st.builds(Recipient, WILD | LONG | st.just("bob@example.org"), original=WILD)
FATES = st.lists(
    st.builds(Fate, RECIPIENTS, OUTCOMES, st.floats(0, 4e9), st.sampled_from(Action), st.just("")),
    min_size=1,
    max_size=4,
)
HEADERS = (
    st.binary(max_size=2000)
    | st.lists(st.binary(max_size=80), max_size=20).map(b"\r\n".join)
    | st.lists(st.sampled_from([b"=_0NOTICE", b"--", b"\r\n", b"=", b"\r", b"\n", b"a: b", b" ", b"\xff"])).map(
        b"".join
    )
)


@settings(deadline=None)
@example([fate(refused("no", enhanced="\ud800\r\n."))], b"", "", "", Action.FAILED)
@given(
    FATES,
    HEADERS,
    st.from_regex(r"[ -~\r\n]{0,80}", fullmatch=True) | st.just("alice@example.com"),
    WILD,
    st.sampled_from(Action),
)
def test_no_input_breaks_the_form(fates: list[Fate], header: bytes, sender: str, envid: str, action: Action) -> None:
    subject = about(header, sender, envid)
    fates = [one._replace(action=action) for one in fates]
    content = REPORTS[action](subject, fates)
    _, fields, _ = parts(content)
    assert len(fields) == 1 + len(fates)
    assert set(fields[0].keys()) <= {"Reporting-MTA", "Original-Envelope-Id", "X-Queue-ID", "Arrival-Date"}
    for group, one in zip(fields[1:], fates, strict=True):
        assert group.get_all("Action") == [action]
        assert group.get_all("Status") == [status(one.outcome.reply, action)]
        assert len(group.get_all("Final-Recipient")) == 1
    message = message_from_bytes(content)
    assert message.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    ]  # fmt: skip


@settings(deadline=None)
@given(FATES, WILD.filter(lambda text: not text.isascii()), WILD, st.sampled_from(Action))
def test_nothing_breaks_the_form_in_utf8_either(fates: list[Fate], sender: str, envid: str, action: Action) -> None:
    content = REPORTS[action](about(HEADER, sender, envid), [one._replace(action=action) for one in fates])
    content.decode()
    lines = content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    assert content.count(b"\r\nAction: ") == len(fates)


def test_success_tells_who_was_delivered_to_and_who_was_handed_on() -> None:
    stored = Outcome(Result.DELIVERED, Reply(250, "2.0.0", ("stored",)), "unix:/run/lmtp")
    taken = Outcome(Result.DELIVERED, Reply(250, "", ("taken",)), "mx.example.org[192.0.2.1]:25")
    fates = [
        fate(taken, "a@example.org", "rfc822;first+40example.com", Action.RELAYED),
        fate(stored, "b@example.org", action=Action.DELIVERED),
        fate(taken, "c@example.org", action=Action.RELAYED),
    ]
    content = success_report(about(envid="QQ314159"), fates, "0NOTICE", NOW)
    text, fields, header = parts(content)
    assert parsed(content)["Subject"] == "Delivered mail to 3 recipients"
    assert [(one["Final-Recipient"], one["Action"], one["Status"]) for one in fields[1:]] == [
        ("rfc822; b@example.org", "delivered", "2.0.0"),
        ("rfc822; a@example.org", "relayed", "2.0.0"),
        ("rfc822; c@example.org", "relayed", "2.0.0"),
    ]
    assert fields[0]["Original-Envelope-Id"] == "QQ314159"
    assert fields[2]["Original-Recipient"] == "rfc822;first@example.com"
    assert text.index("delivered to this recipient") < text.index("<b@") < text.index("handed on") < text.index("<a@")
    assert header.encode().rstrip() == HEADER.rstrip()


def test_an_expansion_is_no_end() -> None:
    ours = Outcome(Result.DELIVERED, Reply(250, "2.1.5", ("it stands for several",)), remote=False)
    content = success_report(about(), [fate(ours, "sales@example.org", action=Action.EXPANDED)], "0NOTICE", NOW)
    text, fields, _ = parts(content)
    assert (fields[1]["Action"], fields[1]["Status"]) == ("expanded", "2.1.5")
    assert fields[1]["Diagnostic-Code"] is None
    assert parsed(content)["Subject"] == "Expanded mail to sales@example.org"
    assert "several addresses" in " ".join(text.split())


def test_a_status_of_its_own() -> None:
    late = fate(deferred(451, "4.4.1", "connection refused"), action=Action.DELAYED)._replace(status="4.4.7")
    text, fields, _ = parts(delay_report(about(), [late], "0NOTICE", NOW, NOW + 1))
    assert fields[1]["Status"] == "4.4.7"
    assert "within a certain time" in " ".join(text.split())


# What is given back

WHOLE = HEADER + b"\r\nHello,\r\n.\r\nBob\r\n"


def given_part(content: bytes) -> tuple[bytes, bytes]:
    """The header and the body of the third part, octet for octet; nothing where there is none."""
    boundary = re.search(rb'boundary="([^"]+)"', content)
    assert boundary is not None
    pieces = content.split(b"--" + boundary[1])
    if len(pieces) == 4:
        return b"", b""
    head, _, body = pieces[3].removeprefix(b"\r\n").partition(b"\r\n\r\n")
    return head, body.removesuffix(b"\r\n")


def test_the_whole_message_comes_back_octet_for_octet() -> None:
    content = failure_report(about(returned(HEADER, WHOLE)), [fate(refused("no"))], "0NOTICE", NOW)
    assert given_part(content) == (b"Content-Type: message/rfc822", WHOLE)
    assert content.isascii()
    assert "It is attached as a whole." in content.decode()
    [inner] = parsed(content).get_payload()[2].get_payload()
    assert inner["Subject"] == "Lunch"


def test_eight_bits_come_back_as_they_are() -> None:
    whole = HEADER + "\r\nGrüße\r\n".encode()
    content = failure_report(about(returned(HEADER, whole)), [fate(refused("no"))], "0NOTICE", NOW)
    head, body = given_part(content)
    assert (head, body) == (b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit", whole)
    assert parsed(content)["Content-Transfer-Encoding"] == "8bit"


@pytest.mark.parametrize("octets", [b"nul \0", b"bare \r cr", b"bare \n lf", b"x" * 999])
def test_what_is_no_text_does_not_come_back(octets: bytes) -> None:
    given = returned(HEADER, HEADER + b"\r\n" + octets + b"\r\n")
    assert given.whole == b""
    content = failure_report(about(given), [fate(refused("no"))], "0NOTICE", NOW)
    assert given_part(content) == (b"Content-Type: text/rfc822-headers", HEADER)
    assert "Its header alone is attached, since" in parts(content)[0]
    assert returned(HEADER, HEADER + b"\r\n" + b"x" * 998 + b"\r\n").whole


def test_nothing_comes_back_where_nothing_may() -> None:
    content = failure_report(about(Returned(b"", why="it is a secret")), [fate(refused("no"))], "0NOTICE", NOW)
    assert given_part(content) == (b"", b"")
    assert len(parsed(content).get_payload()) == 2
    assert b"Nothing of it is attached, since it is a secret." in content


def test_a_bound_that_is_worth_having() -> None:
    assert 100_000 < LARGEST_WHOLE < 10_000_000


# Addresses beyond ASCII (RFC 6533)


def test_an_address_beyond_ascii_in_a_notice_for_everybody() -> None:
    one = fate(refused("no"), "jörg+x@bücher.example", r"utf-8;j\x{F6}rg@b\x{FC}cher.example")
    header = "From: a@b\r\nSubject: Grüße\r\n".encode()
    content = failure_report(about(header, smtputf8=True), [one], "0NOTICE", NOW)
    assert content.isascii()
    assert b"Content-Type: message/delivery-status\r\n" in content
    assert rb"Original-Recipient: utf-8;j\x{F6}rg@b\x{FC}cher.example" in content
    assert rb"Final-Recipient: utf-8; j\x{F6}rg\x{2B}x@b\x{FC}cher.example" in content
    head, _ = given_part(content)
    assert head == b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: quoted-printable"


def test_a_notice_to_an_address_beyond_ascii_is_in_utf8() -> None:
    one = fate(refused("no"), "jörg@bücher.example", r"utf-8;j\x{F6}rg@b\x{FC}cher.example")
    content = failure_report(about(sender="älice@example.com", smtputf8=True), [one], "0NOTICE", NOW)
    text = content.decode()
    assert "To: <älice@example.com>\r\nSubject: Undelivered mail to jörg@bücher.example\r\n" in text
    assert "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" in text
    assert "Original-Recipient: utf-8;jörg@bücher.example" in text
    assert "Final-Recipient: utf-8; jörg@bücher.example" in text
    assert "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--=_" in text


def test_an_internationalized_message_comes_back_as_one() -> None:
    header = "From: a@b\r\nSubject: Grüße\r\n".encode()
    given = returned(header, header + b"\r\nbody\r\n", smtputf8=True)
    content = failure_report(about(given, smtputf8=True), [fate(refused("no"))], "0NOTICE", NOW)
    assert given_part(content)[0] == b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit"
