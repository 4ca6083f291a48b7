"""SCRAM (RFC 5802, 7677): both sides know in the end that the other one knows the password, which never travels.

The messages and proofs are scramp's. Here is what a server needs around them: forms for names that there are none of,
so that names cannot be probed, authorization identities, and channel binding, of which scramp does not know the type
that TLS 1.3 has (RFC 9266).
"""

import re
from collections.abc import Callable
from hmac import digest
from typing import Any, Final

from scramp import ScramException, ScramMechanism  # type: ignore[import-untyped]
from scramp.utils import ServerError  # type: ignore[import-untyped]

from mta.auth.mechanisms import OTHER_IDENTITY, UNKNOWN, WRONG, Find
from mta.auth.prepared import prepared
from mta.auth.steps import Elsewhere, Malformed, Proof, Steps, Unbound, answer
from mta.logins import IChannel
from mta.policy.account import PLUS, Account, ScramForm, account_key
from mta.smtp import replies

Decoy = Callable[[str], ScramForm]

OTHER_CHANNEL: Final = "bound to another TLS connection than this one: somebody may stand in between"

_LONGEST_NONCE: Final = 512
_FLAG = re.compile(r"n|y|p=([A-Za-z0-9.-]{1,100})")


def decoy_form(key: bytes, mechanism: str, name: str, iterations: int) -> ScramForm:
    """The form of somebody whom there is none of, the same each time (RFC 5802 9). No proof is right for it.

    key: a secret of this process.
    """
    made = digest(key, f"{mechanism} {account_key(name)}".encode(), "sha512")
    return ScramForm(mechanism, iterations, made[:16], made[16:48], made[32:64])


def scram(
    mechanism: str,
    initial: bytes | None,
    find: Find,
    decoy: Decoy,
    nonce: str,
    elsewhere: bool,
    channel: IChannel | None = None,
) -> Steps:
    """The server's side. elsewhere: another source goes on where the name is not known here.

    channel: what a login is bound to by the -PLUS forms, which this client is offered; None where it is not.
    """
    form_name = mechanism.removesuffix(PLUS)
    first = initial if initial is not None else answer((yield b""))
    header, authorization, bare = _parted(first)
    bound_to = _bound_to(header, mechanism, channel)
    seen: list[tuple[str, Account | None]] = []

    def form_of(name: str) -> tuple[bytes, bytes, bytes, int]:
        account = find(name)
        seen.append((name, account))
        form = (account.scram(form_name) if account else None) or decoy(name)
        return form.salt, form.stored_key, form.server_key, form.iterations

    server = ScramMechanism(form_name).make_server(form_of, s_nonce=nonce)
    _obeying(server.set_client_first, f"n,,{bare}")
    [(name, account)] = seen
    if account is None and elsewhere:
        yield Elsewhere(name, first)
        return
    # The proof covers the header as it was sent, and behind it what the login is bound to.
    server.gs2_header = _Sent(header.encode() + bound_to)
    final = answer((yield _obeying(server.get_server_first).encode()))
    why = _judged(server, _text(final), OTHER_CHANNEL if bound_to else WRONG)
    if account is None or account.scram(form_name) is None:
        why = UNKNOWN if account is None else f"no form kept for {form_name}"
    elif not why and authorization and account_key(authorization) != account_key(name):
        why = OTHER_IDENTITY
    yield Proof(name, None if why else account, why)
    if answer((yield server.get_server_final().encode())):
        raise Malformed("something after the end")


class _Sent:
    """A GS2 header as it was sent, and what it binds to, for scramp to compare with what the client repeats."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def make_cbind_input(self, _binding: object) -> bytes:
        """As scramp asks for it."""
        return self._octets


def _bound_to(header: str, mechanism: str, channel: IChannel | None) -> bytes:
    """What the login is bound to; b"" for nothing. Raises `Malformed` and `Unbound`.

    A client that could bind ("y") and thinks that we cannot has been told a wrong list of mechanisms (RFC 5802 6).
    """
    flag = header.partition(",")[0]
    kind = flag[2:]
    if bool(kind) != mechanism.endswith(PLUS):
        raise Malformed("a channel binding belongs to the -PLUS forms, and they do not go without")
    if flag == "y" and channel is not None:
        why = "told that there is no channel binding here, though it is offered: somebody may stand in between"
        raise Unbound(replies.BINDING_IS_OFFERED, why)
    if not kind:
        return b""
    assert channel is not None, "the -PLUS forms are offered where there is something to bind to"
    octets = channel.binding(kind)
    if octets is None:
        raise Unbound(replies.UNKNOWN_BINDING, f"this connection has no channel binding {kind}")
    return octets


def _parted(first: bytes) -> tuple[str, str, str]:
    """The GS2 header, the authorization identity in it, and the rest (RFC 5802 7)."""
    parts = _text(first).split(",", 2)
    if len(parts) != 3 or not _FLAG.fullmatch(parts[0]) or (parts[1] and not parts[1].startswith("a=")):
        raise Malformed("not a first message")
    if len(first) > 2 * _LONGEST_NONCE + 1024:
        raise Malformed("too long")
    flag, identity, bare = parts
    escaped = identity[2:]
    if escaped.replace("=2C", "").replace("=3D", "").count("="):
        raise Malformed("a = in a name is written =3D")
    try:
        return f"{flag},{identity},", prepared(escaped.replace("=2C", ",").replace("=3D", "=")), bare
    except ValueError as error:
        raise Malformed(str(error)) from None


def _judged(server: Any, final: str, other_header: str) -> str:
    """What is wrong with the client's proof; "" for nothing. other_header: where it repeats another GS2 header."""
    try:
        server.set_client_final(final)
    except ScramException as error:
        if error.server_error is ServerError.INVALID_PROOF:
            return WRONG
        if error.server_error is ServerError.CHANNEL_BINDINGS_DONT_MATCH:
            return other_header
        raise Malformed(str(error.args[0])) from None
    return ""


def _obeying(step: Callable[..., Any], *words: str) -> Any:
    try:
        return step(*words)
    except ScramException as error:
        raise Malformed(str(error.args[0])) from None


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
