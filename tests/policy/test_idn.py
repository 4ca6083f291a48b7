"""Internationalized domains in ASCII."""

import pytest

from mta.policy.idn import in_a_labels, within_ascii


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
