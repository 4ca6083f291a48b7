"""xtext keeps every text, and takes nothing that is not xtext."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp import xtext


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_encoded_decodes_to_the_same(text: str) -> None:
    encoded = xtext.encode(text)
    assert encoded.isascii()
    assert not set(encoded) & set("= ")
    assert xtext.decode(encoded, utf8=True) == text


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("a+b=c", "a+2Bb+3Dc"), ("plain@example.org", "plain@example.org"), ("two words", "two+20words"), ("é", "+C3+A9")],
)
def test_how_it_is_written(text: str, encoded: str) -> None:
    assert xtext.encode(text) == encoded


@pytest.mark.parametrize("text", ["a=b", "a b", "+2", "+2b", "+GG", "a+", "é", "a\tb", "+\u0664\u0664"])
def test_what_is_no_xtext_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no xtext"):
        xtext.decode(text, utf8=True)


def test_octets_beyond_ascii_are_taken_only_where_they_were_agreed_on() -> None:
    with pytest.raises(ValueError, match="octets"):
        xtext.decode("+C3+A9")
    with pytest.raises(ValueError, match="octets"):
        xtext.decode("+FF", utf8=True)
    assert xtext.decode("+C3+A9", utf8=True) == "é"
