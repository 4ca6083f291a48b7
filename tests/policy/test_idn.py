"""Internationalized domains in ASCII."""

import pytest

from mta.policy.access import Access
from mta.policy.idn import in_a_labels, within_ascii
from mta.policy.pattern import Pattern
from mta.policy.routing import Hop, Route, Routing, Via


@pytest.mark.parametrize(
    ("domain", "written"),
    [
        ("example.org", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        # These have no such form.
        ("ü" * 100 + ".example", "ü" * 100 + ".example"),
        ("ö..example", "ö..example"),
        ("\u2028.example", "\u2028.example"),
    ],
)
def test_a_labels(domain: str, written: str) -> None:
    assert in_a_labels(domain) == written


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("", ""),
        ("a@example.org", "a@example.org"),
        ("a@ö.example", "a@xn--nda.example"),
        ('"a@b"@ö.example', '"a@b"@xn--nda.example'),
        ("a@İ.example", "a@xn--i-9bb.example"),
        ("ä@ö.example", "ä@ö.example"),
        ("postmaster", "postmaster"),
        ("postmästér", "postmästér"),
    ],
)
def test_paths(path: str, written: str) -> None:
    assert within_ascii(path) == written


def test_routes_and_domains_of_ours_are_compared_in_a_labels() -> None:
    access = Access([], ["xn--bcher-kva.example"])
    assert access.judge(False, "info@Bücher.example").allowed
    assert not access.judge(False, "info@bucher.example").allowed
    to_store = Hop(Via.LMTP, "127.0.0.1", 24)
    routing = Routing([Route(to_store, Pattern.parse("xn--bcher-kva.example"))])
    assert routing.decide("", "jürgen@BÜCHER.example").hop == to_store
    assert routing.decide("", "jürgen@faß.example").hop == Hop(Via.MX, "xn--fa-hia.example")
