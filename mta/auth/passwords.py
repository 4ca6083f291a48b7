"""Passwords: the forms that are kept of one, and checking one against them, which takes 0.1 to 0.4 s of a core."""

import hashlib
from collections.abc import Collection
from hmac import compare_digest
from hmac import digest as hmac_digest
from secrets import token_bytes
from typing import Final

import argon2
from scramp import ScramMechanism  # type: ignore[import-untyped]

from mta.policy.account import SCRAM_SHA_1, SCRAM_SHA_256, Account, ScramForm

# The weakest form decides how long a stolen file withstands guessing. Clients derive once for each login: with so
# many it takes 20 ms in C, and less than half a second in the slowest languages that mail clients are written in.
ITERATIONS: Final = 50_000
# Checking one keeps a core busy, so only so many are checked at once, and some more may wait for their turn.
AT_ONCE: Final = 2
LONGEST_LINE: Final = 20
_HASHES: Final = {SCRAM_SHA_1: "sha1", SCRAM_SHA_256: "sha256"}
_TYPES: Final = {argon2.Type.D: "argon2d", argon2.Type.I: "argon2i", argon2.Type.ID: "argon2id"}
_hasher: Final = argon2.PasswordHasher()


def kept(name: str, password: str, recoverable: bool = False) -> Account:
    """An account with this password, in all forms that do not give it away; recoverable: and as it is, for CRAM-MD5.

    password: prepared, as `mta.auth.prepared` has it. Blocks.
    """
    return Account(
        name,
        _hasher.hash(password),
        _scram(SCRAM_SHA_1, password),
        _scram(SCRAM_SHA_256, password),
        password if recoverable else "",
    )


def is_right(account: Account, password: str) -> bool:
    """Is it the password of the account? By the strongest form that there is. Blocks."""
    if account.argon2:
        try:
            return _hasher.verify(account.argon2, password)
        except argon2.exceptions.VerificationError:
            return False
    form = account.scram_sha_256 or account.scram_sha_1
    if form is not None:
        return compare_digest(_stored_key(form.mechanism, password, form.salt, form.iterations), form.stored_key)
    return bool(account.cram_md5) and compare_digest(account.cram_md5.encode(), password.encode())


def decoy(accounts: Collection[Account]) -> Account:
    """An account that no password is right for, and that takes as long to check as these do."""
    like = next((account.argon2 for account in accounts if account.argon2), None)
    if like is None and accounts:
        return Account("", scram_sha_256=_like_scram(accounts))
    parameters = argon2.extract_parameters(like) if like else argon2.profiles.RFC_9106_LOW_MEMORY
    made = argon2.low_level.hash_secret(
        token_bytes(32), token_bytes(16), 1, 8, 1, parameters.hash_len, parameters.type
    ).decode()
    *_, salt, digest = made.split("$")
    costs = f"m={parameters.memory_cost},t={parameters.time_cost},p={parameters.parallelism}"
    return Account("", f"${_TYPES[parameters.type]}$v={parameters.version}${costs}${salt}${digest}")


def _like_scram(accounts: Collection[Account]) -> ScramForm:
    iterations = usual_iterations(accounts, SCRAM_SHA_256)
    return ScramForm(SCRAM_SHA_256, iterations, token_bytes(16), token_bytes(32), token_bytes(32))


def usual_iterations(accounts: Collection[Account], mechanism: str) -> int:
    """How often a password is hashed for SCRAM in these accounts: as the first that has such a form does."""
    forms = (account.scram(mechanism) for account in accounts)
    return next((form.iterations for form in forms if form is not None), ITERATIONS)


def _scram(mechanism: str, password: str) -> ScramForm:
    salt, stored_key, server_key, iterations = ScramMechanism(mechanism).make_auth_info(
        password, iteration_count=ITERATIONS, salt=token_bytes(16)
    )
    return ScramForm(mechanism, iterations, salt, stored_key, server_key)


def _stored_key(mechanism: str, password: str, salt: bytes, iterations: int) -> bytes:
    """RFC 5802 3: StoredKey."""
    name = _HASHES[mechanism]
    salted = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations)
    return hashlib.new(name, hmac_digest(salted, b"Client Key", name)).digest()
