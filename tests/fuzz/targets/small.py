"""Small: headers that proxies put before a connection."""

import ipaddress

from mta.net.proxied import LONGEST_BLOCK, Proxied, read_header
from targets.choices import Choices, cut
from targets.measures import Target, stretch


def proxy(octets: bytes) -> None:
    """The beginning of any connection is a header, a reason why not, or waits for more within bounds."""
    choices = Choices(octets)
    how = choices.number(256)
    wire = choices.rest()
    found = []
    for way in (0, how):
        header: Proxied | str | None = None
        held = b""
        for piece in cut(wire, way):
            held += piece
            with stretch():
                try:
                    header = read_header(held)
                except ValueError as error:
                    header = "refused"
                    assert str(error).isprintable() and len(str(error)) < 200
            if header is not None:
                break
        found.append(header)
    assert found[0] == found[1], "the cut makes a difference"
    if isinstance(header, Proxied):
        assert 0 < header.length <= min(len(wire), 16 + LONGEST_BLOCK)
        if header.address is not None:
            assert str(ipaddress.ip_address(header.address)) == header.address
    assert header is not None or len(wire) < 16 + LONGEST_BLOCK


_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TARGETS = (
    Target(
        "proxy",
        proxy,
        (
            b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"192.0.2.1 ", b"::1 ", b"::ffff:192.0.2.1 ", b"1 ", b"65535",
            b"\r\n",
            _SIGNATURE, b"\x21\x11\x00\x0c", b"\x21\x21\x00\x24", b"\x20\x00\x00\x00", b"\x21\x31\x00\xd8",
            b"\xff\xff", b"\0" * 12,
            b"%eth0", b" ", b"0", b"x" * 107,
        ),
        4200,
    ),
)  # fmt: skip
