"""XCLIENT's attributes: as Postfix documents them, and nothing else."""

import pytest

from mta.smtp.xclient import UNKNOWN, ClientAttributes, parse_xclient


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("NAME=spike.porcupine.org ADDR=168.100.189.2", ClientAttributes("spike.porcupine.org", "168.100.189.2")),
        ("addr=IPV6:2001:DB8:0::1 port=1234", ClientAttributes(address="2001:db8::1", port=1234)),
        ("ADDR=IPv6:::ffff:192.0.2.1", ClientAttributes(address="192.0.2.1")),
        (
            "PROTO=esmtp HELO=mx.example LOGIN=ann+2Bx@example",
            ClientAttributes(None, None, None, "ESMTP", "mx.example", "ann+x@example"),
        ),
        ("  NAME=[UNAVAILABLE]  ADDR=[unavailable] ", ClientAttributes("", UNKNOWN)),
        ("NAME=[TEMPUNAVAIL] PORT=[UNAVAILABLE]", ClientAttributes("", port=0)),
        ("PROTO=[UNAVAILABLE] LOGIN=[UNAVAILABLE]", ClientAttributes(protocol="", login="")),
        ("DESTADDR=192.0.2.9 DESTPORT=25", ClientAttributes()),
        ("HELO=[192.0.2.1] LOGIN=+C3+A9", ClientAttributes(helo="[192.0.2.1]", login="é")),
    ],
)
def test_what_is_read(text: str, attributes: ClientAttributes) -> None:
    assert parse_xclient(text) == attributes


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "are needed"),
        ("   ", "are needed"),
        ("NAME", "looks like"),
        ("NAME=a=b", "looks like"),
        ("=x", "looks like"),
        ("NAME=", "has no value"),
        ("NAME=a name=b", "twice"),
        ("COLOUR=blue", "no attribute COLOUR"),
        ("NAME=a+zz", "NAME: .*xtext"),
        ("HELO=mx+0D+0AX-Evil:+20yes", "printed"),
        ("NAME=" + "a" * 256, "longer"),
        ("ADDR=mx.example", "an address is"),
        ("ADDR=2001:db8::1", "an address is"),
        ("ADDR=IPV6:192.0.2.1", "an address is"),
        ("ADDR=IPV6:fe80::1%25eth0", "an address is"),
        ("ADDR=IPV6:fe80::1%eth0", "an address is"),
        ("ADDR=192.0.2.300", "an address is"),
        ("DESTADDR=here", "an address is"),
        ("PORT=65536", "a port is"),
        ("PORT=-1", "a port is"),
        ("DESTPORT=smtp", "a port is"),
        ("PROTO=LMTP", "PROTO is"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_xclient(text)


def test_an_unknown_client_is_never_taken_for_one_on_a_unix_socket() -> None:
    """The empty address is this machine's own, which may relay."""
    for value in ("[UNAVAILABLE]", "[TEMPUNAVAIL]"):
        assert parse_xclient(f"ADDR={value}").address


@pytest.mark.parametrize("text", ["FOO{0}=1", "{0}", "ADDR={1}", "PORT={1}", "PROTO={1}"])
def test_what_is_refused_is_quoted_in_ascii_and_short(text: str) -> None:
    with pytest.raises(ValueError, match=r"\\xe9") as error:
        parse_xclient(text.format("é" * 200, "+C3+A9" * 200))
    assert str(error.value).isascii()
    assert len(str(error.value)) < 300
