"""PROXY headers: both versions, wherever they are cut, and nothing else."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.net.proxied import LONGEST_BLOCK, Proxied, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def block(family: int = 0x11, payload: bytes = b"", command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(payload)) + payload


def addresses(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", 51234, 25)


TLV = b"\x04\x00\x03abc" + b"\x20\x00\x05\x01\x00\x00\x00\x00"
HEADERS = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n", "192.0.2.7"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:DB8::7 2001:db8::1 0 25\r\n", "2001:db8::7"),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 51234 25\r\n", "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", None),
    (block(0x11, addresses("192.0.2.7", "198.51.100.1")), "192.0.2.7"),
    (block(0x21, addresses("2001:db8::7", "2001:db8::1")), "2001:db8::7"),
    (block(0x21, addresses("::ffff:192.0.2.7", "2001:db8::1")), "192.0.2.7"),
    (block(0x11, addresses("192.0.2.7", "198.51.100.1") + TLV), "192.0.2.7"),
    (block(0x11, addresses("192.0.2.7", "198.51.100.1").ljust(LONGEST_BLOCK, b"\x04")), "192.0.2.7"),
    (block(0x31, b"/run/mail.sock".ljust(216, b"\0")), None),
    (block(0x00), None),
    (block(0x00, TLV), None),
    (block(0x00, command=0x20), None),
    (block(0x11, addresses("192.0.2.7", "198.51.100.1"), command=0x20), None),
    (block(0x7F, b"?", command=0x20), None),
]


@pytest.mark.parametrize(("octets", "address"), HEADERS)
def test_a_header_is_read_at_its_last_octet_and_not_before(octets: bytes, address: str | None) -> None:
    for end in range(len(octets)):
        assert read_header(octets[:end]) is None
    assert read_header(octets) == Proxied(address, len(octets))
    assert read_header(octets + b"EHLO me\r\n" + SIGNATURE) == Proxied(address, len(octets))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"EHLO me\r\n", "does not begin"),
        (b"proxy TCP4", "does not begin"),
        (b"PROXX", "does not begin"),
        (b"\r\n\r\n\0\r\nQUIX", "does not begin"),
        (b"\x16\x03\x01", "does not begin"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\r\n".replace(b"TCP4", b"UDP4"), "is not TCP4"),
        (b"PROXY \r\n", "is not TCP4"),
        (b"PROXY  TCP4 192.0.2.7 198.51.100.1 51234 25\r\n", "is not TCP4"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234\r\n", "is not TCP4"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25 1\r\n", "is not TCP4"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 51234 25\n\r\n", "no port"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 051234 25\r\n", "no port"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", "no port"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 -1 25\r\n", "no port"),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 \xb2 25\r\n", "no port"),
        (b"PROXY TCP4 2001:db8::7 2001:db8::1 1 25\r\n", "no address of TCP4"),
        (b"PROXY TCP4 192.0.2.07 198.51.100.1 1 25\r\n", "no address of TCP4"),
        (b"PROXY TCP6 192.0.2.7 198.51.100.1 1 25\r\n", "no address of TCP6"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 25\r\n", "one machine"),
        (b"PROXY TCP4 mail.example 198.51.100.1 1 25\r\n", "no address of TCP4"),
        (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "longer than 107"),
        (b"PROXY " + b"x" * 101, "longer than 107"),
        (block(command=0x11), "version or a command"),
        (block(command=0x22), "version or a command"),
        (SIGNATURE + b"\x21\x11" + struct.pack("!H", LONGEST_BLOCK + 1), "longer than"),
        (block(0x11, b"x" * 11), "not all of them"),
        (block(0x21, b"x" * 35), "not all of them"),
        (block(0x31, b"x" * 215), "not all of them"),
        (block(0x12, addresses("192.0.2.7", "198.51.100.1")), "no addresses of TCP"),
        (block(0x41, b"x" * 300), "no addresses of TCP"),
    ],
)
def test_what_is_no_header_is_refused(octets: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_header(octets)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21"]))
def test_any_octets_are_a_header_or_a_reason_or_wait_within_bounds(octets: bytes, start: bytes) -> None:
    try:
        header = read_header(start + octets)
    except ValueError:
        return
    if header is not None:
        assert header.length <= len(start + octets)
