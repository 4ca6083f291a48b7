"""Notices: reports that are composed of what hostile senders, servers and messages say; and the rows they come from."""

from mta.maillog import MailLog
from mta.message.envelope import (
    Client,
    Envelope,
    Recipient,
    format_queue_id,
    parse_queue_id,
    recipients_from_json,
    recipients_to_json,
)
from mta.message.lines import LONGEST_LINE
from mta.message.outcome import Outcome, Result
from mta.message.report import About, delay_report, failure_report, success_report
from mta.message.returned import LARGEST_HEADER, Returned
from mta.message.statusfields import Action, Fate
from mta.message.timeline import Event, events_from_json, events_to_json
from mta.message.trace import received_field
from mta.smtp.answers import AnswerReader
from mta.smtp.reply import Reply
from mta.spool import wishes
from targets.choices import Choices
from targets.content import whole_lines
from targets.measures import Target, stretch

_TIMES = (1, 1, 3, 1000, *[1, 3] * 6)  # recipients; a thousand seldom, since that takes so long
_PER_RECIPIENT = 1e-4  # seconds
NOW = 1_800_000_000.0
# Octets of the sender, ENVID, ORCPT, a recipient, a host with its address, and a status code.
_LONGEST = (254, 100, 500, 250, 320, 20)
# Octets of a notice: of what it quotes, and for each recipient, whose name is there three times, in UTF-8 or in ASCII.
_QUOTED, _OF_RECIPIENT = 1_500_000, 4_500


def report(octets: bytes) -> None:
    """A notice has its three parts and no more, in lines that may be sent, whatever was said."""
    choices = Choices(octets)
    utf8, action, times = choices.flag(), choices.number(5), _TIMES[choices.number(len(_TIMES))]
    sender, envid, orcpt, address, host, status = (_text(choices, longest) for longest in _LONGEST)
    said, header = choices.piece(), choices.rest()
    replies = AnswerReader().receive(said) or [Reply(550, status, tuple(said.decode(errors="replace").split("\n")))]
    fates = [
        Fate(
            Recipient(f"{number}{address}", original=orcpt),
            Outcome(Result.FAILED, _numbered(replies[number % len(replies)], number), host, remote=action != 4),
            NOW,
            tuple(Action)[action],
        )
        for number in range(times)
    ]
    envelope = Envelope(sender, (), NOW - 60, smtputf8=utf8, envid=envid)
    to = sender if utf8 else sender.encode("ascii", "replace").decode()
    about = About("relay.example", "postmaster@relay.example", "0ID", envelope, Returned(header[:LARGEST_HEADER]), to)
    # What recipients asked for to be called (ORCPT) may be so involved that a thousand of them take a while.
    with stretch(octets=times, per_octet=_PER_RECIPIENT):
        if action == 0:
            content = failure_report(about, fates, "0NOTICE", NOW)
        elif action == 1:
            content = delay_report(about, fates, "0NOTICE", NOW, NOW + 60)
        else:
            content = success_report(about, fates, "0NOTICE", NOW)
    assert len(content) <= _QUOTED + _OF_RECIPIENT * times
    assert whole_lines(content)
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= LONGEST_LINE
    assert content.isascii() or not to.isascii()
    # A boundary that is nowhere else, as often as there are parts, and once more to close.
    boundary = content.partition(b'boundary="')[2].partition(b'"')[0]
    parts = content.split(b"\r\n--" + boundary)
    assert len(parts) == 4 + bool(parts[3] != b"--\r\n") or (len(parts) == 4 and parts[3] == b"--\r\n")
    assert content.count(b"\r\nAction: ") == len(fates)


def _text(choices: Choices, longest: int) -> str:
    """A text of so many octets at most."""
    return choices.text().encode()[:longest].decode(errors="ignore")


def _numbered(reply: Reply, number: int) -> Reply:
    """Each recipient was told something else."""
    return reply._replace(lines=(*reply.lines[:-1], f"{reply.lines[-1]}{number or ''}"))


def rows(octets: bytes) -> None:
    """What is kept in a row of the spool comes back as it was, whatever texts are in it."""
    choices = Choices(octets)
    numbers = [choices.number(256) for _ in range(4)]
    # Octets that are no text become surrogates: rows take them, too.
    texts = [piece.decode(errors="surrogateescape") for piece in _texts(choices)]
    recipients = tuple(Recipient(text, text if numbers[1] & 1 else "", texts[0]) for text in texts)
    envelope = Envelope(
        texts[0], recipients, float(numbers[1]), numbers[2], Client(*texts[:5]), eight_bit=bool(numbers[3] & 1),
        envid=texts[-1], auth=texts[0] if numbers[3] & 2 else "", by=float(numbers[3] & 4), by_mode=texts[-1],
    )  # fmt: skip
    with stretch():
        packed = recipients_to_json(recipients)
        assert packed.isascii() and "\n" not in packed
        assert Envelope.from_json(envelope.to_json(), recipients_from_json(packed)) == envelope
    events = [Event(float(number), text, {"recipients": texts, "reply": text}) for number, text in enumerate(texts)]
    with stretch():
        assert events_from_json(events_to_json(events) + events_to_json(events[:1])) == [*events, *events[:1]]
    wish = ""
    for number, text in enumerate(texts):
        verb = ("retry", "hold", "drop", "bounce", "release")[(number + numbers[0]) % 5]
        with stretch():
            wish = wishes.add(wish, verb, None if text == "" else [text])
    with stretch():
        wishes.grant(wish, [], NOW)


def _texts(choices: Choices) -> list[bytes]:
    return list(choices.pieces())[:50] or [b""]


def words(octets: bytes) -> None:
    """Queue ids, the Received field and lines of the log."""
    text = octets.decode(errors="replace")
    with stretch():
        number = parse_queue_id(text)
    if number is not None:
        assert parse_queue_id(format_queue_id(number)) == number
    with stretch():
        field = received_field("relay.example", Client("192.0.2.1", text, "ESMTP"), 1, "", NOW)
    assert whole_lines(field) and field.endswith(b"\r\n") and field.isascii()
    assert max(map(len, field.split(b"\r\n"))) <= LONGEST_LINE
    for style in ("text", "json"):
        for shown in ("full", "hashed"):
            lines: list[str] = []
            with stretch():
                MailLog(lines.append, _Clock(), style, shown).event("failed", 1, reply=text, sender=text, to=[text])
            [line] = lines
            assert line.isprintable(), line


class _Clock:
    @staticmethod
    def seconds() -> float:
        return NOW


_WORDS = (
    *(bytes((number,)) for number in range(6)), b"\xff", b"\r\n", b"\r", b"\n", b"550 5.1.1 no\r\n", b"550-a\r\n",
    b"a@b",
    b"450 4.0.0 \xc3\xa9\r\n", b"mx.example[192.0.2.1]:25", b"rfc822;a", b"utf-8;\\x{E9}", b"+41", b"--=_0NOTICE", b"=",
    b"--", b"\xf0\x9f\x98\x80", b"\xe2\x80\xa8", b"\x1b[2J", b"\0", b"Subject: x\r\n", b" ", b"x" * 900, b'"', b"<",
    b"@",
    b"\xf0\x9f\x98\x80" * 200, b"5.1.1",
)  # fmt: skip
TARGETS = (
    Target("report", report, _WORDS),
    Target("rows", rows, _WORDS),
    Target("words", words, _WORDS),
)
