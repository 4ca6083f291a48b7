"""The side that asks, until mail may flow: introduction, TLS and login, as generators of `mta.smtp.steps`.

`open_up` goes from the greeting to a server that has introduced itself, over TLS where that is wanted; `log_in` holds
the dialogue of AUTH. What they know of TLS is when it begins and what must be forgotten then: the server is taken for
what it says of itself inside (RFC 3207 4.2). What a certificate must be is for whoever drives the steps.
"""

from base64 import b64decode, b64encode
from typing import NamedTuple

from mta.smtp import limits
from mta.smtp.asking import Peer, introduced
from mta.smtp.client import Ending, How, Stage
from mta.smtp.login import ClientMechanism
from mta.smtp.reply import Reply
from mta.smtp.steps import Commands, Dialogue, Greeting, Handshake, NoHandshake, OwnReply

CHALLENGES_LIMIT = 10  # of one login; the longest mechanism that we know has three

_HELO_INSTEAD = frozenset({500, 502, 504, 550})
_READY = 220
_CHALLENGE = 334


class Security(NamedTuple):
    """What a session has to have.

    implicit: TLS from the first octet (RFC 8314 3.3). wanted: STARTTLS where the server offers it. required: nothing
    is said in the clear but what leads to TLS. verified: the certificate must be valid, and the server's.
    """

    implicit: bool = False
    wanted: bool = False
    required: bool = False
    verified: bool = False


IN_THE_CLEAR = Security()


class Unprotected(NamedTuple):
    """There is no TLS with this server, though it offered it or we must have it. reply: why, in the form of a reply."""

    reply: OwnReply


class NotLoggedIn(NamedTuple):
    """AUTH came to nothing. reply: the server's or ours. refused: it was the last word, and not "later"."""

    reply: Reply
    refused: bool


def open_up(name: str, lmtp: bool = False, security: Security = IN_THE_CLEAR) -> Dialogue[Peer | Unprotected | Ending]:
    """From the connection to a server that has introduced itself to us, `name` (our host name).

    An `Ending` when the server does not want us, or is none.
    """
    if security.implicit:
        [shaken] = yield Handshake()
        if not shaken.is_positive:
            return _no_handshake(shaken)
    [greeting] = yield Greeting()
    if not greeting.is_positive:
        return _not_wanted(greeting)
    peer = yield from introduce(name, lmtp)
    if security.implicit or not security.wanted or not isinstance(peer, Peer):
        return peer
    if "STARTTLS" in peer.extensions:
        return (yield from _start_tls(name, lmtp))
    if security.required:
        return Unprotected(OwnReply(451, "4.7.4", (f"TLS is required here, and {peer.name} does not offer STARTTLS",)))
    return peer


def introduce(name: str, lmtp: bool = False) -> Dialogue[Peer | Ending]:
    """EHLO, else HELO (RFC 5321 3.2); LHLO for LMTP. An `Ending` when the server does not want us."""
    word = b"LHLO" if lmtp else b"EHLO"
    [reply] = yield Commands(b"%b %b\r\n" % (word, name.encode()))
    if reply.is_positive:
        return introduced(reply, lmtp)
    if reply.code in _HELO_INSTEAD and lmtp:
        # A mistake in the configuration, as it seems, and no reason to bounce.
        return Ending(How.LOST, OwnReply(451, "4.5.0", (f"the server does not speak LMTP: {reply}",)), Stage.GREETING)
    if reply.code in _HELO_INSTEAD:
        [reply] = yield Commands(b"HELO %b\r\n" % name.encode())
        if reply.is_positive:
            return introduced(reply)
    return _not_wanted(reply)


def _start_tls(name: str, lmtp: bool) -> Dialogue[Peer | Unprotected | Ending]:
    """STARTTLS, and the introduction anew: what was said in the clear was said by anybody (RFC 3207 4.2)."""
    [reply] = yield Commands(b"STARTTLS\r\n")
    if reply.code != _READY:
        if reply.code == 421:
            return Ending(How.LOST, reply, Stage.GREETING)
        what = "no TLS" if isinstance(reply, OwnReply) else "STARTTLS refused"
        return Unprotected(OwnReply(451, "4.7.4", (f"{what}: {reply}",)))
    [shaken] = yield Handshake()
    if not shaken.is_positive:
        return _no_handshake(shaken)
    answer = yield from introduce(name, lmtp)
    if isinstance(answer, Ending) and isinstance(answer.reply, OwnReply):
        # TLS that breaks at the first command: a server wants a certificate of us, say, which it tells too late.
        return Unprotected(OwnReply(451, "4.7.5", (f"TLS is of no use: {answer.reply.text}",)))
    return answer


def log_in(mechanism: ClientMechanism) -> Dialogue[NotLoggedIn | None]:
    """AUTH by a mechanism (RFC 4954 4); None when we are logged in.

    A server that does not do its part (no base64, no proof that it knows the secret) is not believed: the exchange is
    cancelled, and it may be tried again later.
    """
    command = b"AUTH %b" % mechanism.name.encode()
    initial = mechanism.initial()
    if initial is not None:
        whole = command + b" " + (b64encode(initial) or b"=")
        if len(whole) + 2 <= limits.AUTH_LINE:
            command, initial = whole, None
    [reply] = yield Commands(command + b"\r\n", secret=True)
    challenges = 0
    while reply.code == _CHALLENGE and not isinstance(reply, OwnReply):
        challenges += 1
        try:
            if challenges > CHALLENGES_LIMIT:
                raise ValueError("it has no end")
            # A response that was too long for the line of AUTH answers an empty challenge (RFC 4422 5).
            response = mechanism.respond(_challenge(reply)) if initial is None else initial
        except ValueError as error:
            yield Commands(b"*\r\n")
            return _not_believed(mechanism, error)
        initial = None
        [reply] = yield Commands(b64encode(response) + b"\r\n", secret=True)
    if isinstance(reply, OwnReply) or not reply.is_positive:
        return NotLoggedIn(reply, reply.is_permanent)
    try:
        mechanism.succeeded()
    except ValueError as error:
        return _not_believed(mechanism, error)
    return None


def _challenge(reply: Reply) -> bytes:
    if len(reply.lines) != 1:
        raise ValueError("a challenge that is not base64")
    try:
        return b64decode(reply.lines[0].strip(), validate=True)
    except ValueError:
        raise ValueError("a challenge that is not base64") from None


def _not_believed(mechanism: ClientMechanism, error: ValueError) -> NotLoggedIn:
    return NotLoggedIn(OwnReply(451, "4.7.0", (f"the server's part of {mechanism.name} is wrong: {error}",)), False)


def _no_handshake(reply: Reply) -> Unprotected | Ending:
    """Why there was no handshake: it failed, or the session ended for another reason."""
    if isinstance(reply, NoHandshake):
        return Unprotected(reply)
    return Ending(How.LOST, reply, Stage.GREETING)


def _not_wanted(reply: Reply) -> Ending:
    """What a reply to the greeting's stage means that is not the hoped-for one."""
    if isinstance(reply, OwnReply) or reply.code == 421:
        return Ending(How.LOST, reply, Stage.GREETING)
    if reply.code >= 400:
        return Ending(How.REFUSED, reply, Stage.GREETING)
    return Ending(How.LOST, OwnReply(451, "4.5.0", (f"unexpected reply to the greeting: {reply}",)), Stage.GREETING)
