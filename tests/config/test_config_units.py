"""Durations, sizes, networks and socket addresses, as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.config.units import (
    SocketAddress,
    format_duration,
    format_size,
    parse_duration,
    parse_network,
    parse_server,
    parse_size,
    parse_socket_address,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("4h", 14400), ("5d", 432000), ("0s", 0), ("5 m", 300)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("value", ["", "5", "5w", "5M", "-5m", "1.5h", "5m30s", "never", "٥m", 5, True, None, ["5m"]])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="durations are written 90s, 5m, 4h or 5d"):
        parse_duration(value)


@settings(deadline=None)
@given(st.integers(0, 10**9 - 1))
def test_durations_are_written_as_they_are_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def test_durations_are_written_in_the_largest_unit() -> None:
    assert [format_duration(seconds) for seconds in (0, 90, 300, 5400, 86400)] == ["0s", "90s", "5m", "90m", "1d"]


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("512KiB", 512 << 10),
        ("50MiB", 50 << 20),
        ("1GiB", 1 << 30),
        ("1MB", 10**6),
        ("7", 7),
        ("7B", 7),
        (7, 7),
        (0, 0),
    ],
)
def test_sizes(value: object, octets: int) -> None:
    assert parse_size(value) == octets


@pytest.mark.parametrize("value", ["", "MiB", "1.5MiB", "-1", -1, True, None, "50M", "50mib", "1PiB", "1 000"])
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(ValueError, match=r"size|unit"):
        parse_size(value)


@settings(deadline=None)
@given(st.integers(0, 1 << 50))
def test_sizes_are_written_as_they_are_read(octets: int) -> None:
    assert parse_size(format_size(octets)) == octets


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::/0", "::/0"),
    ],
)
def test_networks(text: str, network: str) -> None:
    assert str(parse_network(text)) == network


@pytest.mark.parametrize("value", ["", "192.0.2", "192.0.2.0/33", "localhost", "192.0.2.1/24", 10, None])
def test_what_is_no_network(value: object) -> None:
    with pytest.raises(ValueError, match="network"):
        parse_network(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:25", SocketAddress("0.0.0.0", 25)),
        ("[::]:25", SocketAddress("::", 25)),
        ("[2001:DB8::1]:587", SocketAddress("2001:db8::1", 587)),
        ("localhost:0", SocketAddress("127.0.0.1", 0)),
        ("unix:/run/mta/smtp", SocketAddress("", 0, "/run/mta/smtp")),
        ("systemd:smtp", SocketAddress("", 0, systemd="smtp")),
    ],
)
def test_socket_addresses(text: str, address: SocketAddress) -> None:
    assert parse_socket_address(text) == address
    assert parse_socket_address(str(address)) == address


@pytest.mark.parametrize(
    "value",
    ["", ":", ":25", "*:25", "25", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:25", "[::1]",
     "[]:25", "[::1:25", "host:25", "[127.0.0.1:25", "unix:", "systemd:", "systemd:a:b", "systemd:a b",
     25, None, ["::"]],
)  # fmt: skip
def test_what_is_no_socket_address(value: object) -> None:
    with pytest.raises(ValueError):
        parse_socket_address(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", SocketAddress("192.0.2.1", 53)),
        ("192.0.2.1:5300", SocketAddress("192.0.2.1", 5300)),
        ("2001:db8::1", SocketAddress("2001:db8::1", 53)),
        ("[2001:db8::1]", SocketAddress("2001:db8::1", 53)),
        ("[2001:db8::1]:5300", SocketAddress("2001:db8::1", 5300)),
        ("localhost", SocketAddress("127.0.0.1", 53)),
    ],
)
def test_servers(text: str, address: SocketAddress) -> None:
    assert parse_server(text, 53) == address
