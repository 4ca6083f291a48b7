"""The asking side's dialogues, by tables: what is yielded, what is replied, and what comes of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from client_script import BYE, GO, LOST, OK, Said, Turn, ends, heard, play

from mta.smtp.allowance import RECIPIENTS_LIMIT
from mta.smtp.asking import Mail, Peer
from mta.smtp.client import Ending, How, Next, Stage, bye, deliver
from mta.smtp.opening import open_up
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply

PIPELINING = Peer("mx.example", {"PIPELINING": ""})
IN_TURN = Peer("mx.example", {})
A, B, C = "a@example.org", "b@example.org", "c@example.org"
LETTER = b"Subject: x\r\n\r\n.hello\r\n"


def letter(*recipients: str, sender: str = "s@example.com", eight_bit: bool = False) -> Mail:
    return Mail(sender, recipients, len(LETTER), eight_bit, True, lambda: iter([LETTER]))


def group(*recipients: str, sender: str = "s@example.com", parameters: str = "") -> str:
    rcpts = "".join(f"RCPT TO:<{address}>\r\n" for address in recipients)
    return f"MAIL FROM:<{sender}>{parameters}\r\n{rcpts}DATA\r\n"


STUFFED = LETTER.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@pytest.mark.parametrize(
    ("turns", "result"),
    [
        (
            [
                (None, ["220 mx.example ESMTP"]),
                ("EHLO me.example\r\n", ["250-mx.example hi\r\n250-Size 10\r\n250 HELP"]),
            ],
            Peer("mx.example", {"SIZE": "10", "HELP": ""}),
        ),
        *(
            (
                [
                    (None, ["220 mx.example"]),
                    ("EHLO me.example\r\n", [f"{code} what?"]),
                    ("HELO me.example\r\n", ["250 mx.example"]),
                ],
                Peer("mx.example", {}),
            )
            for code in (500, 502, 504, 550)
        ),
        ([(None, ["554 5.7.1 no"])], Ending(How.REFUSED, heard("554 5.7.1 no"), Stage.GREETING)),
        ([(None, ["450 4.3.2 busy"])], Ending(How.REFUSED, heard("450 4.3.2 busy"), Stage.GREETING)),
        ([(None, [BYE])], Ending(How.LOST, heard(BYE), Stage.GREETING)),
        ([(None, [LOST])], Ending(How.LOST, LOST, Stage.GREETING)),
        (
            [(None, ["354 what"])],
            Ending(How.LOST, Reply(451, "4.5.0", ("unexpected reply to the greeting: 354 what",)), Stage.GREETING),
        ),
        (
            [(None, ["220 hi"]), ("EHLO me.example\r\n", ["450 4.7.1 later"])],
            Ending(How.REFUSED, heard("450 4.7.1 later"), Stage.GREETING),
        ),
        (
            [(None, ["220 hi"]), ("EHLO me.example\r\n", ["554 5.7.1 no"])],
            Ending(How.REFUSED, heard("554 5.7.1 no"), Stage.GREETING),
        ),
        (
            [(None, ["220 hi"]), ("EHLO me.example\r\n", ["502 no"]), ("HELO me.example\r\n", ["550 5.7.1 no"])],
            Ending(How.REFUSED, heard("550 5.7.1 no"), Stage.GREETING),
        ),
    ],
)
def test_hello(turns: list[Turn], result: Peer | Ending) -> None:
    assert play(open_up("me.example"), *turns) == result


def test_hello_in_lmtp_has_nothing_to_fall_back_to() -> None:
    turns: list[Turn] = [(None, ["220 hi"]), ("LHLO me.example\r\n", ["500 what?"])]
    ending = play(open_up("me.example", lmtp=True), *turns)
    assert ending == Ending(
        How.LOST, OwnReply(451, "4.5.0", ("the server does not speak LMTP: 500 what?",)), Stage.GREETING
    )
    turns = [(None, ["220 hi"]), ("LHLO me.example\r\n", ["250-store\r\n250 PIPELINING"])]
    assert play(open_up("me.example", lmtp=True), *turns) == Peer("store", {"PIPELINING": ""}, lmtp=True)


def test_bye() -> None:
    assert play(bye(), ("QUIT\r\n", ["221 bye"])) is None
    assert play(bye(), ("QUIT\r\n", [LOST])) is None


@pytest.mark.parametrize(
    ("extensions", "mail", "parameters"),
    [
        ({"SIZE": ""}, letter(A), f" SIZE={len(LETTER)}"),
        ({"SIZE": "0"}, letter(A), f" SIZE={len(LETTER)}"),
        ({"SIZE": "1000"}, letter(A, eight_bit=True), f" SIZE={len(LETTER)}"),
        ({"8BITMIME": ""}, letter(A), ""),
        ({"8BITMIME": ""}, letter(A, eight_bit=True), " BODY=8BITMIME"),
        ({"SIZE": "1000", "8BITMIME": ""}, letter(A, eight_bit=True), f" SIZE={len(LETTER)} BODY=8BITMIME"),
        ({}, letter(A, eight_bit=True), ""),
    ],
)
def test_mail_has_the_parameters_that_the_peer_knows(extensions: dict[str, str], mail: Mail, parameters: str) -> None:
    peer = Peer("mx.example", {"PIPELINING": "", **extensions})
    turns: list[Turn] = [(group(A, parameters=parameters), [OK, OK, GO]), (STUFFED, [OK])]
    assert ends(play(deliver(peer, mail), *turns)) == [(How.TAKEN, 250, Stage.CONTENT)]


def test_the_null_reverse_path() -> None:
    turns: list[Turn] = [(group(A, sender=""), [OK, OK, GO]), (STUFFED, [OK])]
    assert ends(play(deliver(PIPELINING, letter(A, sender="")), *turns)) == [(How.TAKEN, 250, Stage.CONTENT)]


TAKEN = (How.TAKEN, 250, Stage.CONTENT)
NO = "550 5.1.1 unknown"
LATER = "450 4.2.1 try later"
FULL = "452 4.5.3 too many"

# What a server replies to MAIL, each RCPT and DATA, then to the content (None: it is not asked for), for recipients A
# and B; how that ends; what the session is good for.
CASES: dict[str, tuple[list[Said], Said | None, list[tuple[How, int, Stage]], Next]] = {
    "all is well": ([OK, OK, OK, GO], OK, [TAKEN, TAKEN], Next.MAIL),
    "251 is as good": ([OK, "251 will forward", OK, GO], OK, [TAKEN, TAKEN], Next.MAIL),
    "a recipient is refused": ([OK, NO, OK, GO], OK, [(How.REFUSED, 550, Stage.RCPT), TAKEN], Next.MAIL),
    "551 is a refusal": ([OK, OK, "551 try <b@c>", GO], OK, [TAKEN, (How.REFUSED, 551, Stage.RCPT)], Next.MAIL),
    "a refusal of several lines": (
        [OK, OK, "550-5.1.1 no\r\n550 5.1.1 such user", GO],
        OK,
        [TAKEN, (How.REFUSED, 550, Stage.RCPT)],
        Next.MAIL,
    ),
    "a recipient has to wait": ([OK, OK, LATER, GO], OK, [TAKEN, (How.REFUSED, 450, Stage.RCPT)], Next.MAIL),
    "the first is too many": ([OK, FULL, OK, GO], OK, [(How.REFUSED, 452, Stage.RCPT), TAKEN], Next.MAIL),
    "MAIL refused": (["550 no", NO, NO, "503 no"], None, [(How.REFUSED, 550, Stage.MAIL)] * 2, Next.RESET),
    "MAIL has to wait": (["451 no", NO, NO, "503 no"], None, [(How.REFUSED, 451, Stage.MAIL)] * 2, Next.RESET),
    "content refused": ([OK, OK, OK, GO], "554 spam", [(How.REFUSED, 554, Stage.CONTENT)] * 2, Next.MAIL),
    "content has to wait": ([OK, OK, OK, GO], "451 no", [(How.REFUSED, 451, Stage.CONTENT)] * 2, Next.MAIL),
    "DATA refused": ([OK, OK, OK, "554 no"], None, [(How.REFUSED, 554, Stage.DATA)] * 2, Next.RESET),
    "DATA has to wait": ([OK, OK, OK, "451 no"], None, [(How.REFUSED, 451, Stage.DATA)] * 2, Next.RESET),
    "none is left for DATA": (
        [OK, NO, LATER, "503 no"],
        None,
        [(How.REFUSED, 550, Stage.RCPT), (How.REFUSED, 450, Stage.RCPT)],
        Next.RESET,
    ),
    "421 to MAIL": ([BYE, BYE, BYE, BYE], None, [(How.LOST, 421, Stage.MAIL)] * 2, Next.NOTHING),
    "421 to the first RCPT": ([OK, BYE, BYE, BYE], None, [(How.LOST, 421, Stage.RCPT)] * 2, Next.NOTHING),
    "421 to the second RCPT": ([OK, OK, BYE, BYE], None, [(How.LOST, 421, Stage.RCPT)] * 2, Next.NOTHING),
    "refused, then 421": (
        [OK, NO, BYE, BYE],
        None,
        [(How.REFUSED, 550, Stage.RCPT), (How.LOST, 421, Stage.RCPT)],
        Next.NOTHING,
    ),
    "all refused, then 421": (
        [OK, NO, NO, BYE],
        None,
        [(How.REFUSED, 550, Stage.RCPT)] * 2,
        Next.NOTHING,
    ),
    "421 to DATA": (
        [OK, OK, NO, BYE],
        None,
        [(How.LOST, 421, Stage.DATA), (How.REFUSED, 550, Stage.RCPT)],
        Next.NOTHING,
    ),
    "421 to the content": ([OK, OK, OK, GO], BYE, [(How.LOST, 421, Stage.CONTENT)] * 2, Next.NOTHING),
    "lost at DATA": ([OK, OK, OK, LOST], None, [(How.LOST, 451, Stage.DATA)] * 2, Next.NOTHING),
    "lost after the content": ([OK, OK, OK, GO], LOST, [(How.UNKNOWN, 451, Stage.CONTENT)] * 2, Next.NOTHING),
    "MAIL is answered 354": ([GO, OK, OK, GO], None, [(How.LOST, 451, Stage.MAIL)] * 2, Next.NOTHING),
    "RCPT is answered 354": ([OK, GO, OK, GO], None, [(How.LOST, 451, Stage.RCPT)] * 2, Next.NOTHING),
    "DATA is answered 250": ([OK, OK, OK, OK], None, [(How.LOST, 451, Stage.DATA)] * 2, Next.NOTHING),
    "DATA is answered 350": ([OK, OK, OK, "350 what"], None, [(How.LOST, 451, Stage.DATA)] * 2, Next.NOTHING),
    "the content is answered 354": ([OK, OK, OK, GO], GO, [(How.UNKNOWN, 451, Stage.CONTENT)] * 2, Next.NOTHING),
}


@pytest.mark.parametrize("name", CASES)
def test_a_pipelined_transaction(name: str) -> None:
    replies, final, endings, after = CASES[name]
    turns: list[Turn] = [(group(A, B), replies)]
    if final is not None:
        turns.append((STUFFED, [final]))
    delivery = play(deliver(PIPELINING, letter(A, B)), *turns)
    assert ends(delivery) == endings
    assert delivery.next is after


@pytest.mark.parametrize("name", CASES)
def test_the_same_without_pipelining(name: str) -> None:
    replies, final, endings, after = CASES[name]
    lines = group(A, B).splitlines(keepends=True)
    codes = [heard(reply).code for reply in replies]
    asked = 1 if codes[0] >= 300 else 3 if not any(code < 300 for code in codes[1:3]) else 4
    turns: list[Turn] = [(line, [reply]) for line, reply in zip(lines[:asked], replies[:asked], strict=True)]
    if final is not None:
        turns.append((STUFFED, [final]))
    delivery = play(deliver(IN_TURN, letter(A, B)), *turns)
    assert ends(delivery) == endings
    # Where no DATA was sent, its 421 was not heard.
    assert delivery.next is (Next.RESET if name == "all refused, then 421" else after)


def test_a_connection_lost_in_the_content_is_known_to_have_brought_nothing() -> None:
    delivery = play(deliver(PIPELINING, letter(A)), (group(A), [OK, OK, GO]), (STUFFED, [LOST]), cut_off=True)
    assert ends(delivery) == [(How.LOST, 451, Stage.CONTENT)]
    assert delivery.next is Next.NOTHING


@pytest.mark.parametrize(
    ("reply", "ending"),
    [("552 5.3.4 too big", (How.REFUSED, 552, Stage.CONTENT)), ("250 thanks", (How.LOST, 451, Stage.CONTENT))],
)
def test_a_reply_in_the_middle_of_the_content(reply: str, ending: tuple[How, int, Stage]) -> None:
    delivery = play(deliver(PIPELINING, letter(A)), (group(A), [OK, OK, GO]), (STUFFED, [reply]), cut_off=True)
    assert ends(delivery) == [ending]
    assert delivery.next is Next.NOTHING


@pytest.mark.parametrize(
    ("final", "after"), [("554 no recipients", Next.MAIL), (OK, Next.MAIL), (LOST, Next.NOTHING), (BYE, Next.NOTHING)]
)
def test_data_taken_for_nobody_is_ended_at_once(final: Said, after: Next) -> None:
    """RFC 2920 3.1."""
    delivery = play(deliver(PIPELINING, letter(A, B)), (group(A, B), [OK, NO, LATER, GO]), (b".\r\n", [final]))
    assert ends(delivery) == [(How.REFUSED, 550, Stage.RCPT), (How.REFUSED, 450, Stage.RCPT)]
    assert delivery.next is after
    delivery = play(deliver(PIPELINING, letter(A, B)), (group(A, B), ["451 no", OK, OK, GO]), (b".\r\n", [final]))
    assert ends(delivery) == [(How.REFUSED, 451, Stage.MAIL)] * 2
    assert delivery.next is after


def test_a_transaction_left_open_is_reset_first() -> None:
    turns: list[Turn] = [("RSET\r\n" + group(A), [OK, OK, OK, GO]), (STUFFED, [OK])]
    assert ends(play(deliver(PIPELINING, letter(A), Next.RESET), *turns)) == [TAKEN]
    in_turn: list[Turn] = [(line, [OK]) for line in ["RSET\r\n", *group(A).splitlines(keepends=True)[:2]]]
    in_turn += [("DATA\r\n", [GO]), (STUFFED, [OK])]
    assert ends(play(deliver(IN_TURN, letter(A), Next.RESET), *in_turn)) == [TAKEN]


@pytest.mark.parametrize("refusal", ["500 what?", BYE, LOST])
def test_a_reset_that_is_refused_says_nothing_of_the_message(refusal: Said) -> None:
    later = refusal if refusal != "500 what?" else "503 no"
    delivery = play(deliver(PIPELINING, letter(A), Next.RESET), ("RSET\r\n" + group(A), [refusal, later, later, later]))
    assert ends(delivery) == [(How.LOST, 421 if refusal == BYE else 451, Stage.RSET)]
    assert delivery.next is Next.NOTHING
    assert ends(play(deliver(IN_TURN, letter(A), Next.RESET), ("RSET\r\n", [refusal]))) == ends(delivery)


@pytest.mark.parametrize("too_many", [FULL, "552 too many"])
def test_recipients_that_are_too_many_go_in_the_next_transaction(too_many: str) -> None:
    """RFC 5321 4.5.3.1.10."""
    delivery = play(
        deliver(PIPELINING, letter(A, B, C)),
        (group(A, B, C), [OK, OK, too_many, too_many, GO]),
        (STUFFED, [OK]),
        (group(B, C), [OK, OK, too_many, GO]),
        (STUFFED, [OK]),
        (group(C), [OK, too_many, "503 no"]),
    )
    # Where it is the first of its transaction, it is not for the number of them.
    last = (How.REFUSED, heard(too_many).code, Stage.RCPT)
    assert ends(delivery) == [TAKEN, TAKEN, last]
    assert delivery.next is Next.RESET


def test_recipients_that_are_too_many_are_not_lost_with_the_session() -> None:
    delivery = play(deliver(PIPELINING, letter(A, B)), (group(A, B), [OK, OK, FULL, GO]), (STUFFED, [LOST]))
    assert ends(delivery) == [(How.UNKNOWN, 451, Stage.CONTENT), (How.LOST, 451, Stage.MAIL)]


def test_many_recipients_go_in_several_transactions() -> None:
    everybody = [f"r{number}@example.org" for number in range(RECIPIENTS_LIMIT + 50)]
    first, rest = everybody[:RECIPIENTS_LIMIT], everybody[RECIPIENTS_LIMIT:]
    delivery = play(
        deliver(PIPELINING, letter(*everybody)),
        (group(*first), [OK] * 101 + [GO]),
        (STUFFED, [OK]),
        (group(*rest), [OK] * 50 + [NO, GO]),
        (STUFFED, [OK]),
    )
    assert ends(delivery) == [TAKEN] * 149 + [(How.REFUSED, 550, Stage.RCPT)]


def test_a_session_that_ends_between_transactions_loses_only_the_rest() -> None:
    everybody = [f"r{number}@example.org" for number in range(2 * RECIPIENTS_LIMIT + 50)]
    delivery = play(
        deliver(PIPELINING, letter(*everybody)),
        (group(*everybody[:100]), [OK] * 101 + [GO]),
        (STUFFED, [OK]),
        (group(*everybody[100:200]), [BYE] * 102),
    )
    assert ends(delivery) == [TAKEN] * 100 + [(How.LOST, 421, Stage.MAIL)] * 150


def test_what_the_peer_would_refuse_is_not_sent() -> None:
    peer = Peer("mx.example", {"SIZE": str(len(LETTER) - 1)})
    with pytest.raises(StopIteration) as end:
        next(deliver(peer, letter(A, B)))
    assert ends(end.value.value) == [(How.OURS, 552, Stage.MAIL)] * 2
    assert end.value.value.next is Next.MAIL
    assert play(deliver(peer, letter(A)._replace(size=len(LETTER) - 1)), *_in_turn(A)).next is Next.MAIL


def _in_turn(address: str) -> list[Turn]:
    return [
        (f"MAIL FROM:<s@example.com> SIZE={len(LETTER) - 1}\r\n", [OK]),
        (f"RCPT TO:<{address}>\r\n", [OK]),
        ("DATA\r\n", [GO]),
        (STUFFED, [OK]),
    ]


@pytest.mark.parametrize("path", ["a@b>\r\nRCPT TO:<x@y", "ä@example.org", "a\n@b", "a\0@b", "a@b\x1b[2J", "a@\ud800"])
def test_no_path_ends_its_line(path: str) -> None:
    turns: list[Turn] = [(group(B), [OK, OK, GO]), (STUFFED, [OK])]
    assert ends(play(deliver(PIPELINING, letter(path, B)), *turns)) == [(How.OURS, 553, Stage.RCPT), TAKEN]
    with pytest.raises(StopIteration) as end:
        next(deliver(PIPELINING, letter(A, sender=path)))
    assert ends(end.value.value) == [(How.OURS, 553, Stage.MAIL)]


def test_content_that_cannot_be_read() -> None:
    dialogue = deliver(PIPELINING, letter(A, B))
    next(dialogue)
    dialogue.send([heard(OK), heard(NO), heard(OK), heard(GO)])
    with pytest.raises(StopIteration) as end:
        dialogue.throw(OSError(5, "Input/output error"))
    assert {ending.how for ending in end.value.value.endings} == {How.OURS}
    assert end.value.value.endings[1].reply.text == "the content cannot be read: [Errno 5] Input/output error"
    assert end.value.value.next is Next.NOTHING


def test_content_that_cannot_even_be_opened() -> None:
    def blocks() -> Iterator[bytes]:
        raise OSError("gone")

    delivery = play(deliver(PIPELINING, letter(A)._replace(blocks=blocks)), (group(A), [OK, OK, GO]))
    assert ends(delivery) == [(How.OURS, 451, Stage.CONTENT)]
    assert delivery.next is Next.NOTHING


LMTP = Peer("store.example", {"PIPELINING": ""}, lmtp=True)


@pytest.mark.parametrize(
    ("finals", "endings", "after"),
    [
        ([OK, OK], [TAKEN, TAKEN], Next.MAIL),
        ([OK, "552 5.2.2 full"], [TAKEN, (How.REFUSED, 552, Stage.CONTENT)], Next.MAIL),
        (["450 later", OK], [(How.REFUSED, 450, Stage.CONTENT), TAKEN], Next.MAIL),
        ([OK, LOST], [TAKEN, (How.UNKNOWN, 451, Stage.CONTENT)], Next.NOTHING),
        ([OK, BYE], [TAKEN, (How.LOST, 421, Stage.CONTENT)], Next.NOTHING),
    ],
)
def test_lmtp_has_a_final_reply_for_each_recipient(finals: list[Said], endings: list[Any], after: Next) -> None:
    """RFC 2033 4.2."""
    turns: list[Turn] = [(group(A, C, B), [OK, OK, NO, OK, GO]), (STUFFED, finals)]
    delivery = play(deliver(LMTP, letter(A, C, B)), *turns)
    assert ends(delivery) == [endings[0], (How.REFUSED, 550, Stage.RCPT), endings[1]]
    assert delivery.next is after


def test_an_lmtp_server_that_takes_data_for_nobody_is_left() -> None:
    delivery = play(deliver(LMTP, letter(A)), (group(A), [OK, NO, GO]))
    assert ends(delivery) == [(How.REFUSED, 550, Stage.RCPT)]
    assert delivery.next is Next.NOTHING
