"""Conversion for next hops that lack 8BITMIME or BINARYMIME, case by case: what changes, and what cannot be changed."""

import time
from contextlib import suppress
from email import message_from_bytes

import pytest

from mta.message.sevenbit import Plan, Unconvertible, converted, plan

MIXED = b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n'


def convert(content: bytes, target: str = "7bit") -> bytes:
    return b"".join(converted([content], plan([content], target)))


def refusal(content: bytes, target: str = "7bit") -> str:
    with pytest.raises(Unconvertible) as why:
        plan([content], target)
    return str(why.value)


def mixed(*parts: bytes, header: bytes = b"") -> bytes:
    return MIXED + header + b"\r\n" + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


DIGEST = b"MIME-Version: 1.0\r\nContent-Type: multipart/digest; boundary=b\r\n\r\n"
TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
PNG = b"Content-Type: image/png\r\n"
EIGHT = b"Content-Transfer-Encoding: 8bit\r\n"
BINARY = b"Content-Transfer-Encoding: binary\r\n"
SEVEN = b"Content-Transfer-Encoding: 7bit\r\n"
INNER = b"Content-Type: multipart/alternative; boundary=i\r\n"
QP = b"Content-Transfer-Encoding: quoted-printable\r\n"
BASE64 = b"Content-Transfer-Encoding: base64\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Text, with the field replaced where it was, or added behind the last one.
        (
            b"MIME-Version: 1.0\r\n" + EIGHT + TEXT + b"\r\n\xc3\xa4 = \r\n.\r\n",
            b"MIME-Version: 1.0\r\n" + QP + TEXT + b"\r\n=C3=A4 =3D=20\r\n=2E\r\n",
        ),
        (b"MIME-Version: 1.0\r\n" + TEXT + b"\r\n\xe4\r\n", b"MIME-Version: 1.0\r\n" + TEXT + QP + b"\r\n=E4\r\n"),
        (mixed(b"\r\n\xe4"), mixed(QP + b"\r\n=E4")),
        # Anything else, without and with the line end that ends the content.
        (mixed(PNG + BINARY + b"\r\n\xff\r\n\n"), mixed(PNG + BASE64 + b"\r\n/w0KCg==")),
        (b"MIME-Version: 1.0\r\n" + PNG + b"\r\n\xff\r\n", b"MIME-Version: 1.0\r\n" + PNG + BASE64 + b"\r\n/w0K\r\n"),
        (mixed(TEXT + b"\r\n\xe4\0"), mixed(TEXT + BASE64 + b"\r\n5AA=")),
        # What is fit stays, whatever it says that it is; what is around a change says what it is now.
        (
            mixed(TEXT + EIGHT + b"\r\nplain", PNG + BASE64 + b"\r\n/w0K", TEXT + EIGHT + b"\r\n\xe4", header=EIGHT),
            mixed(
                TEXT + EIGHT + b"\r\nplain",
                PNG + BASE64 + b"\r\n/w0K",
                TEXT + QP + b"\r\n=E4",
                header=b"Content-Transfer-Encoding: 7bit\r\n",
            ),
        ),
        (mixed(TEXT + EIGHT + b"\r\nplain", header=BINARY), mixed(TEXT + EIGHT + b"\r\nplain", header=BINARY)),
        (
            mixed(INNER + EIGHT + b"\r\n--i\r\n\r\n\xe4\r\n--i--", header=EIGHT),
            mixed(INNER + SEVEN + b"\r\n--i\r\n" + QP + b"\r\n=E4\r\n--i--", header=SEVEN),
        ),
        # A message within; the one around it becomes MIME, too, which it must be to be read so.
        (
            b"Content-Type: message/rfc822\r\n" + EIGHT + b"\r\nSubject: within\r\n\r\n\xe4\r\n",
            b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n\r\n"
            b"Subject: within\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" + QP + b"\r\n"
            b"=E4\r\n",
        ),
        # No MIME at all.
        (
            b"Subject: old\r\n\r\nGr\xfc\xdfe\r\n",
            b"Subject: old\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" + QP + b"\r\n"
            b"Gr=FC=DFe\r\n",
        ),
        (
            b"\r\n\xe4\r\n",
            b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n" + QP + b"\r\n=E4\r\n",
        ),
        # MIME in all but its name.
        (TEXT + b"\r\n\xe4\r\n", TEXT + b"MIME-Version: 1.0\r\n" + QP + b"\r\n=E4\r\n"),
        # Several fields that agree become one.
        (mixed(EIGHT + TEXT + BINARY + b"\r\n\xe4"), mixed(QP + TEXT + b"\r\n=E4")),
        # RFC 6532 3.7 and RFC 6533 allow for these what RFC 2046 forbids for other types of message/.
        (
            mixed(b"Content-Type: message/global-headers\r\n\r\nSubject: \xc3\xa4"),
            mixed(b"Content-Type: message/global-headers\r\n" + QP + b"\r\nSubject: =C3=A4"),
        ),
        # Nobody is shown what stands outside of the parts.
        (
            mixed(TEXT + b"\r\nplain").replace(b"\r\n--b\r\n", b"\r\nein T\xe4xt\r\n--b\r\n") + b"Ende \xe4\r\n",
            mixed(TEXT + b"\r\nplain").replace(b"\r\n--b\r\n", b"\r\nein T?xt\r\n--b\r\n") + b"Ende ?\r\n",
        ),
        # A part of a digest is a message, and one whose type cannot be read is text.
        (
            DIGEST + b"--b\r\n\r\nSubject: within\r\n\r\n\xe4\r\n--b--\r\n",
            DIGEST + b"--b\r\n\r\nSubject: within\r\nMIME-Version: 1.0\r\n"
            b"Content-Type: text/plain; charset=unknown-8bit\r\n" + QP + b"\r\n=E4\r\n--b--\r\n",
        ),
        (mixed(b"Content-Type: text\r\n\r\n\xe4"), mixed(b"Content-Type: text\r\n" + QP + b"\r\n=E4")),
        # A line that is too long, in text that is plain otherwise.
        (
            mixed(TEXT + b"\r\n" + b"a" * 999),
            mixed(TEXT + QP + b"\r\n" + b"=\r\n".join([b"a" * 75] * 13 + [b"a" * 24])),
        ),
        (
            mixed(b"\r\n" + b"a" * 999 + b"\r\nb"),
            mixed(QP + b"\r\n" + (b"a" * 75 + b"=\r\n") * 13 + b"a" * 24 + b"\r\nb"),
        ),
        (mixed(TEXT + b"\r\n" + b"a" * 998 + b"\r\nb"), mixed(TEXT + b"\r\n" + b"a" * 998 + b"\r\nb")),
        (mixed(TEXT + b"\r\n" + b"a" * 998), mixed(TEXT + b"\r\n" + b"a" * 998)),
        # Nothing at all.
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"Subject: no body\r\n", b"Subject: no body\r\n"),
    ],
)
def test_for_seven_bit(before: bytes, after: bytes) -> None:
    assert convert(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            mixed(TEXT + EIGHT + b"\r\n\xe4", PNG + BINARY + b"\r\n\xff\0\n", header=BINARY),
            mixed(TEXT + EIGHT + b"\r\n\xe4", PNG + BASE64 + b"\r\n/wAK", header=EIGHT),
        ),
        (mixed(TEXT + b"\r\na\nb"), mixed(TEXT + BASE64 + b"\r\nYQpi")),
        (mixed(TEXT + b"\r\n\xe4") + b"\xe4\n", mixed(TEXT + b"\r\n\xe4") + b"\xe4?"),
        (b"Subject: \xe4\r\n\r\n\xe4\r\n", b"Subject: \xe4\r\n\r\n\xe4\r\n"),
        (
            b"S: x\r\n\r\na\0\r\n",
            b"S: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
            + BASE64
            + b"\r\nYQANCg==\r\n",
        ),
    ],
)
def test_for_eight_bit(before: bytes, after: bytes) -> None:
    assert convert(before, "8bit") == after


SIGNED = b'Content-Type: Multipart/Signed; protocol="application/pgp-signature"; boundary=s\r\n\r\n--s\r\n'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (SIGNED + TEXT + b"\r\n\xe4\r\n--s--\r\n", "it has a signed part"),
        (mixed(SIGNED + TEXT + b"\r\nplain\r\n--s--\r\n", TEXT + b"\r\n\xe4"), "it has a signed part"),
        (mixed(TEXT + b"\r\n\xe4", SIGNED + TEXT + b"\r\nplain\r\n--s--\r\n"), "it has a signed part"),
        (mixed(b"Content-Type: message/rfc822\r\n\r\n" + SIGNED + b"\r\n\xe4\r\n--s--"), "it has a signed part"),
        (
            b"Content-Type: multipart/encrypted; boundary=s\r\n\r\n--s\r\n\r\n\xe4\r\n--s--\r\n",
            "it has an encrypted part",
        ),
        (b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n\xe4\r\n", "it has an S/MIME part"),
        (
            mixed(b"content-type:Application/X-PKCS7-Mime\r\n" + BASE64 + b"\r\nAA==", b"\r\n\xe4"),
            "it has an S/MIME part",
        ),
        (b"Subject: \xe4\r\n\r\nplain\r\n", "8-bit octets in header fields"),
        (mixed(b"Content-Type: text/plain; name=\xe4\r\n\r\nplain"), "8-bit octets in header fields"),
        (b"Subject: no empty line\r\n\xe4\r\n", "8-bit octets in header fields"),
        (b"Subject: a\0\r\n\r\nplain\r\n", "NUL"),
        (mixed(TEXT + QP + b"\r\n\xe4"), "transfer encoding is quoted-printable"),
        (mixed(TEXT + BASE64 + b"\r\n\xe4"), "transfer encoding is base64"),
        (mixed(TEXT + b"Content-Transfer-Encoding: x-uuencode\r\n\r\n\xe4"), "transfer encoding is x-uuencode"),
        (mixed(TEXT + EIGHT + BASE64 + b"\r\n\xe4"), "transfer encoding is base64"),
        (mixed(b"Content-Type: message/rfc822\r\n" + QP + b"\r\nA: b\r\n\r\n\xe4"), "is quoted-printable"),
        (mixed(b"Content-Type: message/partial; id=a\r\n\r\n\xe4"), "message/partial may not be encoded"),
        (mixed(b"Content-Type: message/delivery-status\r\n\r\n\xe4"), "message/delivery-status may not be encoded"),
        (mixed(TEXT + PNG + b"\r\n\xe4"), "a part has several types"),
        (mixed(b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\n\xe4"), "no usable boundary"),
        (mixed(b"Content-Type: multipart/mixed boundary=x\r\n\r\n--x\r\n\r\n\xe4"), "no usable boundary"),
        (mixed(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n\xe4\r\n--b\r\n"), "the boundary of one around it"),
        (b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--other\r\n\r\n\xe4\r\n", "a multipart has no parts"),
        (mixed(b"\r\nplain") + b"--b\r\n\r\n\xe4\r\n", "parts follow the end of a multipart"),
        (b"Content-Type: message/rfc822\r\n\r\n" * 52 + b"\r\n\xe4\r\n", "nested more than 50 deep"),
        (MIXED + b"\r\n" + b"--b\r\n\r\n\xe4\r\n" * 10_001, "more than 10000 parts"),
        (mixed(b"X: " + b"x" * 270_000 + b"\r\n\r\n\xe4"), "a header is larger"),
    ],
)
def test_what_cannot_be_converted(content: bytes, why: str) -> None:
    assert why in refusal(content)


@pytest.mark.parametrize(
    "content",
    [
        SIGNED + TEXT + EIGHT + b"\r\nplain\r\n--s--\r\n",
        b"Content-Type: application/pkcs7-mime\r\n" + BASE64 + b"\r\nAA==\r\n",
        SIGNED + TEXT + b"\r\n" + b"a" * 2000 + b"\r\n--s\r\n\r\n--s--\r\n",
        mixed(SIGNED + TEXT + b"\r\nplain\r\n--s--\r\n", TEXT + b"\r\n" + b"a" * 2000),
        mixed(PNG + BASE64 + b"\r\n" + b"A" * 2000),
        mixed(b"Content-Type: message/delivery-status\r\n\r\n" + b"A" * 2000),
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nplain\r\n",
        b"Subject: " + b"a" * 2000 + b"\r\n\r\nplain\r\n",
    ],
)
def test_what_can_be_sent_is_never_refused(content: bytes) -> None:
    assert plan([content], "7bit") == Plan()
    assert convert(content) == content


def test_a_signed_part_may_have_8_bit_octets_where_these_may_be_sent() -> None:
    assert refusal(SIGNED + PNG + BINARY + b"\r\n\0\r\n--s--\r\n", "8bit") == "it has a signed part"
    assert plan([SIGNED + TEXT + EIGHT + b"\r\n\xe4\r\n--s--\r\n"], "8bit") == Plan()


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(b"b", b"bb"), (b"bb", b"b"), (b"b", b"b--"), (b"b--", b"b"), (b"b b", b"b"), (b"b=?", b"'()+_")],
)
def test_a_boundary_that_begins_like_another(outer: bytes, inner: bytes) -> None:
    content = (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="OUT"\r\n\r\n--OUT\r\n'
        b'Content-Type: multipart/alternative; boundary="IN"\r\n\r\n--IN\r\n\r\n\xe41\r\n--IN--\r\n'
        b"--OUT \r\n\r\n\xe42\r\n--OUT--\r\n"
    )
    content = content.replace(b"OUT", outer).replace(b"IN", inner)
    assert convert(content) == content.replace(b"\r\n\r\n\xe4", b"\r\n" + QP + b"\r\n=E4")


@pytest.mark.parametrize(
    "field",
    [
        b'Content-Type: multipart/mixed; boundary="b"',
        b"content-type:\r\n MULTIPART/Mixed\r\n\t;x=y ;Boundary = b",
        b'Content-Type: multipart/mixed (a "comment; boundary=no (\\) ) ); x="; boundary=no"; boundary=b (the end',
        b'Content-Type: (;) multipart / mixed; boundary="\\b "',
        b"Content-Type: multipart/mixed; charset; boundary=b;",
    ],
)
def test_forms_of_content_type(field: bytes) -> None:
    content = b"MIME-Version: 1.0\r\n" + field + b"\r\n\r\n--b\r\n\r\n\xe4\r\n--b--\r\n"
    assert convert(content) == content.replace(b"\r\n\r\n\xe4", b"\r\n" + QP + b"\r\n=E4")


def test_long_lines_of_text_are_broken_without_loss() -> None:
    body = b"\xc3\xa4 .\t=" * 40_000 + b"\r\nFrom here\r\n" + b" " * 70_000 + b"\r\n"
    result = convert(b"MIME-Version: 1.0\r\n" + TEXT + b"\r\n" + body)
    assert message_from_bytes(result).get_payload(decode=True) == body
    assert max(map(len, result.split(b"\r\n"))) <= 76


@pytest.mark.parametrize("end", [b" ", b"\t", b"  ", b".", b"=", b"\xe4", b" \t", b"a"])
@pytest.mark.parametrize("length", range(70, 80))
def test_lines_of_any_length_and_end(length: int, end: bytes) -> None:
    body = b"\xe4\r\n" + b"a" * length + end + b"\r\n.\r\n" + b"a" * length + end
    result = convert(mixed(TEXT + b"\r\n" + body))
    (part,) = message_from_bytes(result).get_payload()
    assert part.get_payload(decode=True) == body
    assert max(map(len, result.split(b"\r\n"))) <= 76
    assert not any(line.endswith((b" ", b"\t")) or line == b"." for line in result.split(b"\r\n"))


def test_what_was_done_is_counted() -> None:
    content = (
        b"DKIM-Signature: v=1\r\n" + mixed(TEXT + b"\r\n\xe4", PNG + b"\r\n\xe4", TEXT + b"\r\n\xe4") + b"\xe4\r\n"
    )
    assert plan([content], "7bit")[1:] == (2, 1, 1, True)
    assert plan([content], "8bit") == Plan()
    within = mixed(b"Content-Type: message/rfc822\r\n\r\nDKIM-Signature: v=1\r\n\r\n\xe4")
    assert not plan([within], "7bit").breaks_dkim


@pytest.mark.parametrize(
    "piece",
    [
        b"\r\n", b"--b\r\n", b"--b\r\n\r\n\r\n", b"--b--\r\n", b"--", b"\0", b"\xff", b"\r", b"--b\r\nX: y\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", b"Content-Type: message/rfc822\r\n\r\n",
        b"Content-Type: text/plain; (", b'Content-Type: multipart/mixed; a="\\', b"Content-Type:\r\n", b"x: y\r\n ",
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [b"", MIXED, MIXED + b"\r\n", b"Content-Type: multipart/x; "])
def test_hostile_content_takes_little_time(before: bytes, piece: bytes) -> None:
    content = before + piece * (2_000_000 // len(piece))
    began = time.perf_counter()
    with suppress(Unconvertible):
        b"".join(converted([content], plan([content], "7bit")))
    assert time.perf_counter() - began < 5  # it takes 0.2 s at most; were it quadratic, minutes
