"""What no line of the program does: have data become code, or give words to a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [file for folder in ("mta", "twisted", "bench") for file in sorted((ROOT / folder).rglob("*.py"))]
# What reads objects, and runs what it is told to for them.
READERS = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "code", "codeop"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    ("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput"),
    ("asyncio", "create_subprocess_shell"), ("yaml", "load"), ("yaml", "load_all"), ("yaml", "full_load"),
    ("yaml", "unsafe_load"),
}  # fmt: skip
MODULES = {module for module, _ in METHODS}


def offences(source: str) -> Iterator[str]:
    """What of it a source does, each with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found = [one.name for one in names if one.name.partition(".")[0] in READERS]
            case ast.ImportFrom(module=str(module), names=names) if module in MODULES:
                found = [f"{module}.{one.name}" for one in names if (module, one.name) in METHODS]
            case ast.ImportFrom(module=str(module)):
                found = [module] if module.partition(".")[0] in READERS else []
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                found = [name]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in METHODS:
                found = [f"{module}.{name}"]
            case ast.keyword(arg="shell", value=value) if not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                found = ["shell="]
            case _:
                continue
        yield from (f"line {node.lineno}: {one}" for one in found)


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_data_becomes_code_and_nothing_is_given_to_a_shell(file: Path) -> None:
    assert list(offences(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import pickle", "pickle"),
        ("import os, marshal as m", "marshal"),
        ("from pickle import loads", "pickle"),
        ("def f():\n    import shelve", "shelve"),
        ("eval(x)", "eval"),
        ("exec('x')", "exec"),
        ("os.system('ls')", "os.system"),
        ("run = os.popen", "os.popen"),
        ("from os import system", "os.system"),
        ("yaml.load(x, Loader=yaml.Loader)", "yaml.load"),
        ("subprocess.run('ls', shell=True)", "shell="),
        ("subprocess.run('ls', shell=maybe)", "shell="),
    ],
)
def test_it_would_be_found(source: str, found: str) -> None:
    assert [one.partition(": ")[2] for one in offences(source)] == [found]


@pytest.mark.parametrize("source", ["re.compile(x)", "subprocess.run(['ls'], shell=False)", "yaml.parse(x)"])
def test_what_is_harmless_is_left_alone(source: str) -> None:
    assert list(offences(source)) == []
