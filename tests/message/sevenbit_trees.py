"""Messages to convert, made as trees, with what a reader of mail must get out of them."""

from email import message_from_bytes
from email.message import Message
from typing import NamedTuple

from hypothesis import strategies as st

BOUNDARIES = (b"b", b"bb", b"b b", b"=_b'()+_,-./:=?", b"b-", b"x" * 70)


class Made(NamedTuple):
    """An entity: its octets, and the leaves in it as (octets of the whole part, body once decoded)."""

    octets: bytes
    leaves: tuple[tuple[bytes, bytes], ...]


def reader_sees(content: bytes) -> list[tuple[str, list[tuple[str, str]], bytes]]:
    """What the standard library's parser, which is not ours, finds: type, other fields and decoded body of leaves."""
    leaves = []
    for part in message_from_bytes(content).walk():
        if not part.is_multipart():
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)
            leaves.append((part.get_content_type(), other_fields(part), body))
    return leaves


def other_fields(part: Message) -> list[tuple[str, str]]:
    """The fields that a conversion has no business with."""
    return [(name, str(value)) for name, value in part.items() if name.lower() != "content-transfer-encoding"]


_word = st.sampled_from([b"a", b"plain words ", b" ", b"\t", b"=", b".", b"--b", b"--", b"From ", b"\xe4", b"\xff" * 9])
_line = st.lists(_word, max_size=8).map(b"".join) | st.sampled_from([b"y" * 1500, b"\xc3\xa4 " * 700])
text_bodies = st.lists(_line, max_size=6).map(b"\r\n".join).filter(lambda body: b"\r\n--b" not in b"\r\n" + body)
binary_bodies = st.binary(max_size=200).filter(lambda body: b"--" not in body)


@st.composite
def leaves(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> Made:
    """A part that is not composite."""
    body = draw(bodies)
    kind = draw(
        st.sampled_from(
            [
                b"Content-Type: text/plain; charset=iso-8859-1\r\n",
                b"content-type:TEXT/html\r\n\t; charset=utf-8\r\n",
                b"Content-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n",
                b"X-Note: no type\r\n",
                b"Content-Type: application/pdf\r\n",
            ]
        )
    )
    encoding = draw(
        st.sampled_from(
            [
                b"",
                b"Content-Transfer-Encoding: 8bit\r\n",
                b"content-transfer-encoding:\r\n BINARY\r\n",
                b"Content-Transfer-Encoding: 8BIT\r\nX-After: yes\r\n",
            ]
        )
    )
    part = kind + encoding + b"\r\n" + body
    return Made(part, ((part, body),))


@st.composite
def entities(draw: st.DrawFn, bodies: st.SearchStrategy[bytes], free: tuple[bytes, ...] = BOUNDARIES) -> Made:
    """Any entity. No boundary is used twice from the root to a leaf."""
    form = draw(st.sampled_from(["leaf", "leaf", "multipart", "message"])) if free else "leaf"
    if form == "leaf":
        return draw(leaves(bodies))
    label = draw(
        st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: binary\r\n"])
    )
    if form == "message":
        inner = draw(entities(bodies, free[1:]))
        header = b"Content-Type: message/rfc822\r\n" + label + b"\r\nSubject: within\r\nMIME-Version: 1.0\r\n"
        return Made(header + inner.octets, inner.leaves)
    boundary = draw(st.sampled_from(free))
    rest = tuple(other for other in free if other != boundary)
    parts = draw(st.lists(entities(bodies, rest), min_size=1, max_size=3))
    octets = b"Content-Type: multipart/mixed;\r\n boundary=" + b'"' + boundary + b'"' + b"\r\n" + label + b"\r\n"
    octets += draw(st.sampled_from([b"", b"This is MIME.\r\n", b"\r\n"]))
    padding = draw(st.sampled_from([b"", b" ", b" \t "]))
    octets += b"".join(b"--" + boundary + padding + b"\r\n" + part.octets + b"\r\n" for part in parts)
    if not draw(st.booleans()):
        octets = octets[:-2]  # nothing closes it but the delimiter of one around it, or the end
    else:
        octets += b"--" + boundary + b"--" + draw(st.sampled_from([b"", b"\r\n", b"\r\n\r\nThe end."]))
    return Made(octets, tuple(leaf for part in parts for leaf in part.leaves))


def messages(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[Made]:
    """Whole messages: their content ends with CRLF."""
    header = b"From: a@example.org\r\nMIME-Version: 1.0\r\n"
    return entities(bodies).map(lambda made: Made(header + made.octets + b"\r\n", made.leaves))


def cut(octets: bytes, sizes: list[int]) -> list[bytes]:
    """The octets in blocks of these sizes, over and over."""
    blocks, place, turn = [], 0, 0
    while place < len(octets):
        size = sizes[turn % len(sizes)]
        blocks.append(octets[place : place + size])
        place, turn = place + size, turn + 1
    return blocks
