"""The checks of parameters: what they take, in which form, and what they refuse."""

import pytest

from mta.smtp import parameters
from mta.smtp.parameters import deliver_by, future_release_checks, release_time

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
HOLDS = future_release_checks(86_400)


@pytest.mark.parametrize(
    ("check", "value", "normal"),
    [
        (parameters.octets, "0", "0"),
        (parameters.octets, "12345678901234567890", "12345678901234567890"),
        (parameters.body, "8bitmime", "8BITMIME"),
        (parameters.body, "BinaryMime", "BINARYMIME"),
        (parameters.body, "7BIT", "7BIT"),
        (parameters.alone("SMTPUTF8"), None, ""),
        (parameters.auth, "<>", "<>"),
        (parameters.auth, "+3C+3E", "<>"),
        (parameters.auth, "e+3Dmc2@example.com", "e=mc2@example.com"),
        (parameters.priority, "-9", "-9"),
        (parameters.priority, "0", "0"),
        (parameters.priority, "9", "9"),
        (parameters.by, "3600;R", "3600;R"),
        (parameters.by, "+0060;rt", "60;RT"),
        (parameters.by, "-120;N", "-120;N"),
        (parameters.by, "0;NT", "0;NT"),
        (parameters.by, "999999999;R", "999999999;R"),
        (HOLDS["HOLDFOR"], "1", "1"),
        (HOLDS["HOLDFOR"], "86400", "86400"),
        (HOLDS["HOLDUNTIL"], "2030-01-31T08:00:00Z", "2030-01-31T08:00:00Z"),
        (HOLDS["HOLDUNTIL"], "2030-01-31t08:00:00.75z", "2030-01-31T08:00:00Z"),
        (HOLDS["HOLDUNTIL"], "2030-01-31T08:00:00+05:30", "2030-01-31T02:30:00Z"),
        (HOLDS["HOLDUNTIL"], "2030-12-31T23:59:60-01:00", "2031-01-01T00:59:59Z"),
        (HOLDS["HOLDUNTIL"], "0900-01-01T00:00:00Z", "0900-01-01T00:00:00Z"),
    ],
)
def test_what_is_taken(check, value: str | None, normal: str) -> None:
    assert check(value) == normal


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (parameters.octets, [None, "", "-1", "1k", "1" * 21, "\u0661"]),
        (parameters.body, [None, "", "9BIT", "8BITMIME,7BIT"]),
        (parameters.alone("REQUIRETLS"), ["", "yes"]),
        (parameters.auth, [None, "", "user", "a@b@c", "a+ZZ@example.org", "<a@example.org>", "+0A@example.org"]),
        (parameters.priority, [None, "", "10", "-10", "+1", "-0", "01", "high", "\u0661"]),
        (
            parameters.by,
            [None, "", "60", "60;", "60;X", "60;TR", "60;RN", "1234567890;R", "0;R", "-1;RT", ";R", "6 0;R"],
        ),
        (HOLDS["HOLDFOR"], [None, "", "0", "-1", "01", "86401", "1234567890", "1h", "\u0661"]),
        (
            HOLDS["HOLDUNTIL"],
            [
                None,
                "",
                "2030-01-31",
                "2030-01-31T08:00:00",
                "2030-01-31 08:00:00Z",
                "2030-02-30T08:00:00Z",
                "2030-01-31T24:00:00Z",
                "2030-01-31T08:00:61Z",
                "2030-01-31T08:00:00+24:00",
                "2030-01-31T08:00:00+01:60",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
                "0000-01-01T00:00:00Z",
                "20300131T080000Z",
            ],
        ),
    ],
)
def test_what_is_refused_with_a_reason(check, values: list[str | None]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=r"\w{2,} \w{2,}"):
            check(value)


def test_a_deliver_by_is_read_back() -> None:
    assert deliver_by(parameters.by("-0120;nt")) == (-120, "NT")


def test_how_long_a_message_is_held() -> None:
    assert release_time({}, NOW, 3600) == NOW
    assert release_time({"HOLDFOR": "60"}, NOW, 3600) == NOW + 60
    assert release_time({"HOLDUNTIL": "2027-01-15T09:00:00Z"}, NOW, 3600) == NOW + 3600
    assert release_time({"HOLDUNTIL": "2001-01-01T00:00:00Z"}, NOW, 3600) == NOW
    with pytest.raises(ValueError, match="3600 seconds at most"):
        release_time({"HOLDUNTIL": "2027-01-15T09:00:01Z"}, NOW, 3600)
    with pytest.raises(ValueError, match="exclude"):
        release_time({"HOLDFOR": "60", "HOLDUNTIL": "2027-01-15T09:00:00Z"}, NOW, 3600)
