"""Dovecot's lines: its auth protocol, version 1.3. A line is words between tabs, the first says what it is."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from mta.logins import LoginFrom
from mta.policy.account import PLUS
from mta.smtp.ip import is_ip_address

VERSION: Final = (1, 3)  # 2.3 has 1.2, and does not mind; from 1.3 on it asks what a login is bound to
# What a mechanism can be announced with: that it shows the password; that it is not to be offered, or is no login.
_PLAIN_TEXT: Final = "plaintext"
_BOUND: Final = "channel-binding"
_BINDING: Final = "channel_binding"
_SCRAM: Final = "SCRAM-"
_HIDDEN: Final = frozenset({"private", "anonymous"})
# Bearer tokens, which Dovecot does not call plain text, are as good as passwords to who reads them on the way.
_TOKENS: Final = frozenset({"XOAUTH2", "OAUTHBEARER"})
# We answer for certificates ourselves: Dovecot would have to take our word for them.
_OURS: Final = frozenset({"EXTERNAL", "ANONYMOUS"})

_ESCAPES: Final = {"\x01": "\x011", "\t": "\x01t", "\n": "\x01n", "\r": "\x01r", "\0": "\x010"}
_ESCAPE_TABLE: Final = str.maketrans(_ESCAPES)
_PLAIN: Final = {escaped[1]: sign for sign, escaped in _ESCAPES.items()}


class Offer(NamedTuple):
    """A mechanism that Dovecot offers. plain_text: who listens in could use what he hears. bound: to TLS, by -PLUS."""

    name: str
    plain_text: bool
    bound: bool = False


class Answer(NamedTuple):
    """An answer to one request. kind: "CONT", "OK" or "FAIL". data: of CONT. fields: "" for no value."""

    kind: str
    number: int
    data: bytes = b""
    fields: Mapping[str, str] = MappingProxyType({})

    @property
    def user(self) -> str:
        """Who the client is, or said to be; "" where that is left open."""
        return self.fields.get("user", "")

    @property
    def asks_for(self) -> str:
        """Of CONT: the type of channel binding whose octets the next response has to bring; "" for none."""
        return self.fields.get(_BINDING, "") if self.kind == "CONT" else ""

    @property
    def is_temporary(self) -> bool:
        """Of FAIL: it could not be checked."""
        return "temp" in self.fields or self.fields.get("code") == "temp_fail"

    @property
    def why(self) -> str:
        """Of FAIL: the reason, for the log."""
        return self.fields.get("reason", "") or "Dovecot says no"


def line(*words: str) -> bytes:
    """A line of ours, with its end."""
    return "\t".join(map(escaped, words)).encode() + b"\n"


def escaped(word: str) -> str:
    """A word without the signs that would end it."""
    return word.translate(_ESCAPE_TABLE)


def words_of(octets: bytes) -> list[str]:
    """The words of a line that Dovecot sent, without its end. Raises `ValueError` for what is none."""
    return [_unescaped(word) for word in octets.decode().split("\t")]


def _unescaped(word: str) -> str:
    if "\x01" not in word:
        return word
    first, *rest = word.split("\x01")
    if not all(part and part[0] in _PLAIN for part in rest):
        raise ValueError("has an escape that there is none of")
    return first + "".join(_PLAIN[part[0]] + part[1:] for part in rest)


def request(number: int, mechanism: str, client: LoginFrom, response: bytes | None) -> bytes:
    """AUTH: begin with a mechanism. Nothing is asked of Dovecot's master later (nologin).

    secured: the words of the client cannot be read on the way, or come from where we were told that this is no matter.
    """
    words = ["AUTH", str(number), mechanism, "service=smtp"]
    if client.tls or client.plaintext:
        words.append("secured")
    if is_ip_address(client.address):
        words.append(f"rip={client.address}")
    words.append("nologin")
    if response is not None:  # the last one: what is behind it belongs to it
        words.append(f"resp={b64encode(response).decode()}")
    return line(*words)


def continued(number: int, response: bytes, binding: bytes | None = None) -> bytes:
    """CONT: the client's next response. binding: what its connection is known by, where that was asked for."""
    words = ["CONT", str(number), b64encode(response).decode()]
    if binding is not None:
        words.append(f"{_BINDING}={b64encode(binding).decode()}")
    return line(*words)


def offer(words: list[str]) -> Offer | None:
    """A MECH line; None for a mechanism that is not to be offered."""
    name, properties = words[1].upper(), set(words[2:])
    if name in _OURS or properties & _HIDDEN or not _is_mechanism(name):
        return None
    bound = name.endswith(PLUS)
    if bound and not (name.startswith(_SCRAM) and _BOUND in properties):
        return None  # one that it asks for by other means, if it asks at all
    return Offer(name, _PLAIN_TEXT in properties or name in _TOKENS, bound)


def answer(words: list[str]) -> Answer:
    """A CONT, OK or FAIL line. Raises `ValueError` for a number or data that is none."""
    kind, number = words[0], int(words[1])
    if kind == "CONT":
        return Answer(kind, number, b64decode("".join(words[2:3]), validate=True), _fields(words[3:]))
    return Answer(kind, number, fields=_fields(words[2:]))


def _fields(words: Iterable[str]) -> dict[str, str]:
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def _is_mechanism(name: str) -> bool:
    """RFC 4422 3.1."""
    return 0 < len(name) <= 20 and name.isascii() and all(sign.isalnum() or sign in "-_" for sign in name)
