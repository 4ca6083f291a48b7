"""docs/security.md has a row for each of the thirty cases, and names tests that are there."""

import re
from pathlib import Path

import pytest
from test_conformance import TESTS, Row, lacks, rows

ROWS = rows((TESTS.parent / "docs" / "security.md").read_text("utf-8"))
FILES = sorted(Path(__file__).parent.glob("test_[0-9][0-9]_*.py"))


def test_each_case_has_one_row() -> None:
    assert sorted(int(row.what.split()[0]) for row in ROWS) == list(range(1, 31))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what[:30])
def test_each_row_names_its_own_test_and_all_that_it_names_is_there(row: Row) -> None:
    number = int(row.what.split()[0])
    assert [one for one in row.proofs if re.match(rf"attacks/test_{number:02}_\w+\.py", one)]
    assert [gap for proof in row.proofs if (gap := lacks(proof))] == []


def test_each_file_of_attacks_is_named() -> None:
    named = {proof.partition("::")[0] for row in ROWS for proof in row.proofs}
    assert {f"attacks/{file.name}" for file in FILES} - named == set()
    assert len(FILES) == 30


def test_a_row_that_names_nothing_is_found() -> None:
    [row] = rows("| Attack | By |\n|---|---|\n| 1 x | `attacks/test_01_nothing.py` |\n")
    assert lacks(row.proofs[0])
