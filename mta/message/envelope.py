"""Envelope: everything of a mail transaction but its content (RFC 5321 2.3.1), and the queue id that names it."""

import json
from functools import lru_cache
from typing import NamedTuple

from mta.message.compact import to_json

WORKERS = 256
CLI_WORKER = WORKERS - 1
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: nothing to mistake when read aloud
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_LONGEST_ID = 13  # digits of 63 bits
_DIGITS = {digit: value for value, digit in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}


class Recipient(NamedTuple):
    """A forward-path of the envelope, as "local@domain", with what RFC 3461 lets its sender ask for.

    `notify` holds the words of NOTIFY= ("NEVER", or some of "SUCCESS,FAILURE,DELAY"); "" where it was not given.
    `original` is ORCPT= as it was given ("rfc822;user@example"); "" where it was not given.
    """

    address: str
    notify: str = ""
    original: str = ""


DROP = "drop"  # in the place of a client's address: the drop folder of this machine


class Client(NamedTuple):
    """Who handed the message over: address without port, what it called itself, and how it spoke (RFC 3848, 6531).

    Of a user of this machine who left it in the drop folder the address is `DROP`, what it called itself "uid 1000",
    and login the user's name.

    login: the account that it had logged in with, "" for none. tls: protocol and cipher, "TLSv1.3
    TLS_AES_256_GCM_SHA384"; "" in the clear.
    """

    address: str = ""
    helo: str = ""
    protocol: str = "SMTP"
    login: str = ""
    tls: str = ""


class Envelope(NamedTuple):
    """The envelope of a kept message. `sender` is the reverse-path as "local@domain", "" for the null one.

    received: when its content had arrived, in seconds since 1970. size: octets of the content as it is kept, our
    trace field included. body: BODY= of RFC 6152 and 3030 ("7BIT", "8BITMIME", "BINARYMIME"; "" not given).
    eight_bit: octets above 127 were seen. dotted: some line begins with a dot, so the content must be made
    transparent before it is sent. ret, envid: RET= and ENVID= of RFC 3461, as given; "" where they were not.
    notice_for: the queue id (as a number) of the message that this one is a notice about; 0 for ordinary mail.
    double_bounce: it tells the postmaster of a notice that could not be delivered, and its own failure nobody.

    What few messages have: auth: AUTH= of RFC 4954 5, decoded ("local@domain", "<>"; "" not given). smtputf8: it was
    asked for (RFC 6531). requiretls: likewise (RFC 8689). priority: -9 to 9 (RFC 6710). by: when it must have been
    delivered, in seconds since 1970, 0 for no such wish; by_mode: what to do then, "R" (return it) or "N" (say so),
    with "T" behind it where each relay is to be told of (RFC 2852). released: when its sender wants it to go on, which
    is when its age begins (RFC 4865); 0 for at once.
    """

    sender: str
    recipients: tuple[Recipient, ...]
    received: float
    size: int = 0
    client: Client = Client()
    body: str = ""
    eight_bit: bool = False
    dotted: bool = True
    ret: str = ""
    envid: str = ""
    notice_for: int = 0
    double_bounce: bool = False
    auth: str = ""
    smtputf8: bool = False
    requiretls: bool = False
    priority: int = 0
    by: float = 0.0
    by_mode: str = ""
    released: float = 0.0

    @property
    def queued_since(self) -> float:
        """When its time in the queue began, from which retries, warnings and its end are counted."""
        return self.released or self.received

    @property
    def has_wishes(self) -> bool:
        """Did its sender ask for what few ask for?"""
        if self.ret or self.envid or self[_RARE:] != _NOTHING_RARE:
            return True
        for one in self.recipients:  # noqa: SIM110  a generator would cost more than all of this
            if one.notify or one.original:
                return True
        return False

    def to_json(self) -> str:
        """All of it but the recipients, who are kept with the delivery that they wait in."""
        kept = self[2:] if self[_RARE:] != _NOTHING_RARE else self[2:_RARE]
        return to_json((self.sender, *kept))

    def on_behalf_of(self, sender: str) -> "Envelope":
        """The same mail from another reverse-path: a list's owner, or the sender's own with a source route before it.

        What the first sender wanted to be told by it is not a new one's wish (RFC 3461 5.2.7.3).
        """
        if sender == self.sender:
            return self
        is_same = bool(self.sender) and sender.startswith("@") and sender.endswith(f":{self.sender}")
        return self._replace(sender=sender) if is_same else self._replace(sender=sender, ret="", envid="")

    @classmethod
    def from_json(cls, text: str, recipients: tuple[Recipient, ...]) -> "Envelope":
        """The inverse of `to_json`. Fields that a later version appended keep their defaults here, and vice versa."""
        sender, received, size, client, *rest = json.loads(text)
        return cls(sender, recipients, received, size, Client(*client), *rest)


_RARE = Envelope._fields.index("auth")
_NOTHING_RARE = tuple(Envelope._field_defaults[name] for name in Envelope._fields[_RARE:])


def recipients_to_json(recipients: tuple[Recipient, ...]) -> str:
    """Recipients as a compact list: a bare string where nothing was asked for, a list otherwise."""
    return to_json([one if one.notify or one.original else one.address for one in recipients])


def recipients_from_json(text: str) -> tuple[Recipient, ...]:
    """The inverse of `recipients_to_json`."""
    return tuple(Recipient(one) if isinstance(one, str) else Recipient(*one) for one in json.loads(text))


class QueueIds:
    """Makes queue ids: numbers that rise with time, unlike those of any other worker, never twice.

    A queue id is microseconds since 1970 times 256, plus the number of the worker that took the message in. So rows
    are appended in order, workers need not ask one another, and an id tells when and by whom. A clock that goes back
    does not repeat an id: the last one is remembered, and `after` carries it over a restart.
    """

    def __init__(self, worker: int = 0, after: int = 0) -> None:
        self._worker = worker
        self._last = after // WORKERS

    def next(self, now: float) -> int:
        """A new id at `now`, in seconds since 1970."""
        self._last = max(int(now * 1_000_000), self._last + 1)
        return self._last * WORKERS + self._worker


def first_id_at(at: float) -> int:
    """No queue id that was made at this time, in seconds since 1970, or later, is lower."""
    return int(at * 1_000_000) * WORKERS


@lru_cache(maxsize=1024)
def format_queue_id(number: int) -> str:
    """A queue id as people see it: 12 or 13 letters and digits, in order of time."""
    digits = ""
    while number >= 1024:
        number, pair = divmod(number, 1024)
        digits = _PAIRS[pair] + digits
    return (_ALPHABET[number] if number < 32 else _PAIRS[number]) + digits


def parse_queue_id(text: str) -> int | None:
    """The number of a queue id; None for what is not one. Lower case and O, I, L for 0, 1, 1 are forgiven."""
    if len(text) > _LONGEST_ID:
        return None
    number = 0
    for digit in text.upper():
        value = _DIGITS.get(digit)
        if value is None:
            return None
        number = number * 32 + value
    return number if text and number < 1 << 63 else None
