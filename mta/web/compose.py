"""Compose: a message made of what a program has sent as JSON."""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address, AddressHeader, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from typing import Any, Final, NamedTuple

from mta.web import patterns
from mta.web.patterns import is_like, mailboxes_in
from mta.web.schemas import MOST_ATTACHMENTS, MOST_FIELDS, MOST_RECIPIENTS
from mta.web.seams import Unusable

FIELDS: Final = ("from", "to", "cc", "bcc", "reply_to", "sender", "subject", "text", "html", "headers", "attachments")

_OF_ADDRESSES: Final = ("from", "to", "cc", "reply-to")
_LINE: Final = 78  # characters that a line should have at most (RFC 5322 2.1.1)
_WORD: Final = 64  # characters of an encoded word, so that it fits behind the name of its field
_UNCONTINUED: Final = re.compile(rb"\r\n(?=[^ \t\r\n])")
_BEFORE_WORDS: Final = re.compile(r" (?=[^ \t])")


class _Folding(EmailPolicy):
    """The library's, but for addresses and text, which it may fold so that they read otherwise: within an encoded word,
    or where a space is lost. And it may fold at a comma that nothing but an encoded name follows, and then loses the
    space that makes the next line a continuation (RFC 5322 2.2.3). As no value has a line end of its own, each is one.
    """

    def fold_binary(self, name: str, value: Any) -> bytes:
        if isinstance(value, AddressHeader) and name.lower() in _OF_ADDRESSES:
            return _folded(name, ", ".join(map(_mailbox, value.addresses)))
        if isinstance(value, UnstructuredHeader):
            return _folded(name, _in_ascii(str(value)))
        return _UNCONTINUED.sub(b"\r\n ", super().fold_binary(name, value))


def _mailbox(address: Address) -> str:
    name = address.display_name
    return str(address) if name.isascii() else f"{_in_ascii(name)} <{address.addr_spec}>"


def _in_ascii(text: str) -> str:
    """Text as a header has it: in encoded words where it is not in ASCII (RFC 2047), on one line."""
    return text if text.isascii() else Header(text, "utf-8", maxlinelen=_WORD).encode(linesep="")


def _folded(name: str, text: str) -> bytes:
    """A field, in lines that have no more characters than they should where there are spaces to fold them at."""
    first, *words = _BEFORE_WORDS.split(f"{name}: {text}")
    lines = [first]
    for word in words:
        if len(lines[-1]) + len(f" {word}") <= _LINE:
            lines[-1] += f" {word}"
        else:
            lines.append(f" {word}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


_POLICY: Final = _Folding() + SMTP


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
    if not isinstance(asked.get("from"), str):
        raise Unusable("from is one address, as in a header")
    author = _addresses(asked, "from", patterns.ADDRESS)
    to, cc, bcc = (_addresses(asked, name) for name in ("to", "cc", "bcc"))
    message = EmailMessage(_POLICY)
    try:
        _head(message, asked, {"From": author, "To": to, "Cc": cc, "Reply-To": _addresses(asked, "reply_to")})
        _body(message, asked)
    except (ValueError, MessageError, LookupError, TypeError) as error:
        raise Unusable(f"no message can be made of this: {error}") from None
    sender = _text(asked, "sender") if "sender" in asked else mailboxes_in(author[0])[0]
    return Composed(message, sender, tuple(one for text in (*to, *cc, *bcc) for one in mailboxes_in(text)))


def _head(message: EmailMessage, asked: Mapping[str, Any], addresses: Mapping[str, Sequence[str]]) -> None:
    for name, found in addresses.items():
        if found:
            message[name] = ", ".join(found)
    if "subject" in asked:
        message["Subject"] = _line(asked, "subject")
    more = asked.get("headers", {})
    if not isinstance(more, dict) or len(more) > MOST_FIELDS:
        raise Unusable(f"headers is an object of up to {MOST_FIELDS} names and texts")
    for name, value in more.items():
        is_free = is_like(name, patterns.FIELD_NAME) and name.lower() not in patterns.OWN_FIELDS
        if not is_free or not isinstance(value, str):
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
        maintype, subtype = _kind(_text(one, "type", "application/octet-stream"))
        name = _line(one, "filename") or None
        message.add_attachment(_octets(one), maintype=maintype, subtype=subtype, filename=name)


def _octets(attachment: Mapping[str, Any]) -> bytes:
    text = _text(attachment, "content")
    if not is_like(text, patterns.BASE64):
        raise Unusable("the content of an attachment is base64")
    return b64decode(text)


def _kind(text: str) -> tuple[str, str]:
    whole, _, part = text.partition("/")
    if not is_like(text, patterns.KIND) or whole.lower() in patterns.COMPOUND:
        raise Unusable(f"{text[:80]!r} is not the type of an attachment, such as text/plain")
    return whole, part


def _addresses(asked: Mapping[str, Any], name: str, pattern: str = patterns.ADDRESSES) -> list[str]:
    """As they are to stand in the header. Domains are in ASCII (A-labels): a header cannot say them otherwise."""
    given = asked.get(name, [])
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in texts) or len(texts) > MOST_RECIPIENTS:
        raise Unusable(f"{name} is an address, or a list of up to {MOST_RECIPIENTS} of them")
    for text in texts:
        _check_line(text, name)
        if not is_like(text, pattern):
            raise Unusable(
                f"{text[:100]!r} ({name}) is not an address, such as ann@example.org or Ann <ann@example.org>"
            )
    return texts


def _line(asked: Mapping[str, Any], name: str) -> str:
    """Text that stands in the header."""
    value = _text(asked, name)
    _check_line(value, name)
    return value


def _check_line(text: str, name: str) -> None:
    """The library looks for line ends in some fields; the others, and what is no line end, would go out as they are."""
    if not is_like(text, patterns.LINE):
        raise Unusable(f"{name} is one line of text: no line ends nor other control characters may stand in it")


def _text(asked: Mapping[str, Any], name: str, usual: str = "") -> str:
    value = asked.get(name, usual)
    if not isinstance(value, str):
        raise Unusable(f"{name} is text")
    return value
