"""Corpus: inputs that are worth keeping, a file for each target, TARGET.txt, in which each is an expression.

    # What is special about it.
    b"PROXY TCP4 " + b"1" * 200

Octets, `+` and `*` are all that may stand there. An entry goes over several lines where those behind the first are
indented. `tests/fuzz/fuzz` writes what it finds in the same form, to be put here with its reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def entries(target: str) -> Iterator[bytes]:
    """The inputs for a target, in order."""
    path = FOLDER / f"{target}.txt"
    if path.exists():
        for text in _expressions(path.read_text("ascii")):
            yield value(text)


def value(expression: str) -> bytes:
    """The octets that an expression stands for. Raises `ValueError` for any other."""
    return _value(ast.parse(expression.replace("\n", " "), mode="eval").body)


def written(octets: bytes) -> str:
    """Octets as an expression, on lines that can be read."""
    width = 60
    pieces = [repr(octets[at : at + width]) for at in range(0, len(octets), width)] or ["b''"]
    return "\n    + ".join(pieces)


def _expressions(text: str) -> Iterator[str]:
    """The entries of a file, without comments. A line that is indented goes on with the one before it."""
    entry = ""
    for line in text.splitlines():
        if line.startswith((" ", "\t")):
            entry += line
            continue
        if entry:
            yield entry
        entry = "" if line.startswith("#") else line
    if entry:
        yield entry


def _value(node: ast.expr) -> bytes:
    value = _constant(node)
    if not isinstance(value, bytes):
        raise ValueError(f"these are no octets: {ast.unparse(node)}")
    return value


def _constant(node: ast.expr) -> bytes | int:
    match node:
        case ast.Constant(value=bytes() | int() as value):
            return value
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left) + _value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int() as times)):
            return _value(left) * times
    raise ValueError("an entry is made of octets, + and * alone")
