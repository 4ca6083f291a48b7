"""Mechanisms: the server's side of PLAIN, LOGIN, CRAM-MD5 and EXTERNAL; SCRAM has a file of its own."""

from collections.abc import Callable, Sequence
from hmac import compare_digest, digest
from typing import Final

from mta.auth.prepared import prepared
from mta.auth.steps import Malformed, Password, Proof, Steps, answer
from mta.policy.account import Account

Find = Callable[[str], Account | None]

UNKNOWN: Final = "no such account"
WRONG: Final = "wrong password"
OTHER_IDENTITY: Final = "asks to act as somebody else"
_LONGEST: Final = 1024  # octets of a name or a password; nobody has longer ones


def plain(initial: bytes | None) -> Steps:
    """PLAIN (RFC 4616): all in one response, [authorization identity] NUL name NUL password."""
    message = initial if initial is not None else answer((yield b""))
    parts = message.split(b"\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Malformed("not [authorization identity] NUL name NUL password")
    authorization, name, password = map(_decoded, parts)
    yield Password(name, password, authorization)


def login(initial: bytes | None) -> Steps:
    """LOGIN, which no RFC describes: name and password, each asked for. Some clients send the name with AUTH."""
    name = initial if initial is not None else answer((yield b"Username:"))
    password = answer((yield b"Password:"))
    yield Password(_decoded(name), _decoded(password))


def cram_md5(initial: bytes | None, find: Find, challenge: bytes) -> Steps:
    """CRAM-MD5 (RFC 2195): the name, and the digest of our challenge keyed with the password."""
    if initial is not None:
        raise Malformed("the server speaks first")  # RFC 4954 4: refused with 501
    response = answer((yield challenge))
    before, space, given = response.rpartition(b" ")
    if not space or not before:
        raise Malformed("not a name and a digest")
    name = _decoded(before)
    account = find(name)
    secret = account.cram_md5 if account is not None else ""
    expected = digest(secret.encode(), challenge, "md5").hex().encode()
    is_right = compare_digest(given.lower(), expected) and bool(secret)
    if is_right:
        yield Proof(name, account)
    else:
        yield Proof(name, None, UNKNOWN if account is None else WRONG if secret else "no secret kept for CRAM-MD5")


def external(initial: bytes | None, find: Find, names: Sequence[str]) -> Steps:
    """EXTERNAL (RFC 4422 A): who the certificate says. names: those that it gives, at least one."""
    wanted = _decoded(initial if initial is not None else answer((yield b"")))
    accounts = [account for account in map(find, names) if account is not None]
    if wanted:
        asked = find(wanted)
        account = asked if asked in accounts else None
        yield Proof(wanted, account, "" if account else OTHER_IDENTITY)
    else:
        yield Proof(names[0], accounts[0] if accounts else None, "" if accounts else UNKNOWN)


def _decoded(octets: bytes) -> str:
    """A name or a password from the wire, prepared. Raises `Malformed`."""
    if len(octets) > _LONGEST:
        raise Malformed(f"longer than {_LONGEST} octets")
    try:
        return prepared(octets.decode())
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    except ValueError as error:
        raise Malformed(str(error)) from None
