"""Compose: a message made of what a program has sent as JSON."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import getaddresses
from typing import Any, Final, NamedTuple

from mta.web.seams import Unusable

MOST_ATTACHMENTS: Final = 100
MOST_HEADERS: Final = 100
FIELDS: Final = ("from", "to", "cc", "bcc", "reply_to", "sender", "subject", "text", "html", "headers", "attachments")

_NAME: Final = re.compile(r"[!-9;-~]{1,76}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")  # a TAB may stand in a header
_TYPE: Final = re.compile(r"([A-Za-z0-9!#$&^_.+-]{1,60})/([A-Za-z0-9!#$&^_.+-]{1,60})")
_OURS: Final = frozenset(
    (
        *("from", "to", "cc", "bcc", "reply-to", "sender", "subject", "received", "return-path"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
    )
)


class Composed(NamedTuple):
    """A message and its envelope. sender: the reverse-path."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]


def compose(asked: Any) -> Composed:
    """The message. Raises `Unusable`.

    from, to, cc, bcc, reply_to: as in a header, "Name <address>" or an address; all but from may be lists. sender: the
    reverse-path, where it is not the address in from. Attachments: {filename, type, content}, the last in base64.
    """
    if not isinstance(asked, dict) or not asked.keys() <= set(FIELDS):
        raise Unusable(f"a message is an object with some of {', '.join(FIELDS)}")
    authors = _addresses(asked, "from")
    if len(authors) != 1:
        raise Unusable("from is one address, as in a header")
    to, cc, bcc = (_addresses(asked, name) for name in ("to", "cc", "bcc"))
    message = EmailMessage(SMTP)
    try:
        _head(message, asked, {"From": authors, "To": to, "Cc": cc, "Reply-To": _addresses(asked, "reply_to")})
        _body(message, asked)
    except (ValueError, MessageError, LookupError, TypeError) as error:
        raise Unusable(f"no message can be made of this: {error}") from None
    sender = _text(asked, "sender") if "sender" in asked else authors[0].addr_spec
    return Composed(message, sender, tuple(one.addr_spec for one in (*to, *cc, *bcc)))


def _head(message: EmailMessage, asked: Mapping[str, Any], addresses: Mapping[str, Sequence[Address]]) -> None:
    for name, found in addresses.items():
        if found:
            message[name] = found
    if "subject" in asked:
        message["Subject"] = _line(asked, "subject")
    more = asked.get("headers", {})
    if not isinstance(more, dict) or len(more) > MOST_HEADERS:
        raise Unusable(f"headers is an object of up to {MOST_HEADERS} names and texts")
    for name, value in more.items():
        if not _NAME.fullmatch(name) or name.lower() in _OURS or not isinstance(value, str):
            raise Unusable(f"{name[:80]!r} cannot be given in headers; it has a key of its own, or is no field name")
        message[name] = _line(more, name)


def _body(message: EmailMessage, asked: Mapping[str, Any]) -> None:
    text, html = _text(asked, "text"), _text(asked, "html")
    if text or not html:
        message.set_content(text)
    if html and text:
        message.add_alternative(html, subtype="html")
    elif html:
        message.set_content(html, subtype="html")
    attachments = asked.get("attachments", [])
    if not isinstance(attachments, list) or len(attachments) > MOST_ATTACHMENTS:
        raise Unusable(f"attachments is a list of up to {MOST_ATTACHMENTS}")
    for one in attachments:
        if not isinstance(one, dict) or not one.keys() <= {"filename", "type", "content"} or "content" not in one:
            raise Unusable("an attachment is an object with filename, type and content")
        kind = _TYPE.fullmatch(_text(one, "type") or "application/octet-stream")
        if kind is None or kind[1].lower() in ("multipart", "message"):
            raise Unusable(f"{_text(one, 'type')[:80]!r} is not the type of an attachment, such as text/plain")
        try:
            octets = b64decode(_text(one, "content"), validate=True)
        except (NotBase64, ValueError):
            raise Unusable("the content of an attachment is base64") from None
        message.add_attachment(octets, maintype=kind[1], subtype=kind[2], filename=_line(one, "filename") or None)


def _addresses(asked: Mapping[str, Any], name: str) -> list[Address]:
    given = asked.get(name, [])
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) and one for one in texts):
        raise Unusable(f"{name} is an address, or a list of them")
    found = []
    for text in texts:
        _check_line(text, name)
        pairs = [pair for pair in getaddresses([text]) if pair != ("", "")]
        if not pairs:
            raise Unusable(f"{text[:100]!r} ({name}) is not an address")
        try:
            found += [Address(display_name=shown, addr_spec=address) for shown, address in pairs]
        except (ValueError, MessageError, IndexError) as error:
            raise Unusable(f"{text[:100]!r} ({name}) is not an address: {error}") from None
    return found


def _line(asked: Mapping[str, Any], name: str) -> str:
    """Text that stands in the header."""
    value = _text(asked, name)
    _check_line(value, name)
    return value


def _check_line(text: str, name: str) -> None:
    """The library looks for line ends in some fields; the others, and what is no line end, would go out as they are."""
    if _CONTROL.search(text):
        raise Unusable(f"{name} is one line of text: no line ends nor other control characters may stand in it")


def _text(asked: Mapping[str, Any], name: str) -> str:
    value = asked.get(name, "")
    if not isinstance(value, str):
        raise Unusable(f"{name} is text")
    return value
