"""Account: somebody who may log in here: the forms that a password is kept in, and what it may send as."""

import re
import unicodedata
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from mta.policy.pattern import Pattern

SCRAM_SHA_1: Final = "SCRAM-SHA-1"
SCRAM_SHA_256: Final = "SCRAM-SHA-256"
PLUS: Final = "-PLUS"  # behind either: with channel binding (RFC 5802 4), from the same form

# Below it RFC 5802 5.1 and RFC 7677 4 do not let anybody go; above it scramp does not.
FEWEST_ITERATIONS: Final = 4096
MOST_ITERATIONS: Final = 10_000_000
_SHORTEST_SALT: Final = 12
_KEY_SIZES: Final = {SCRAM_SHA_1: 20, SCRAM_SHA_256: 32}
_FORM = re.compile(r"(SCRAM-SHA-1|SCRAM-SHA-256)\$([0-9]{4,8}):([^$:]+)\$([^$:]+):([^$:]+)")


class ScramForm(NamedTuple):
    """What a server keeps of a password for SCRAM (RFC 5802 3): enough to check a proof, not enough to make one.

    mechanism: SCRAM_SHA_1 or SCRAM_SHA_256. Its text is that of RFC 5803: mechanism$iterations:salt$stored:server.
    """

    mechanism: str
    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    @classmethod
    def parse(cls, text: str) -> "ScramForm":
        """The form that is written so. Raises `ValueError` with what is wrong, for people."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("is not a SCRAM form (SCRAM-SHA-256$iterations:salt$stored-key:server-key)")
        mechanism, iterations = match[1], int(match[2])
        try:
            salt, stored, server = (b64decode(part, validate=True) for part in match.group(3, 4, 5))
        except ValueError:
            raise ValueError("has a part that is not base64") from None
        if not FEWEST_ITERATIONS <= iterations <= MOST_ITERATIONS:
            raise ValueError(f"must have from {FEWEST_ITERATIONS} to {MOST_ITERATIONS} iterations")
        if len(salt) < _SHORTEST_SALT:
            raise ValueError(f"has a salt of fewer than {_SHORTEST_SALT} octets")
        if {len(stored), len(server)} != {_KEY_SIZES[mechanism]}:
            raise ValueError(f"has a key that is not one of {mechanism}")
        return cls(mechanism, iterations, salt, stored, server)

    def __str__(self) -> str:
        salt, stored, server = (b64encode(part).decode() for part in (self.salt, self.stored_key, self.server_key))
        return f"{self.mechanism}${self.iterations}:{salt}${stored}:{server}"


class Account(NamedTuple):
    """One account. Forms of its password that are not kept are "" or None; without any it needs a certificate.

    argon2: the hash in its own text form. cram_md5: the password itself, since CRAM-MD5 needs it (RFC 2195 2).
    senders: what it may send as; () for anything.
    """

    name: str
    argon2: str = ""
    scram_sha_1: ScramForm | None = None
    scram_sha_256: ScramForm | None = None
    cram_md5: str = ""
    senders: tuple[Pattern, ...] = ()

    def scram(self, mechanism: str) -> ScramForm | None:
        """Its form for a SCRAM mechanism."""
        return self.scram_sha_1 if mechanism == SCRAM_SHA_1 else self.scram_sha_256

    @property
    def forms(self) -> dict[str, str | ScramForm]:
        """The forms that are kept, by their keys in the file of accounts, each as text what stands there. Secrets.

        A password can be checked against any of them. But for argon2, the key is that of the mechanism, in lower case.
        """
        forms = {
            "argon2": self.argon2,
            "scram-sha-256": self.scram_sha_256,
            "scram-sha-1": self.scram_sha_1,
            "cram-md5": self.cram_md5,
        }
        return {key: form for key, form in forms.items() if form}


def account_key(name: str) -> str:
    """What a name is looked up by: people do not tell upper from lower case, nor a wide letter from a narrow one."""
    return unicodedata.normalize("NFKC", name).casefold()
