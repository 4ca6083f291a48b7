"""The part of YAML that a configuration is written in."""

import pytest

from mta.config.document import read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("True", "True"),
        ("true", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("0", 0), ("-7", -7), ("+7", 7), ("0777", "0777"), ("0x10", "0x10"), ("1:30", "1:30"), ("1_000", "1_000"),
        ("1.5", "1.5"), ("1e3", "1e3"), ("2026-11-23", "2026-11-23"), ("9" * 30, "9" * 30),
        ("'5'", "5"), ('"true"', "true"), ("'null'", "null"), ("|\n  a\n  b", "a\nb\n"),
        ("5m", "5m"), (".example.org", ".example.org"), ("smtp://a.example:25", "smtp://a.example:25"),
        ("[1, a]", [1, "a"]), ("{b: [c]}", {"b": ["c"]}), ("{<<: a}", {"<<": "a"}),
        ("{1: a, no: b}", {"1": "a", "no": "b"}),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    assert read_document(f"key: {text}\n").data == {"key": value}


def test_lines() -> None:
    document = read_document("\ufeff# first\na: 1\nb:\n  - c\n  - d: 2\n    e:\n      f\n")
    lines = {("a",): 2, ("b",): 3, ("b", 0): 4, ("b", 1): 5, ("b", 1, "d"): 5, ("b", 1, "e"): 6, (): 2}
    assert document.lines == lines
    assert document.line(("b", 1, "missing")) == 5
    assert document.line(("missing", "too")) == 2


def test_second_key_is_remembered_and_its_value_forgotten() -> None:
    document = read_document("a: 1\nb: {c: 1, c: [2]}\na: {d: 3}\n")
    assert document.data == {"a": 1, "b": {"c": 1}}
    assert document.twice == [(("b", "c"), 2), (("a",), 3)]


def test_value_by_key() -> None:
    document = read_document("a: [{b: c}]\n")
    assert document.value(("a", 0, "b")) == "c"
    for key in (("x",), ("a", 1), ("a", 0, "x"), ("a", 0, "b", "c")):
        with pytest.raises(LookupError):
            document.value(key)
