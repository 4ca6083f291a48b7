"""What is made from the program is as fresh as the program, and made well."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from docs.generate.__main__ import kept, manual
from docs.generate.reference import EXAMPLES, chapters
from docs.generate.schema import schema
from mta.cli.program import COMMANDS
from mta.config.load import load
from mta.config.problems import ConfigError
from mta.config.reading import mapping_in

ROOT = Path(__file__).parents[2]
LACKING = {key.path for chapter in chapters() for key in chapter.keys if key.lacking}


def pages() -> dict[str, str]:
    return dict(manual())


@pytest.mark.parametrize("path", ["docs/configuration.md", "etc/mta.schema.json"])
def test_what_is_kept_in_the_tree_is_not_stale(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == kept()[Path(path)], "say: make docs"


def test_there_is_a_manual_page_for_every_command_and_for_the_configuration() -> None:
    assert set(pages()) == {"mta.1", "mta.yml.5", *(f"mta-{name}.1" for name in COMMANDS)}


def test_manual_pages_are_well_written(tmp_path: Path) -> None:
    mandoc = shutil.which("mandoc")
    assert mandoc is not None, "there is no mandoc here; it comes with the package mandoc (tests/install-peers)"
    made = pages()
    for name, text in made.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "wrong.1").write_text(made["mta.1"].replace(".Sh DESCRIPTION", ".Sx DESCRIPTION"))
    command = [mandoc, "-Tlint", "-Wall", *sorted(tmp_path.iterdir())]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    assert any("wrong.1" in line for line in said), "it would be found"
    # It looks for other pages among those that are installed.
    found = [line for line in said if "wrong.1" not in line and "referenced manual not found" not in line]
    assert found == []
    named = set(re.findall(r"^\.(?:It )?Xr (\S+ \d)", "".join(made.values()), re.MULTILINE))
    assert {name.replace(" ", ".") for name in named} <= set(made)


def test_a_manual_page_says_what_help_says() -> None:
    page = pages()["mta-queue.1"]
    for word in ("Fl Fl config", "Fl Fl json", "Fl Fl limit", "Fl Fl state"):
        assert word in page


def as_editors_do(text: str) -> list[str]:
    """What an editor with the schema finds wrong with a file."""
    validator = jsonschema_rs.validator_for(schema())
    return [error.message for error in validator.iter_errors(mapping_in(text, "mta.yml", "").data)]


def test_the_schema_takes_the_configurations_that_there_are() -> None:
    for path in (ROOT / "etc/mta.yml", ROOT / "debian/mta.yml", EXAMPLES):
        assert as_editors_do(path.read_text(encoding="utf-8")) == []
    assert as_editors_do("spool: x\nroutes:\ntls:\n") == [], "a block with nothing in it is one"


@pytest.mark.parametrize(
    "wrong",
    ["spol: x", "{}", "{spool: x, history: 5}", "{spool: x, listen: [{}]}", "{spool: x, limits: {recipients: 0}}"],
)
def test_the_schema_finds_mistakes(wrong: str) -> None:
    assert as_editors_do(wrong)


def test_the_first_line_of_the_example_names_the_schema() -> None:
    first, _, _ = (ROOT / "etc/mta.yml").read_text(encoding="utf-8").partition("\n")
    assert first == "# yaml-language-server: $schema=mta.schema.json"


def test_examples_are_good_and_there_is_one_for_every_key(tmp_path: Path) -> None:
    shutil.copy(ROOT / "etc/directory.yml", tmp_path)
    shutil.copy(EXAMPLES, tmp_path / "mta.yml")
    try:
        load(tmp_path / "mta.yml")
    except ConfigError as error:
        wrong = {problem.key for problem in error.problems}
        assert all(any(one.startswith(key) for one in LACKING) for key in wrong), str(error)
    whole = mapping_in(EXAMPLES.read_text(encoding="utf-8"), "examples.yml", "").data
    keys = [key.path for chapter in chapters() for key in chapter.keys]
    assert [key for key in keys if key not in LACKING and not is_in(whole, key.split("."))] == []


def is_in(value: Any, path: list[str]) -> bool:
    if not path:
        return True
    name, rest = path[0], path[1:]
    if name == "NAME":
        return any(is_in(one, rest) for one in value.values())
    if name.endswith("[]"):
        return any(is_in(one, rest) for one in value.get(name[:-2], ()))
    return isinstance(value, dict) and name in value and is_in(value[name], rest)


def test_defaults_are_written_as_the_loader_reads_them(tmp_path: Path) -> None:
    """The defaults of the reference, put into a file, give the same configuration as none."""
    plain, full = tmp_path / "plain.yml", tmp_path / "full.yml"
    plain.write_text("spool: x\nhostname: mail.example.org\n")
    properties = schema()["properties"]
    defaults = {
        name: one["default"]
        for name, one in properties.items()
        if "default" in one and name not in LACKING and "anyOf" not in one
    }
    assert "history" in defaults
    assert "listen" in defaults
    full.write_text(json.dumps({"spool": "x", "hostname": "mail.example.org", **defaults}))
    assert load(plain).model_dump() == load(full).model_dump()
