"""Servers: those of others that this relay needs: name servers, and port 25 of exchangers."""

from typing import Any, NamedTuple

from mta.operating.doctor.finding import Finding, Teller, listed, quoted
from mta.policy.exchangers import Answer, Found


class Reached(NamedTuple):
    """What came of connecting to port 25 of a host. greeting: what was said first. why: why nothing was."""

    host: str
    address: str
    greeting: str = ""
    why: str = ""


def judge_server(server: str, answer: Answer[Any], seconds: float) -> Finding:
    """A name server, asked for something that there may or may not be. seconds: how long it took."""
    teller = Teller("name server", server)
    if answer.found is Found.FAILED:
        return teller.problem(
            f"it does not answer: {answer.why}", "see whether it runs and may be asked from here, or name others in dns"
        )
    if seconds > 1:
        return teller.warning(f"it took {seconds:.1f} s to answer", "use one that is nearer, such as unbound here")
    return teller.ok(f"it answers, in {max(seconds * 1000, 1):.0f} ms")


def judge_validation(root: Answer[Any]) -> Finding:
    """Does the resolver validate DNSSEC? root: the answer for the root's SOA, which is signed."""
    teller = Teller("dnssec", "")
    if root.found is Found.FAILED:
        return teller.unknown(
            f"the root could not be asked for ({root.why}), so whether the name servers validate is not known"
        )
    if not (root.authentic and root.records):
        return teller.note(
            "the name servers do not validate (no AD for the root, which is signed), so DANE cannot be relied on",
            "run a resolver that does on this machine, such as unbound, and name it in dns.nameservers",
        )
    return teller.ok("the name servers validate")


def judge_port_25(domain: str, reached: list[Reached]) -> list[Finding]:
    """Connections to port 25 of a domain's exchangers, one for each family of addresses."""
    return [_judge_one(domain, one) for one in reached]


def _judge_one(domain: str, one: Reached) -> Finding:
    family = "IPv6" if ":" in one.address else "IPv4"
    teller = Teller("port 25 out", family)
    where = f"{listed([one.host])} [{one.address}], for {domain}"
    if one.greeting.startswith("220"):
        return teller.ok(f"{where}, greets: {quoted(one.greeting)}")
    if one.greeting:
        return teller.warning(
            f"{where}, does not want us: {quoted(one.greeting)}", "see what it says; the address may be on a block list"
        )
    if family == "IPv6":
        return teller.warning(
            f"{where}, cannot be reached: {one.why}",
            "if this machine has no IPv6, no more than a try is lost; else let port 25 out there, too",
        )
    return teller.problem(
        f"{where}, cannot be reached: {one.why}",
        'many networks close port 25: ask the provider to open it, or send through its server: routes: to "*" '
        "via smtp://SERVER:587",
    )


def not_tried(relayed_to: str) -> Finding:
    """Nobody was named to be connected to. relayed_to: the host that mail for the world goes to, "" for by MX."""
    teller = Teller("port 25 out", "")
    if relayed_to:
        return teller.ok(f"it is not needed: mail for the world goes to {relayed_to}")
    return teller.unknown(
        "nobody was named whose port 25 to connect to",
        "name a domain whose exchanger is to be greeted and left again: mta doctor --connect gmail.com",
    )


def port_25_in(listeners: list[str]) -> Finding:
    """What only somebody outside can tell. listeners: those that are to take mail from the world."""
    teller = Teller("port 25 in", "")
    if not listeners:
        return teller.note("no listener is on port 25 of an address that the world could reach")
    return teller.unknown(
        f"whether the world reaches {', '.join(listeners)} cannot be found out from here",
        "from a machine elsewhere: nc -v HOST 25, which has to show the greeting of this relay",
    )
