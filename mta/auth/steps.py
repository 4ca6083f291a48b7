"""Steps: what a mechanism of the server does next. A mechanism is a generator of these, without socket or clock.

It is sent each response of the client after a challenge, and None after evidence that was found right. What is not
evidence ends it with `Malformed`, or `Unbound`. When it returns, the client is logged in.
"""

from collections.abc import Generator
from typing import NamedTuple

from mta.policy.account import Account
from mta.smtp.reply import Reply


class Malformed(Exception):
    """A response is not what the mechanism expects here: 501 5.5.2. The text says why, for the log."""


class Unbound(Exception):
    """The login is not bound to its connection as it has to be. reply: to the client. The text: why, for the log."""

    def __init__(self, reply: Reply, why: str) -> None:
        super().__init__(why)
        self.reply = reply


class Password(NamedTuple):
    """A name and a password to check, both prepared. authorization: whom the client wants to act as; "" for itself."""

    name: str
    password: str
    authorization: str = ""


class Proof(NamedTuple):
    """Evidence that the mechanism has looked at itself. account: None where it is not right. why: for the log, then."""

    name: str
    account: Account | None
    why: str = ""


class Elsewhere(NamedTuple):
    """The name is not one of ours: another source may go on from this first response."""

    name: str
    response: bytes


Step = bytes | Password | Proof | Elsewhere
Steps = Generator[Step, bytes | None, None]


def answer(response: bytes | None) -> bytes:
    """What was sent behind a challenge, which is never nothing."""
    assert response is not None, "a challenge is followed by a response"
    return response
