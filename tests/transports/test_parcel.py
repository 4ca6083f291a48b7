"""How a message is made up for a host: envelope and peer in, mail out."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from carry_world import START, Letter, envelope_to
from twisted.internet.defer import Deferred, fail, succeed

from mta.interfaces import IContent
from mta.message.envelope import Envelope, Recipient
from mta.policy.routing import Hop, Via
from mta.smtp.asking import NO_WISHES, Mail, Peer
from mta.smtp.reply import Reply
from mta.transports.fitting import Fitted, Fitter
from mta.transports.parcel import Parcel

LETTER = Letter(b"Subject: x\r\n\r\nhello\r\n")
WIDE = Letter("Subject: é\r\n\r\nhello\r\n".encode())
SEVEN = Letter(b"Subject: x\r\n\r\nh=C3=A9llo\r\n")


class Conversions:
    """A fitter that does as it is told and counts."""

    def __init__(self, *results: Fitted | Reply | Exception) -> None:
        self.results = list(results)
        self.asked: list[str] = []

    def fit(self, content: IContent, target: str) -> Deferred[Fitted | Reply]:
        self.asked.append(target)
        result = self.results.pop(0)
        return fail(result) if isinstance(result, Exception) else succeed(result)


def hop(eight_bit: str = "convert", via: Via = Via.SMTP) -> Hop:
    return Hop(via, "192.0.2.1", eight_bit=eight_bit)


def peer(offers: str = "") -> Peer:
    return Peer("mx.example", dict.fromkeys(offers.split(), ""))


def fitted(letter: Letter = SEVEN) -> Fitted:
    return Fitted(cast(IContent, letter), True, ("converted to 7 bit: 1 part quoted-printable",))


def parcel(
    envelope: Envelope, fitter: Conversions | None = None, to: Hop | None = None, content: Letter = LETTER
) -> Parcel:
    return Parcel(to or hop(), envelope, cast(IContent, content), cast(Fitter, fitter or Conversions()))


def made(parcel: Parcel, peer: Peer, envelope: Envelope, now: float = START) -> Mail:
    """The mail, which must be there at once or from a Deferred that has fired."""
    mail = parcel.make_up(peer, envelope.recipients, now)
    if isinstance(mail, Mail):
        return mail
    results: list[Mail] = []
    mail.addCallback(results.append)
    return results[0]


def test_an_ordinary_message_is_made_up_at_once() -> None:
    envelope = envelope_to("a@example.net", "b@example.net", size=LETTER.size, dotted=False)
    mail = parcel(envelope).make_up(peer("8BITMIME DSN SMTPUTF8"), envelope.recipients[1:], START)
    assert isinstance(mail, Mail)
    assert mail[:5] == ("s@example.com", ["b@example.net"], LETTER.size, False, False)
    assert b"".join(mail.blocks()) == LETTER.octets
    assert (mail.binary, mail.unfit) == (False, None)
    assert mail.wishes is NO_WISHES


@pytest.mark.parametrize(
    ("offers", "eight_bit", "envelope", "target", "says_eight_bit"),
    [
        ("8BITMIME", "convert", {"eight_bit": True}, "", True),
        ("8BITMIME", "bounce", {"eight_bit": True}, "", True),
        ("", "convert", {}, "", False),
        ("", "convert", {"eight_bit": True}, "7bit", False),
        ("", "send", {"eight_bit": True}, "", True),
        # It was only said, there is nothing to convert.
        ("", "convert", {"body": "8BITMIME"}, "", True),
        ("8BITMIME", "convert", {"body": "8BITMIME"}, "", True),
        ("", "convert", {"body": "7BIT"}, "", False),
        # Binary content has no lines, so that it needs more than 8 bits.
        ("CHUNKING BINARYMIME", "bounce", {"body": "BINARYMIME"}, "", None),
        ("CHUNKING 8BITMIME", "convert", {"body": "BINARYMIME", "eight_bit": True}, "8bit", True),
        ("BINARYMIME 8BITMIME", "convert", {"body": "BINARYMIME", "eight_bit": True}, "8bit", True),
        ("", "convert", {"body": "BINARYMIME"}, "7bit", False),
        ("", "send", {"body": "BINARYMIME", "eight_bit": True}, "8bit", True),
    ],
)
def test_content_is_converted_to_what_the_host_takes(
    offers: str, eight_bit: str, envelope: dict[str, Any], target: str, says_eight_bit: bool | None
) -> None:
    whole = envelope_to(**envelope)
    fitter = Conversions(fitted())
    made_up = parcel(whole, fitter, hop(eight_bit))
    mail = made(made_up, peer(offers), whole)
    assert fitter.asked == ([target] if target else [])
    assert b"".join(mail.blocks()) == (SEVEN if target else LETTER).octets
    assert mail.size == (SEVEN if target else LETTER).size
    assert mail.binary is (says_eight_bit is None)
    assert says_eight_bit is None or mail.eight_bit is says_eight_bit
    assert made_up.notes == (fitted().notes if target else ())


@pytest.mark.parametrize(
    ("offers", "envelope", "text"),
    [
        ("", {"eight_bit": True}, "554 5.6.3 8-bit content, which mx.example does not take, and the route does not"),
        ("8BITMIME", {"body": "BINARYMIME"}, "554 5.6.3 binary content, which mx.example does not take, and the route"),
    ],
)
def test_a_route_that_does_not_allow_to_convert(offers: str, envelope: dict[str, Any], text: str) -> None:
    fitter = Conversions()
    whole = envelope_to(**envelope)
    assert str(made(parcel(whole, fitter, hop("bounce")), peer(offers), whole).unfit).startswith(text)
    assert not fitter.asked


def test_what_was_converted_serves_the_next_host_too() -> None:
    envelope = envelope_to(eight_bit=True)
    fitter = Conversions(fitted())
    made_up = parcel(envelope, fitter)
    for _ in range(3):
        assert made(made_up, peer(), envelope).size == SEVEN.size
        assert made_up.notes == fitted().notes
        # A host in between that takes it as it is gets it so, and nothing is told of it.
        assert made(made_up, peer("8BITMIME"), envelope).size == LETTER.size
        assert made_up.notes == ()
    assert fitter.asked == ["7bit"]


def test_what_cannot_be_converted() -> None:
    envelope = envelope_to(eight_bit=True)
    refusal = Reply(554, "5.6.3", ("it is signed",))
    fitter = Conversions(OSError("no disk"), Reply(451, "4.3.0", ("later",)), refusal)
    made_up = parcel(envelope, fitter)
    assert str(made(made_up, peer(), envelope).unfit) == "451 4.3.0 the content cannot be read: no disk"
    # What is not so for good is tried again.
    assert str(made(made_up, peer(), envelope).unfit) == "451 4.3.0 later"
    assert made(made_up, peer(), envelope).unfit == refusal
    assert made(made_up, peer(), envelope).unfit == refusal
    assert len(fitter.asked) == 3


def test_a_bug_in_a_conversion_is_not_hidden() -> None:
    envelope = envelope_to(eight_bit=True)
    mail = parcel(envelope, Conversions(KeyError("oops"))).make_up(peer(), envelope.recipients, START)
    assert isinstance(mail, Deferred)
    failures: list[Any] = []
    mail.addErrback(failures.append)
    assert failures[0].check(KeyError)


@pytest.mark.parametrize(
    ("offers", "sender", "recipient", "paths"),
    [
        ("", "s@bücher.example", "a@bücher.example", ("s@xn--bcher-kva.example", "a@xn--bcher-kva.example")),
        ("SMTPUTF8", "s@b.example", "a@bücher.example", ("s@b.example", "a@xn--bcher-kva.example")),
        ("SMTPUTF8 8BITMIME", "s@bücher.example", "a@ö.example", ("s@bücher.example", "a@ö.example")),
        ("", "", "ä@bücher.example", ("", "ä@bücher.example")),
    ],
)
def test_domains_beyond_ascii(offers: str, sender: str, recipient: str, paths: tuple[str, str]) -> None:
    envelope = envelope_to(recipient, sender=sender)
    mail = made(parcel(envelope), peer(offers), envelope)
    assert (mail.reverse_path, *mail.forward_paths) == paths


@pytest.mark.parametrize(
    ("offers", "asked_for", "content", "eight_bit", "utf8"),
    [
        ("8BITMIME", True, WIDE, True, True),
        ("8BITMIME", True, LETTER, True, False),
        ("8BITMIME", False, WIDE, True, False),
        ("8BITMIME", True, WIDE, False, False),
        ("8BITMIME SMTPUTF8", True, LETTER, True, True),
        ("8BITMIME SMTPUTF8", True, LETTER, False, False),
        ("SMTPUTF8", True, WIDE, True, True),
    ],
)
def test_the_header_section_decides_whether_smtputf8_is_needed(
    offers: str, asked_for: bool, content: Letter, eight_bit: bool, utf8: bool
) -> None:
    envelope = envelope_to(smtputf8=asked_for, eight_bit=eight_bit)
    fitter = Conversions(fitted())
    mail = made(parcel(envelope, fitter, content=content), peer(offers), envelope)
    assert mail.wishes.utf8 is utf8
    assert not fitter.asked


def test_a_header_section_that_cannot_be_read() -> None:
    class Broken(Letter):
        def blocks(self) -> Iterator[bytes]:
            raise OSError("gone")

    envelope = envelope_to(smtputf8=True, eight_bit=True)
    mail = made(parcel(envelope, content=Broken(b"x")), peer(), envelope)
    assert str(mail.unfit) == "451 4.3.0 the content cannot be read: gone"


def test_wishes_are_those_of_the_envelope() -> None:
    recipients = (Recipient("a@x.example", "NEVER"), Recipient("b@x.example", "", "rfc822;c@x.example"))
    envelope = envelope_to()._replace(
        recipients=recipients,
        ret="FULL",
        envid="id",
        auth="<>",
        requiretls=True,
        priority=4,
        by=START + 59.5,
        by_mode="R",
    )
    mail = made(parcel(envelope), peer(), envelope)
    assert mail.wishes == (
        "FULL",
        "id",
        [("NEVER", ""), ("", "rfc822;c@x.example")],
        "<>",
        False,
        True,
        4,
        59,
        "R",
    )
    assert made(parcel(envelope), peer(), envelope, START + 60).wishes.by == -1
    # To a store on the same machine it goes by no network.
    to_store = Hop(Via.LMTP_UNIX, path="/run/lmtp")
    assert made(parcel(envelope, to=to_store), peer(), envelope).wishes.requiretls is False


@pytest.mark.parametrize(
    "wish",
    [
        {"ret": "HDRS"},
        {"envid": "x"},
        {"auth": "<>"},
        {"requiretls": True},
        {"priority": -1},
        {"by": 1.0, "by_mode": "N"},
    ],
)
def test_one_wish_is_enough(wish: dict[str, Any]) -> None:
    envelope = envelope_to(**wish)
    assert made(parcel(envelope), peer(), envelope).wishes is not NO_WISHES
