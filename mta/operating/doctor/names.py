"""Names: the addresses that this relay sends from, what they are called, and whether that leads back to them.

Receivers look up the client's address, and then the name that they got: both have to agree (RFC 1912 2.1; large
receivers demand it). The name in HELO is to be a fully qualified one that resolves (RFC 5321 2.3.5, 4.1.1.1).
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from mta.dns.inquirer import reverse_name
from mta.operating.doctor.finding import Finding, Teller, listed
from mta.policy.exchangers import Answer, Found, is_host_name

_NOBODY_ELSE_KNOWS: Final = ("local", "localhost", "localdomain", "lan", "home", "internal")
MOST_NAMES: Final = 10  # PTR records of one address that are followed


class Own(NamedTuple):
    """The addresses of this relay. public: by which the world knows it. inside: that the world does not see, and
    that it would send from. presumed: the public ones are those that the DNS gives to its name, and none of them is
    this machine's: it may be behind a router that translates (NAT)."""

    public: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    presumed: bool = False


def own_addresses(given: Sequence[str], local: Iterable[str], of_name: Answer[str]) -> Own:
    """The addresses that are known of. given: as the operator says. local: what this machine sends from and listens
    on. of_name: what the DNS gives to the relay's name."""
    if given:
        return Own(tuple(dict.fromkeys(given)))
    here = tuple(dict.fromkeys(local))
    public = tuple(one for one in here if is_public(one))
    inside = tuple(one for one in here if not is_public(one))
    versions = {ip_address(one).version for one in public}
    translated = {ip_address(one).version for one in inside} - versions
    more = tuple(one for one in of_name.records if is_public(one) and ip_address(one).version in translated)
    return Own(public + more, inside, presumed=bool(more))


def is_public(address: str) -> bool:
    """Can it be reached from everywhere?"""
    return ip_address(address).is_global


def judge_own(own: Own) -> list[Finding]:
    """What is known of the addresses."""
    teller = Teller("addresses", "")
    if not own.public:
        inside = f" (only {listed(own.inside)})" if own.inside else ""
        return [
            teller.unknown(
                f"no public address of this machine is known{inside}, so PTR and SPF cannot be checked",
                "name those that its mail leaves from: mta doctor --address 192.0.2.1",
            )
        ]
    if own.presumed:
        return [
            teller.note(
                f"this machine has {listed(own.inside)}; {listed(own.public)} is taken for its public address, since "
                "that is what the DNS has for its name",
                "if mail leaves from another one, name it: mta doctor --address 192.0.2.1",
            )
        ]
    return [teller.ok(f"mail leaves from {listed(own.public)}")]


def judge_ptr(address: str, hostname: str, names: Answer[str], forward: Mapping[str, Answer[str]]) -> Finding:
    """The PTR record of an address. forward: the addresses of the names that it gives."""
    teller = Teller("ptr", address)
    record = f"{reverse_name(address)}. PTR {hostname}."
    provider = "have whoever gave you the address (the provider) publish"
    if names.found is Found.FAILED:
        return teller.unknown(f"the PTR record could not be asked for: {names.why}")
    if not names.records:
        return teller.problem(
            f"{address} has no PTR record; many receivers refuse mail from it", f"{provider} this:", record
        )
    followed = names.records[:MOST_NAMES]
    back = [name for name in followed if address in _same_form(forward[name])]
    if not back:
        if any(forward[name].found is Found.FAILED for name in followed):
            return teller.unknown(f"{address} is {listed(followed)}, whose address could not be asked for")
        return teller.problem(
            f"{address} is {listed(followed)}, which does not lead back to it; many receivers refuse such mail",
            f"{provider} this, and give {hostname} that address:",
            record,
        )
    if hostname.lower() not in back:
        return teller.note(
            f"{address} is {listed(back)} and back, but this relay calls itself {hostname}",
            "best they are the same: set hostname to that name, or publish:",
            record,
        )
    if len(names.records) > 1:
        return teller.note(
            f"{address} has {len(names.records)} PTR records, {listed(followed)}; some receivers look at one alone",
            "leave one of them:",
            record,
        )
    return teller.ok(f"{address} is {hostname}, and {hostname} leads back to it")


def judge_helo(hostname: str, addresses: Answer[str], own: Own) -> list[Finding]:
    """The name that this relay says it has."""
    teller = Teller("helo", hostname)
    top = hostname.lower().rpartition(".")[2]
    if "." not in hostname or not is_host_name(hostname) or top in _NOBODY_ELSE_KNOWS:
        return [
            teller.problem(
                f"{hostname} is not a name that the world could know; many receivers refuse it in HELO",
                "set hostname to the full name that the PTR record of this machine's address has",
            )
        ]
    if addresses.found is Found.FAILED:
        return [teller.unknown(f"the addresses of {hostname} could not be asked for: {addresses.why}")]
    if not addresses.records:
        seen = f"{hostname} has no address, so many receivers refuse it in HELO"
        if not own.public:
            return [teller.problem(seen, "publish an A record with the public address of this relay")]
        return [teller.problem(seen, "publish:", _address_record(hostname, own.public[0]))]
    known = _same_form(addresses)
    missing = [one for one in own.public if one not in known]
    if missing:
        return [
            teller.warning(
                f"{hostname} has {listed(addresses.records)}, not {one}, which this relay sends from",
                "publish:",
                _address_record(hostname, one),
            )
            for one in missing
        ]
    if not any(is_public(one) for one in known):
        return [
            teller.problem(
                f"{hostname} has {listed(addresses.records)} alone, which nobody outside can reach",
                "publish the public address of this relay for it",
            )
        ]
    return [teller.ok(f"{hostname} is fully qualified and has {listed(addresses.records)}")]


def _address_record(host: str, address: str) -> str:
    return f"{host}. {'AAAA' if ':' in address else 'A'} {address}"


def _same_form(answer: Answer[str]) -> set[str]:
    return {str(ip_address(one)) for one in answer.records}
