"""docs/conformance.md names for each of its rows what shows it: dialogues, and tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from dialogue import FOLDER

from mta.inbound.manners import Manners, Standing
from mta.smtp.parser import VERBS

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "conformance.md"

_CELL = re.compile(r"(?<!\\)\|")
_PROOF = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A row of a table: its first cell, and the names in its last one."""

    what: str
    proofs: tuple[str, ...]


def rows(text: str) -> list[Row]:
    """All rows of all tables, but those above a line of dashes."""
    found: list[Row] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
        if set("".join(cells)) <= {"-", ":"}:
            found.pop()  # the head of the table
        else:
            found.append(Row(cells[0], tuple(_PROOF.findall(cells[-1]))))
    return found


def lacks(proof: str) -> str:
    """What is not there of what a row names; "" where all is."""
    name, _, function = proof.partition("::")
    path = FOLDER / name if name.endswith(".txt") else TESTS / name
    if not path.is_file():
        return f"there is no {path}"
    if function and function not in functions(path):
        return f"{path} has no {function}"
    return ""


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


ROWS = rows(DOCUMENT.read_text("utf-8"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_each_row_is_shown_by_something_that_is_there(row: Row) -> None:
    assert row.proofs, "no dialogue and no test is named"
    assert [gap for proof in row.proofs if (gap := lacks(proof))] == []


def test_each_dialogue_is_there_for_some_row() -> None:
    named = {proof for row in ROWS for proof in row.proofs}
    assert {path.name for path in FOLDER.glob("*.txt")} - named == set()


def test_each_command_and_extension_has_a_row() -> None:
    said = DOCUMENT.read_text("utf-8")
    everything = Standing(True, tls=True, mechanisms=("PLAIN",), etrn=True, xclient=True)
    offered = Manners(auth="offered", vrfy="all").settings(*everything).keywords
    words = {keyword.split()[0] for keyword in offered} | {verb.decode() for verb in VERBS} | {"STARTTLS"}
    names = {"PIPELINING": "Pipelining", "ENHANCEDSTATUSCODES": "Enhanced status codes"}
    assert [word for word in sorted(words) if names.get(word, word) not in said] == []


def test_a_row_that_names_nothing_is_found() -> None:
    head, proofs = "| What | By |\n|---|---|\n", ("`plain.txt`", "somebody", "`none.txt` `test_conformance.py::no`")
    one, two, three = rows(head + "".join(f"| a row | {one} |\n" for one in proofs))
    assert one == Row("a row", ("plain.txt",))
    assert two.proofs == ()
    assert [bool(lacks(proof)) for proof in (*one.proofs, *three.proofs)] == [False, True, True]
