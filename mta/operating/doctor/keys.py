"""Keys: the public keys of DKIM (RFC 6376 3.6.1, RFC 8301, RFC 8463), for the selectors that one asks for."""

import binascii
from base64 import b64decode
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mta.operating.doctor.finding import Finding, Teller, quoted
from mta.operating.doctor.tags import BadTags, parse_tags
from mta.policy.exchangers import Answer, Found

_SHORTEST: Final = 1024  # bits; verifiers treat less as no signature (RFC 8301 3.2)
_GOOD: Final = 2048
_LONGEST_KEY: Final = 4096  # characters of base64: twice what an RSA key of 8192 bits needs


def not_asked(domain: str) -> Finding:
    """Nobody can list the selectors of a domain."""
    return Teller("dkim", domain).unknown(
        "which keys sign for it cannot be found out from the DNS",
        f"name the selectors (s= in the DKIM-Signature of a mail from {domain}): mta doctor --selector NAME",
    )


def judge_key(domain: str, selector: str, answer: Answer[str]) -> Finding:
    """The record of a selector."""
    name = f"{selector}._domainkey.{domain}"
    teller = Teller("dkim", name)
    if answer.found is Found.FAILED:
        return teller.unknown(f"the key could not be asked for: {answer.why}")
    if not answer.records:
        return teller.problem(
            "there is no key, so signatures with this selector fail", "publish:", f'{name}. TXT "v=DKIM1; k=rsa; p=…"'
        )
    if len(answer.records) > 1:
        return teller.problem(
            f"there are {len(answer.records)} records, of which verifiers take any (RFC 6376 3.6.2.2)",
            "leave one; a key that is too long for one string is several strings of the same record",
        )
    try:
        tags = parse_tags(answer.records[0])
    except BadTags as error:
        return teller.problem(f"the record cannot be read: {error}", "write it anew, as the signer printed it")
    return _judge_tags(teller, tags)


def _judge_tags(teller: Teller, tags: dict[str, str]) -> Finding:
    if "v" in tags and (tags["v"] != "DKIM1" or next(iter(tags)) != "v"):
        return teller.problem(f"the record has v={quoted(tags['v'])}, or not as its first tag", "begin it with v=DKIM1")
    if "p" not in tags:
        return teller.problem("the record has no key (p=)", "publish the public key there")
    if not tags["p"]:
        return teller.problem("the key is revoked (p= is empty)", "publish the key that signs, or sign with another")
    if "h" in tags and "sha256" not in _words(tags["h"]):
        return teller.problem("the record does not allow sha256 (h=)", "take h= out")
    if "s" in tags and not {"*", "email"} & _words(tags["s"]):
        return teller.problem("the key is not for mail (s=)", "take s= out")
    finding = _judge_key(teller, tags.get("k", "rsa"), tags["p"])
    if finding.level == "ok" and "y" in _words(tags.get("t", "")):
        return teller.note(f"{finding.seen}, but the record says that it is a test (t=y)", "take y out of t=")
    return finding


def _judge_key(teller: Teller, kind: str, text: str) -> Finding:
    anew = "publish it as the signer printed it"
    try:
        octets = b64decode("".join(text[:_LONGEST_KEY].split()), validate=True)
    except (binascii.Error, ValueError):
        return teller.problem("the key is not base64, or it is cut off", anew)
    if kind == "ed25519":
        try:
            Ed25519PublicKey.from_public_bytes(octets)
        except ValueError:
            return teller.problem("the key is not one of Ed25519, which has 32 octets (RFC 8463)", anew)
        return teller.note("the key is of Ed25519, which many receivers cannot check", "sign with an RSA key beside it")
    if kind != "rsa":
        return teller.problem(f"the kind of the key, k={quoted(kind)}, is not known", "use rsa or ed25519")
    try:
        key = load_der_public_key(octets)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return teller.problem("the key cannot be read; often a part of it is missing", anew)
    if not isinstance(key, RSAPublicKey):
        return teller.problem("the key is not one of RSA, as k= says", anew)
    if key.key_size < _SHORTEST:
        return teller.problem(f"the key has {key.key_size} bits, which counts as none (RFC 8301)", "make one of 2048")
    if key.key_size < _GOOD:
        return teller.warning(f"the key has {key.key_size} bits, which is little today", "make one of 2048 bits")
    return teller.ok(f"an RSA key of {key.key_size} bits")


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(":")}
