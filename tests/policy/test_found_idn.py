"""An internationalized domain of ours is ours however it is written (RFC 5890 2.3.2.1, RFC 6531 3.2)."""

import pytest

from mta.message.envelope import Recipient
from mta.policy.access import Access, may_send_as
from mta.policy.addressing import Addressing
from mta.policy.directory import Alias, Directory, Domain, User
from mta.policy.inquiry import verify
from mta.policy.pattern import Pattern
from mta.policy.routing import Routing

DOMAIN = "xn--bcher-kva.example"
WRITTEN = ["xn--bcher-kva.example", "bücher.example", "BÜCHER.example", "bücher。example", "ｂücher.example"]
POSTMASTER = f"postmaster@{DOMAIN}"


def _directory() -> Directory:
    names = (User(f"anna@{DOMAIN}"), Alias(f"all@{DOMAIN}", (f"anna@{DOMAIN}",)))
    return Directory([Domain(DOMAIN, names, complete=True)])


@pytest.mark.parametrize("domain", WRITTEN)
def test_names_are_found_and_missed(domain):
    addressing = Addressing(_directory(), Routing(), POSTMASTER)
    assert not addressing.resolve("", Recipient(f"anna@{domain}")).is_refused
    [forwarding] = addressing.resolve("", Recipient(f"all@{domain}")).forwardings
    assert forwarding.recipient.address == f"anna@{DOMAIN}"
    assert addressing.resolve("", Recipient(f"nobody@{domain}")).is_refused
    assert addressing.decide("", f"nobody@{domain}").refusal is not None
    assert not addressing.resolve("", Recipient(f"postmaster@{domain}")).is_refused
    assert verify(_directory(), f"anna@{domain}", POSTMASTER, utf8=True).code == 250
    assert verify(_directory(), f"nobody@{domain}", POSTMASTER, utf8=True).code == 550


@pytest.mark.parametrize("domain", WRITTEN)
def test_access(domain):
    assert Access([], [DOMAIN]).judge(False, f"anna@{domain}").allowed
    for pattern in (f"*@{DOMAIN}", f"anna@{DOMAIN}"):
        assert may_send_as((Pattern.parse(pattern),), f"Anna@{domain}")
    assert not may_send_as((Pattern.parse(f"bob@{DOMAIN}"),), f"anna@{domain}")
