"""Addresses of machines."""

from ipaddress import AddressValueError

import pytest

from mta.smtp.ip import dotted_decimal, is_ip_address, plain_address


@pytest.mark.parametrize(
    ("text", "known_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::1", "::1"),
        ("", ""),
        ("unknown", "unknown"),
        ("::ffff:192.0.2.256", "::ffff:192.0.2.256"),
    ],
)
def test_an_address_has_one_form(text: str, known_as: str) -> None:
    assert plain_address(text) == known_as


@pytest.mark.parametrize("text", ["192.0.2.1", "::1", "2001:db8::1", "::ffff:192.0.2.1"])
def test_addresses(text: str) -> None:
    assert is_ip_address(text)


@pytest.mark.parametrize("text", ["", "face", "192.0.2", "192.0.2.256", "a.b.c.d", "[192.0.2.1]", "mx.example", ":"])
def test_names(text: str) -> None:
    assert not is_ip_address(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1", "192.0.2.1"), ("192.000.002.010", "192.0.2.10"), ("0.0.0.0", "0.0.0.0"), ("008.1.1.1", "8.1.1.1")],
)
def test_octets_of_a_literal_are_decimal_whatever_they_begin_with(text: str, address: str) -> None:
    assert str(dotted_decimal(text)) == address


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.", "1.2.3.0004", "1.2.3.256", "1.2.3.-4", "1.2.3.٣"])
def test_no_dotted_decimal(text: str) -> None:
    with pytest.raises(AddressValueError):
        dotted_decimal(text)
