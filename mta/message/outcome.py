"""Outcome: how one try ended for one recipient, and Carried: how it went for all of them, with what was said."""

from enum import StrEnum
from typing import NamedTuple

from mta.smtp.reply import Reply


class Result(StrEnum):
    """How a try ended for one recipient."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    HELD = "held"  # it cannot go on until somebody mends something here, such as a password; no reason to bounce


class Onward(StrEnum):
    """Who answers for a delivered message now, as far as its sender wanted to be told (RFC 3461 5.2)."""

    RELAYED = "relayed"  # a next hop that knows nothing of the sender's wishes
    PASSED = "passed"  # a next hop that was told of them
    FINAL = "delivered"  # a mail store: this was the delivery


# Each by a name of its own: to ask an Enum for a member takes Python 3.11 as long as thirty such names.
DELIVERED, DEFERRED, FAILED, HELD = Result
RELAYED, PASSED, FINAL = Onward


class Outcome(NamedTuple):
    """How a try ended for one recipient.

    reply: the remote reply, or, where `remote` is false, ours in the same form ("451 4.4.1 connection refused").
    host: who gave it, as "mx.example.net[192.0.2.1]:25"; "" where nobody was reached.
    unknown: the content was sent to its final dot and the reply was lost, so a copy may exist (RFC 1047).
    onward: who answers for it now, where it was delivered.
    """

    result: Result
    reply: Reply
    host: str = ""
    remote: bool = True
    unknown: bool = False
    onward: Onward = RELAYED


class Try(NamedTuple):
    """One host that was tried, for the timeline. seconds: how long it took.

    text: the reply that decided or the reason why there was none. dialogue: lines "C: …" and "S: …" of a try that
    failed, secrets blanked; empty for one that went well. tls: protocol and cipher, and whether the certificate was
    verified; "" in the clear. notes: what was done to the mail for this host ("converted to 7 bit: …").
    """

    host: str
    seconds: float
    text: str
    tls: str = ""
    dialogue: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Carried(NamedTuple):
    """What a transport gives back: an outcome for each recipient of the envelope, in order, always.

    reached: some host of the destination spoke to us as a mail server should (it need not have taken the mail).
    Where it is false the destination is down, as far as anybody can tell.
    """

    outcomes: tuple[Outcome, ...]
    tries: tuple[Try, ...] = ()
    reached: bool = True


def failed(code: int, enhanced: str, text: str, host: str = "") -> Outcome:
    """Our own permanent refusal, in the form of a reply."""
    return Outcome(FAILED, Reply(code, enhanced, (text,)), host, remote=False)


def held(code: int, enhanced: str, text: str, host: str = "") -> Outcome:
    """Our own "not until this is mended", in the form of a reply."""
    return Outcome(HELD, Reply(code, enhanced, (text,)), host, remote=False)


def deferred(code: int, enhanced: str, text: str, host: str = "", unknown: bool = False) -> Outcome:
    """Our own "not now", in the form of a reply."""
    return Outcome(DEFERRED, Reply(code, enhanced, (text,)), host, remote=False, unknown=unknown)
