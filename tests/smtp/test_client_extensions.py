"""What MAIL and RCPT say to peers with and without each extension, and what is not asked of them at all."""

from collections.abc import Iterator
from typing import Any

import pytest
from client_script import BYE, GO, LOST, OK, Said, Turn, ends, heard, play
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.smtp.asking import Mail, Peer, Wishes, commands
from mta.smtp.client import Delivery, How, Next, Stage, deliver
from mta.smtp.steps import Content

A, B = "a@example.org", "b@example.org"
LETTER = b"Subject: x\r\n\r\n.hello\r\n"
STUFFED = b"Subject: x\r\n\r\n..hello\r\n.\r\n"
TAKEN = (How.TAKEN, 250, Stage.CONTENT)
ALL = "SIZE 8BITMIME DSN AUTH SMTPUTF8 REQUIRETLS MT-PRIORITY DELIVERBY CHUNKING BINARYMIME PIPELINING"
ASKED_FOR_ALL = Wishes("FULL", "QQ314159", [("NEVER", "rfc822;a@old.example")], "e+mc2@example.com", False, True, -9)


def peer(offers: str, **more: Any) -> Peer:
    return Peer("mx.example", dict.fromkeys(offers.split(), ""), **more)


def letter(*recipients: str, sender: str = "s@example.com", **more: Any) -> Mail:
    return Mail(sender, recipients or (A,), len(LETTER), False, True, lambda: iter([LETTER]), **more)


def said(peer: Peer, mail: Mail) -> str:
    return b"".join(commands(peer, mail, range(len(mail.forward_paths)))).decode()


@pytest.mark.parametrize(
    ("offers", "wishes", "mail", "rcpt"),
    [
        # Delivery status notifications, RFC 3461 5.2.1 and 5.2.2.
        ("DSN", Wishes(ret="HDRS"), " RET=HDRS", ""),
        ("DSN", Wishes(ret="FULL", envid="QQ+2B314159"), " RET=FULL ENVID=QQ+2B314159", ""),
        ("DSN", Wishes(notifications=[("NEVER", "")]), "", " NOTIFY=NEVER"),
        ("DSN", Wishes(notifications=[("SUCCESS,DELAY", "")]), "", " NOTIFY=SUCCESS,DELAY"),
        ("DSN", Wishes(notifications=[("", "rfc822;Bob+2B@x.example")]), "", " ORCPT=rfc822;Bob+2B@x.example"),
        ("DSN", Wishes(notifications=[("FAILURE", "x;y")]), "", " NOTIFY=FAILURE ORCPT=x;y"),
        ("DSN", Wishes(notifications=[("", "")]), "", ""),
        (
            "DSN",
            Wishes(notifications=[("", "utf-8;ü\\x{2B}@é.example")]),
            "",
            r" ORCPT=utf-8;\x{FC}\x{2B}@\x{E9}.example",
        ),
        ("SIZE", Wishes("FULL", "id", [("NEVER", "x;y")]), f" SIZE={len(LETTER)}", ""),
        # Priority, RFC 6710.
        ("MT-PRIORITY", Wishes(priority=9), " MT-PRIORITY=9", ""),
        ("MT-PRIORITY", Wishes(priority=-9), " MT-PRIORITY=-9", ""),
        ("MT-PRIORITY", Wishes(ret="FULL"), "", ""),
        ("", Wishes(priority=9), "", ""),
        # Time for delivery, RFC 2852.
        ("DELIVERBY", Wishes(by=120, by_mode="R"), " BY=120;R", ""),
        ("DELIVERBY", Wishes(by=-120, by_mode="NT"), " BY=-120;NT", ""),
        ("DELIVERBY", Wishes(by=10**12, by_mode="RT"), " BY=999999999;RT", ""),
        ("DELIVERBY", Wishes(by=-(10**12), by_mode="N"), " BY=-999999999;N", ""),
        ("", Wishes(by=120, by_mode="N"), "", ""),
        # Who submitted it, RFC 4954 5: nobody is told before we have logged in.
        ("AUTH", Wishes(auth="<>"), "", ""),
        ("AUTH", Wishes(auth="e+mc2@example.com"), "", ""),
        # TLS on the whole way, RFC 8689; it is not even asked without TLS, see below.
        ("REQUIRETLS", Wishes(requiretls=True), " REQUIRETLS", ""),
        # All of it at once, to a peer that knows nothing of it and to one that knows everything.
        ("", ASKED_FOR_ALL, "", ""),
        (
            ALL,
            ASKED_FOR_ALL,
            f" SIZE={len(LETTER)} RET=FULL ENVID=QQ314159 REQUIRETLS MT-PRIORITY=-9",
            " NOTIFY=NEVER ORCPT=rfc822;a@old.example",
        ),
    ],
)
def test_only_what_the_peer_offers_is_said(offers: str, wishes: Wishes, mail: str, rcpt: str) -> None:
    assert said(peer(offers), letter(wishes=wishes)) == f"MAIL FROM:<s@example.com>{mail}\r\nRCPT TO:<{A}>{rcpt}\r\n"


@pytest.mark.parametrize(("offers", "logged_in"), [("AUTH", True), ("AUTH", False), ("", True)])
@pytest.mark.parametrize(
    ("auth", "value"), [("<>", "<>"), ("e+mc2=x@example.com", "e+2Bmc2+3Dx@example.com"), ("ü@x.example", None)]
)
def test_the_submitter_is_told_where_we_have_logged_in(
    offers: str, logged_in: bool, auth: str, value: str | None
) -> None:
    known = offers == "AUTH" and logged_in and value is not None
    parameter = f" AUTH={value}" if known else ""
    mail = letter(wishes=Wishes(auth=auth))
    assert said(peer(offers, authenticated=logged_in), mail).splitlines()[0] == f"MAIL FROM:<s@example.com>{parameter}"


def test_each_recipient_has_its_own_notifications_in_every_transaction() -> None:
    mail = letter(A, B, wishes=Wishes(notifications=[("NEVER", ""), ("SUCCESS", "rfc822;c@example.org")]))
    [_, second] = commands(peer("DSN"), mail, [1])
    assert second == b"RCPT TO:<b@example.org> NOTIFY=SUCCESS ORCPT=rfc822;c@example.org\r\n"


UTF8 = "8BITMIME SMTPUTF8"


@pytest.mark.parametrize(
    ("offers", "mail", "lines"),
    [
        (UTF8, letter(), "MAIL FROM:<s@example.com>\r\nRCPT TO:<a@example.org>\r\n"),
        (UTF8, letter("ä@ö.example"), "MAIL FROM:<s@example.com> SMTPUTF8\r\nRCPT TO:<ä@ö.example>\r\n"),
        (UTF8, letter(sender="ä@ö.example"), "MAIL FROM:<ä@ö.example> SMTPUTF8\r\nRCPT TO:<a@example.org>\r\n"),
        (UTF8, letter(wishes=Wishes(utf8=True)), "MAIL FROM:<s@example.com> SMTPUTF8\r\nRCPT TO:<a@example.org>\r\n"),
        (
            UTF8 + " DSN",
            letter(wishes=Wishes(utf8=True, notifications=[("", "utf-8;ü@é.example")])),
            "MAIL FROM:<s@example.com> SMTPUTF8\r\nRCPT TO:<a@example.org> ORCPT=utf-8;ü@é.example\r\n",
        ),
        ("", letter(), "MAIL FROM:<s@example.com>\r\nRCPT TO:<a@example.org>\r\n"),
    ],
)
def test_smtputf8_is_said_where_it_is_needed(offers: str, mail: Mail, lines: str) -> None:
    assert said(peer(offers), mail) == lines


def refused(peer: Peer, mail: Mail) -> list[tuple[How, str]]:
    """What becomes of a mail that is not even asked for."""
    with pytest.raises(StopIteration) as end:
        next(deliver(peer, mail))
    delivery: Delivery = end.value.value
    assert delivery.next is Next.MAIL
    return [(ending.how, str(ending.reply)) for ending in delivery.endings]


NO_TLS = "550 5.7.30 REQUIRETLS needed, and there is no TLS with a verified certificate of mx.example"
LEFT = Wishes(by=60, by_mode="R")


@pytest.mark.parametrize(
    ("to", "mail", "how", "text"),
    [
        (peer("SMTPUTF8"), letter(sender="ä@b.example"), How.OURS, "553 5.6.7 the reverse-path has letters beyond"),
        (peer("8BITMIME"), letter("ä@b.example"), How.OURS, "553 5.6.7 the forward-path has letters beyond ASCII"),
        (peer(""), letter(wishes=Wishes(utf8=True)), How.OURS, "550 5.6.7 the header section has letters beyond ASCII"),
        (peer(UTF8), letter("ä\r\n@b.example"), How.OURS, "553 5.1.3 the forward-path has characters that cannot"),
        (peer(UTF8), letter(sender="a\x85@b"), How.OURS, "553 5.1.7 the reverse-path has characters that cannot"),
        (peer("REQUIRETLS"), letter(wishes=Wishes(requiretls=True)), How.ELSEWHERE, NO_TLS),
        (peer("REQUIRETLS", tls="TLSv1.3"), letter(wishes=Wishes(requiretls=True)), How.ELSEWHERE, NO_TLS),
        (peer("REQUIRETLS", verified=True), letter(wishes=Wishes(requiretls=True)), How.ELSEWHERE, NO_TLS),
        (
            peer("DSN", tls="TLSv1.3", verified=True),
            letter(wishes=Wishes(requiretls=True)),
            How.ELSEWHERE,
            "550 5.7.30 REQUIRETLS needed, and mx.example does not offer it",
        ),
        (peer("DELIVERBY"), letter(wishes=Wishes(by=0, by_mode="RT")), How.OURS, "550 5.4.7 the time within which"),
        (peer("DSN"), letter(wishes=LEFT), How.ELSEWHERE, "550 5.3.3 it must be returned where it is late, and mx"),
        (
            Peer("mx.example", {"DELIVERBY": "61"}),
            letter(wishes=LEFT),
            How.ELSEWHERE,
            "550 5.4.7 60 seconds are left for its delivery, and mx.example needs 61",
        ),
        (peer("BINARYMIME"), letter(binary=True), How.OURS, "554 5.6.3 binary content, and mx.example does not offer"),
        (peer("CHUNKING"), letter(binary=True), How.OURS, "554 5.6.3 binary content, and mx.example does not offer"),
    ],
)
def test_what_a_message_cannot_do_without(to: Peer, mail: Mail, how: How, text: str) -> None:
    [(came, reply)] = refused(to, mail)
    assert (came, reply[: len(text)]) == (how, text)


@pytest.mark.parametrize(
    ("to", "wishes", "parameter"),
    [
        (peer("REQUIRETLS PIPELINING", tls="TLSv1.3", verified=True), Wishes(requiretls=True), " REQUIRETLS"),
        (Peer("mx", {"DELIVERBY": "60", "PIPELINING": ""}), LEFT, " BY=60;R"),
        (Peer("mx", {"DELIVERBY": "soon", "PIPELINING": ""}), LEFT, " BY=60;R"),
        (Peer("mx", {"DELIVERBY": "61", "PIPELINING": ""}), Wishes(by=60, by_mode="N"), " BY=60;N"),
        (peer("PIPELINING"), Wishes(by=-5, by_mode="N"), ""),
        (peer("PIPELINING", lmtp=True), LEFT, ""),
    ],
)
def test_what_has_all_that_it_needs_goes(to: Peer, wishes: Wishes, parameter: str) -> None:
    turns: list[Turn] = [
        (f"MAIL FROM:<s@example.com>{parameter}\r\nRCPT TO:<{A}>\r\nDATA\r\n", [OK, OK, GO]),
        (STUFFED, [OK]),
    ]
    assert ends(play(deliver(to, letter(wishes=wishes)), *turns)) == [TAKEN]


def test_a_recipient_that_needs_smtputf8_does_not_stop_the_others() -> None:
    turns: list[Turn] = [
        (f"MAIL FROM:<s@example.com>\r\nRCPT TO:<{B}>\r\nDATA\r\n", [OK, OK, GO]),
        (STUFFED, [OK]),
    ]
    delivery = play(deliver(peer("PIPELINING"), letter("ä@b.example", B)), *turns)
    assert ends(delivery) == [(How.OURS, 553, Stage.RCPT), TAKEN]


BINARY = b"a\rb\nc\0\xff\r\n.\r\n.."
OPENING = f"MAIL FROM:<s@example.com> BODY=BINARYMIME\r\nRCPT TO:<{A}>\r\nRCPT TO:<{B}>\r\n"
CHUNK = b"BDAT %d LAST\r\n" % len(BINARY) + BINARY
REFUSED = (How.REFUSED, 550, Stage.RCPT)
NO = "550 5.1.1 unknown"


def binary(*recipients: str) -> Mail:
    return Mail("s@example.com", recipients, len(BINARY), True, True, lambda: iter([BINARY[:4], BINARY[4:]]), True)


def binary_peer(pipelining: bool = True, lmtp: bool = False) -> Peer:
    return peer("8BITMIME BINARYMIME CHUNKING" + " PIPELINING" * pipelining, lmtp=lmtp)


@pytest.mark.parametrize(
    ("opened", "final", "endings", "after"),
    [
        ([OK, OK, OK], OK, [TAKEN, TAKEN], Next.MAIL),
        ([OK, OK, NO], OK, [TAKEN, REFUSED], Next.MAIL),
        ([OK, OK, OK], "554 5.6.0 no", [(How.REFUSED, 554, Stage.CONTENT)] * 2, Next.RESET),
        ([OK, OK, OK], LOST, [(How.UNKNOWN, 451, Stage.CONTENT)] * 2, Next.NOTHING),
        ([OK, OK, OK], BYE, [(How.LOST, 421, Stage.CONTENT)] * 2, Next.NOTHING),
        ([OK, OK, OK], GO, [(How.UNKNOWN, 451, Stage.CONTENT)] * 2, Next.NOTHING),
        ([OK, NO, NO], None, [REFUSED] * 2, Next.RESET),
        (["550 no", NO, NO], None, [(How.REFUSED, 550, Stage.MAIL)] * 2, Next.RESET),
        ([OK, BYE, BYE], None, [(How.LOST, 421, Stage.RCPT)] * 2, Next.NOTHING),
    ],
)
@pytest.mark.parametrize("pipelining", [True, False])
def test_binary_content_goes_in_a_chunk(
    pipelining: bool, opened: list[Said], final: Said | None, endings: list[Any], after: Next
) -> None:
    turns: list[Turn] = [(OPENING, opened)]
    if not pipelining:
        asked = 1 if opened[0] != OK else len(opened)
        turns = [(line, [reply]) for line, reply in zip(OPENING.splitlines(True)[:asked], opened, strict=False)]
    if final is not None:
        turns.append((CHUNK, [final]))
    delivery = play(deliver(binary_peer(pipelining), binary(A, B)), *turns)
    assert ends(delivery) == endings
    assert delivery.next is after


def test_binary_content_in_lmtp_has_a_reply_for_each_recipient() -> None:
    """RFC 2033 4.2."""
    turns: list[Turn] = [(OPENING, [OK, OK, OK]), (CHUNK, [OK, "552 5.2.2 full"])]
    delivery = play(deliver(binary_peer(lmtp=True), binary(A, B)), *turns)
    assert ends(delivery) == [TAKEN, (How.REFUSED, 552, Stage.CONTENT)]
    assert delivery.next is Next.RESET


@pytest.mark.parametrize("size", [len(BINARY) - 1, len(BINARY) + 1, 0])
def test_a_chunk_is_never_of_another_length_than_it_says(size: int) -> None:
    dialogue = deliver(binary_peer(), binary(A)._replace(size=size))
    next(dialogue)
    step = dialogue.send([heard(OK), heard(OK)])
    assert isinstance(step, Content)
    sent = b""
    with pytest.raises(OSError, match="not as long as it was"):
        for block in step.blocks:
            sent += block
    line, _, octets = sent.partition(b"\r\n")
    assert line == b"BDAT %d LAST" % size
    assert len(octets) <= size


words = st.sampled_from(ALL.split())
paths = st.sampled_from(["", A, "ä@example.org", "a@ö.example", "a b@c", "x@y>\r\nDATA"])


@settings(deadline=None, max_examples=200)
@given(
    st.sets(words),
    paths,
    st.lists(paths.filter(bool), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
    st.builds(
        Wishes,
        st.sampled_from(["", "FULL"]),
        st.sampled_from(["", "id"]),
        st.just([("NEVER", "utf-8;ü@é.example")] * 3),
        st.sampled_from(["", "<>", "ü@x"]),
        st.booleans(),
        st.booleans(),
        st.integers(-9, 9),
        st.integers(-10, 10),
        st.sampled_from(["", "R", "N", "RT"]),
    ),
)
def test_nothing_is_said_that_was_not_offered(
    offered: set[str], sender: str, recipients: list[str], is_binary: bool, secure: bool, wishes: Wishes
) -> None:
    to = Peer("mx", dict.fromkeys(offered | {"PIPELINING"}, ""), False, "TLS" * secure, secure, secure)

    def blocks() -> Iterator[bytes]:
        yield LETTER

    mail = Mail(sender, recipients, len(LETTER), True, True, blocks, is_binary, wishes)
    try:
        step = next(deliver(to, mail))
    except StopIteration:
        return
    lines = b"".join(step.lines).decode().split("\r\n")  # type: ignore[union-attr]
    assert len(lines) == sum(line.startswith("RCPT") for line in lines) + 3 - is_binary
    parameters = {
        "SIZE": "SIZE",
        "BODY": "BINARYMIME" if is_binary else "8BITMIME",
        "RET": "DSN",
        "ENVID": "DSN",
        "NOTIFY": "DSN",
        "ORCPT": "DSN",
        "AUTH": "AUTH",
        "SMTPUTF8": "SMTPUTF8",
        "REQUIRETLS": "REQUIRETLS",
        "MT-PRIORITY": "MT-PRIORITY",
        "BY": "DELIVERBY",
    }
    for line in lines[:-2] if not is_binary else lines[:-1]:
        for parameter in line.rpartition(">")[2].split() if "AUTH=<>" not in line else []:
            assert parameters[parameter.partition("=")[0]] in offered
        if not line.isascii():
            assert {"SMTPUTF8", "8BITMIME"} <= offered
            assert " SMTPUTF8" in lines[0]
    assert not is_binary or {"CHUNKING", "BINARYMIME"} <= offered
