"""SCRAM (RFC 5802, 7677): both sides know in the end that the other one knows the password, which never travels.

The messages and proofs are scramp's. Here is what a server needs around them: forms for names that there are none of,
so that names cannot be probed, and authorization identities.
"""

from collections.abc import Callable
from hmac import digest
from typing import Any, Final

from scramp import ScramException, ScramMechanism  # type: ignore[import-untyped]
from scramp.utils import ServerError  # type: ignore[import-untyped]

from mta.auth.mechanisms import OTHER_IDENTITY, UNKNOWN, WRONG, Find
from mta.auth.prepared import prepared
from mta.auth.steps import Elsewhere, Malformed, Proof, Steps, answer
from mta.policy.account import Account, ScramForm, account_key

Decoy = Callable[[str], ScramForm]

_LONGEST_NONCE: Final = 512


def decoy_form(key: bytes, mechanism: str, name: str, iterations: int) -> ScramForm:
    """The form of somebody whom there is none of, the same each time (RFC 5802 9). No proof is right for it.

    key: a secret of this process.
    """
    made = digest(key, f"{mechanism} {account_key(name)}".encode(), "sha512")
    return ScramForm(mechanism, iterations, made[:16], made[16:48], made[32:64])


def scram(mechanism: str, initial: bytes | None, find: Find, decoy: Decoy, nonce: str, elsewhere: bool) -> Steps:
    """The server's side. elsewhere: another source goes on where the name is not known here."""
    first = initial if initial is not None else answer((yield b""))
    header, authorization, bare = _parted(first)
    seen: list[tuple[str, Account | None]] = []

    def form_of(name: str) -> tuple[bytes, bytes, bytes, int]:
        account = find(name)
        seen.append((name, account))
        form = (account.scram(mechanism) if account else None) or decoy(name)
        return form.salt, form.stored_key, form.server_key, form.iterations

    server = ScramMechanism(mechanism).make_server(form_of, s_nonce=nonce)
    _obeying(server.set_client_first, f"{header[:1]},,{bare}")
    [(name, account)] = seen
    if account is None and elsewhere:
        yield Elsewhere(name, first)
        return
    # scramp knows no authorization identity; the header that the proof covers is the one that was sent.
    server.gs2_header = _Sent(header.encode())
    final = answer((yield _obeying(server.get_server_first).encode()))
    why = _judged(server, _text(final))
    if account is None or account.scram(mechanism) is None:
        why = UNKNOWN if account is None else f"no form kept for {mechanism}"
    elif not why and authorization and account_key(authorization) != account_key(name):
        why = OTHER_IDENTITY
    yield Proof(name, None if why else account, why)
    if answer((yield server.get_server_final().encode())):
        raise Malformed("something after the end")


class _Sent:
    """A GS2 header as it was sent, for scramp to compare with what the client repeats."""

    def __init__(self, header: bytes) -> None:
        self._header = header

    def make_cbind_input(self, _binding: object) -> bytes:
        """As scramp asks for it."""
        return self._header


def _parted(first: bytes) -> tuple[str, str, str]:
    """The GS2 header, the authorization identity in it, and the rest (RFC 5802 7)."""
    parts = _text(first).split(",", 2)
    if len(parts) != 3 or parts[0] not in ("n", "y") or (parts[1] and not parts[1].startswith("a=")):
        raise Malformed("not a first message without channel binding")
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


def _judged(server: Any, final: str) -> str:
    """What is wrong with the client's proof; "" for nothing."""
    try:
        server.set_client_final(final)
    except ScramException as error:
        if error.server_error in (ServerError.INVALID_PROOF, ServerError.CHANNEL_BINDINGS_DONT_MATCH):
            return WRONG
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
