"""The Received field says who, what, when, and nothing that was not to be told."""

from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest

from mta.message.envelope import Client
from mta.message.trace import received_field

AT = 1_800_000_000.25


def test_a_received_field() -> None:
    field = received_field("mx.example.org", Client("192.0.2.1", "pc.example", "ESMTP"), 1 << 60, "a@example.org", AT)
    assert field == (
        b"Received: from pc.example ([192.0.2.1])\r\n"
        b"\tby mx.example.org with ESMTP id 1000000000000\r\n"
        b"\tfor <a@example.org>; Fri, 15 Jan 2027 08:00:00 +0000\r\n"
    )


def test_other_recipients_are_not_told() -> None:
    field = received_field("h", Client("::1", "[IPv6:::1]", "SMTP"), 1, "", AT)
    assert b"a@x" not in field
    assert b"from [IPv6:::1] ([IPv6:::1])" in field


def test_the_zone_of_a_link_local_address_is_ours_alone() -> None:
    field = received_field("h", Client("fe80::5%lan0", "nas", "ESMTP"), 1, "", AT)
    assert field.startswith(b"Received: from nas ([IPv6:fe80::5])\r\n"), "RFC 4007 11.2, RFC 5321 4.1.3"


@pytest.mark.parametrize("helo", ["", "a b", "x\r\nX-Injected: y", "(comment", "é", "a" * 300])
def test_what_is_no_name_is_not_repeated(helo: str) -> None:
    field = received_field("h", Client("192.0.2.1", helo, "SMTP"), 1, "", AT)
    assert field.startswith(b"Received: from unknown ([192.0.2.1])\r\n\tby h with SMTP id 1;")


def test_a_unix_socket_has_no_address() -> None:
    assert received_field("h", Client("", "cron", "ESMTP"), 1, "", AT).startswith(b"Received: from cron\r\n")


def test_the_standard_library_reads_it_and_no_line_is_long() -> None:
    field = received_field("h" * 200, Client("192.0.2.1", "x", "ESMTP"), 1, "a" * 64 + "@" + "b" * 180, AT)
    parsed = message_from_bytes(field + b"\r\n")
    assert parsedate_to_datetime(parsed["Received"].rpartition(";")[2]).timestamp() == int(AT)
    assert max(map(len, field.split(b"\r\n"))) <= 998
