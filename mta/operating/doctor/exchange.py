"""Exchange: the MX records of a domain (RFC 5321 5.1): do they lead here, and can others follow them?"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mta.operating.doctor.finding import Finding, Teller, listed
from mta.operating.doctor.names import Own, is_public
from mta.policy.exchangers import Answer, Exchanger, Found, is_host_name


class Relay(NamedTuple):
    """What is to be known of this relay here. takes: it takes mail for the domain from anybody. by_mx: and sends it
    on by MX, as a second exchanger does, not by a route."""

    hostname: str
    own: Own
    takes: bool
    by_mx: bool = False


class Host(NamedTuple):
    """What the DNS has for the host of an MX record."""

    addresses: Answer[str]
    alias: Answer[str]


def judge_mx(domain: str, answer: Answer[Exchanger], hosts: Mapping[str, Host], relay: Relay) -> list[Finding]:
    """The MX records of a domain. hosts: each of those that it names, and the domain itself."""
    teller = Teller("mx", domain)
    record = f"{domain}. MX 10 {relay.hostname}."
    if answer.found is Found.FAILED:
        return [teller.unknown(f"the MX records could not be asked for: {answer.why}")]
    if answer.found is Found.NO_NAME:
        return [teller.problem(f"{domain} does not exist in the DNS", "register it, or name another domain")]
    if any(not one.host for one in answer.records):
        return [_null(teller, domain, answer, relay, record)]
    if not answer.records:
        return [_implicit(teller, domain, hosts[domain].addresses, relay, record)]
    found = [finding for one in answer.records for finding in _host(teller, one, hosts)]
    here = [one.host for one in answer.records if is_here(one.host, hosts[one.host].addresses, relay)]
    shown = listed([f"{one.host} ({one.preference})" for one in answer.records])
    if here and relay.takes and relay.by_mx and answer.records[0].host in here:
        found.append(
            teller.problem(
                f"mail for {domain} comes to this relay, which would send it on by MX, to itself: it bounces",
                f"add a route to where the mail of {domain} is kept, such as {{to: {domain}, via: lmtp://127.0.0.1:24}}",
            )
        )
    elif here:
        found.append(teller.ok(f"mail for {domain} comes to this relay: MX {shown}"))
    elif relay.takes:
        found.append(
            teller.warning(
                f"mail for {domain}, which is taken here, goes to others: MX {shown}",
                "if this relay is to get it, publish:",
                record,
            )
        )
    else:
        found.append(teller.note(f"mail for {domain} goes to {shown}, and is not taken here"))
    return found


def is_here(host: str, addresses: Answer[str], relay: Relay) -> bool:
    """Is this host of an MX record this relay?"""
    return host == relay.hostname.lower() or bool(set(addresses.records) & {*relay.own.public, *relay.own.inside})


def _null(teller: Teller, domain: str, answer: Answer[Exchanger], relay: Relay, record: str) -> Finding:
    if len(answer.records) > 1:
        return teller.problem(
            f"{domain} has a null MX (RFC 7505) and others beside it, which contradict each other",
            "leave the null MX, or the others",
        )
    if relay.takes:
        return teller.problem(
            f"{domain} says that it takes no mail (null MX), but relay.domains has it", "publish instead:", record
        )
    return teller.note(
        f"{domain} takes no mail (null MX); receivers may refuse mail from its addresses, whose bounces go nowhere"
    )


def _implicit(teller: Teller, domain: str, addresses: Answer[str], relay: Relay, record: str) -> Finding:
    if addresses.found is Found.FAILED:
        return teller.unknown(f"{domain} has no MX record, and its address could not be asked for: {addresses.why}")
    if not addresses.records:
        text = f"{domain} has neither an MX record nor an address: nobody can write to it, and many refuse its mail"
        return teller.problem(text, "publish:", record)
    if is_here(domain, addresses, relay) or not relay.takes:
        return teller.note(
            f"{domain} has no MX record, so its mail goes to its own address, {listed(addresses.records)}",
            "publish one, which says what is meant:",
            record,
        )
    return teller.problem(
        f"{domain} has no MX record, so its mail goes to {listed(addresses.records)}, which is not this relay",
        "publish:",
        record,
    )


def _host(teller: Teller, one: Exchanger, hosts: Mapping[str, Host]) -> Iterator[Finding]:
    """What is wrong with the host of an MX record."""
    if not is_host_name(one.host):
        yield teller.problem(
            f"the MX record with {listed([one.host])} does not name a host",
            "put a host name there, not an address; give that name the address",
        )
        return
    addresses, alias = hosts[one.host]
    if alias.records:
        yield teller.problem(
            f"the MX host {one.host} is an alias (CNAME) of {listed(alias.records)}, which RFC 2181 10.3 forbids",
            f"name that host in the MX record, or give {one.host} an address of its own",
        )
    if addresses.found is Found.FAILED:
        yield teller.unknown(f"the addresses of the MX host {one.host} could not be asked for: {addresses.why}")
    elif not addresses.records:
        yield teller.problem(f"the MX host {one.host} has no address", "give it one, or take it out of the MX records")
    elif inside := [address for address in addresses.records if not is_public(address)]:
        yield teller.problem(
            f"the MX host {one.host} has {listed(inside)}, which nobody outside can reach",
            "publish public addresses alone for it",
        )
