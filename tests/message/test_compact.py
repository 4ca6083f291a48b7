"""Compact JSON is what the standard library writes, whether that has its writer in C or not."""

import json
from json import encoder

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.message import compact

texts = st.text(st.characters(exclude_categories=()), max_size=20)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    leaves, lambda some: st.lists(some) | st.dictionaries(texts, some) | st.tuples(some), max_leaves=9
)


@settings(max_examples=50)
@given(values)
def test_it_is_what_the_standard_library_writes(value: object) -> None:
    assert compact.to_json(value) == json.dumps(value, separators=(",", ":"))


def test_a_python_without_a_writer_in_c_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "c_make_encoder", None)
    value = (1.5, "\ud800é\n", [True, None], {"a": []})
    assert compact._writer()(value) == compact.to_json(value) == r'[1.5,"\ud800\u00e9\n",[true,null],{"a":[]}]'


def test_what_json_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError):
        compact.to_json({"octets": b""})
