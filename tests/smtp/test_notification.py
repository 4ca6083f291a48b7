"""The parameters of RFC 3461, read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import notification as n


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("NEVER", "NEVER"),
        ("never", "NEVER"),
        ("SUCCESS", "SUCCESS"),
        ("success,Delay", "SUCCESS,DELAY"),
        ("DELAY,SUCCESS,FAILURE", "DELAY,SUCCESS,FAILURE"),
        ("FAILURE,failure", "FAILURE"),
    ],
)
def test_notify(value: str, normal: str) -> None:
    assert n.notify(value) == normal


@pytest.mark.parametrize(
    "value", [None, "", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,", ",SUCCESS", "SUCCESS;DELAY", "ALWAYS", "SUCCESS "]
)
def test_no_notify(value: str | None) -> None:
    with pytest.raises(ValueError, match="NEVER"):
        n.notify(value)


@pytest.mark.parametrize(("value", "normal"), [("FULL", "FULL"), ("hdrs", "HDRS")])
def test_ret(value: str, normal: str) -> None:
    assert n.ret(value) == normal


@pytest.mark.parametrize("value", [None, "", "BODY", "FULL,HDRS"])
def test_no_ret(value: str | None) -> None:
    with pytest.raises(ValueError, match="FULL or HDRS"):
        n.ret(value)


@pytest.mark.parametrize("value", ["QQ314159", "a+2Bb", "x" * 100, "<id@example.org>", "one+20two"])
def test_envelope_id(value: str) -> None:
    assert n.envelope_id(value) == value


@pytest.mark.parametrize("value", [None, "", "x" * 101, "a b", "a=b", "a+b", "a+2b", "a+0D+0A", "a+00", "ä", "+C3+A4"])
def test_no_envelope_id(value: str | None) -> None:
    with pytest.raises(ValueError, match=r"needed|longer|xtext|printed|octets"):
        n.envelope_id(value)


@pytest.mark.parametrize(
    "value",
    [
        "rfc822;user@example.org",
        "RFC822;user+2Btag@example.org",
        "x400;/G=Jim+20/S=x".replace("=", "+3D"),
        "rfc822;a;b",
        "utf-8;j\\x{F6}rg@example.org",
        "utf-8;jörg@bücher.example",
        "UTF-8;a\\x{2B}b\\x{1F600}",
        "rfc822;" + "x" * 493,
    ],
)
def test_original_recipient(value: str) -> None:
    assert n.original_recipient(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "user@example.org",
        "rfc822;",
        ";user@example.org",
        "rfc 822;user",
        "rfc822;us er",
        "rfc822;a+b",
        "rfc822;a=b",
        "rfc822;jörg@example.org",
        "rfc822;a+0Ab",
        "rfc822;" + "x" * 494,
        "utf-8;a+2Bb",
        "utf-8;a=b",
        "utf-8;a\\b",
        "utf-8;\\x{D800}",
        "utf-8;\\x{110000}",
        "utf-8;\\x{0041}",
        "utf-8;\\x{0A}",
        "utf-8;" + "ö" * 250,
    ],
)
def test_no_original_recipient(value: str | None) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        n.original_recipient(value)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_an_address_survives_its_ascii_form(address: str) -> None:
    text = n.encode_utf8(address)
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set("+= ")
    assert n.decode_utf8(text) == address


@given(st.text())
def test_whatever_comes_is_taken_or_refused(value: str) -> None:
    for check in (n.notify, n.ret, n.envelope_id, n.original_recipient):
        try:
            assert check(value)
        except ValueError as error:
            assert str(error)
