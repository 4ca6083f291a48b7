"""docs/logs.md has every event that the program writes, with every field; collected from the program's text."""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "logs.md"
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]*) \|", re.MULTILINE)
# How the program calls what writes a line, and what a call of `refused` or the like is a line of.
WRITERS = {"event", "log", "_log", "_event", "refused"}
# Events come also from a message's timeline, by way of delivery/story.py; there they are made as Event(at, kind, {…}).
STORY = ROOT / "mta" / "delivery" / "story.py"
NOT_LOGGED = {"attempt"}
ELSEWHERE = {"cli", "spool", "smtp", "console"}  # what they call an event is another thing
# Where a field is not a word at the call: **more of a function, the attributes of XCLIENT, and what `tell` renames.
XCLIENT = {"name", "address", "port", "protocol", "helo", "login"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Attribute, ast.Name)):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id, node


def texts(node: ast.expr) -> list[str]:
    """The words that an expression can be: a text, or one of two."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def keys_of(node: ast.Dict) -> set[str]:
    return {key.value for key in node.keys if isinstance(key, ast.Constant)}


def written_in(path: Path) -> Iterator[tuple[str, set[str]]]:
    """Each event that a file writes, with its fields."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words: dict[str, list[str]] = {}
    keys: dict[str, set[str]] = {}
    for node in ast.walk(tree):  # kind = "login-not-checked" if … else "login-failed"
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            words.setdefault(node.targets[0].id, []).extend(texts(node.value))
            if isinstance(node.value, ast.Dict):
                keys.setdefault(node.targets[0].id, set()).update(keys_of(node.value))
    for name, call in calls(tree):
        if name not in WRITERS:
            continue
        fields = {word.arg for word in call.keywords if word.arg}
        for word in call.keywords:  # **found
            if word.arg is None and isinstance(word.value, ast.Name):
                fields |= keys.get(word.value.id, set())
        if name == "refused":
            if fields <= {"sender", "to"}:
                yield "refused", fields | {"why"}
            continue
        first = call.args[0] if call.args else None
        kinds = words.get(first.id, []) if isinstance(first, ast.Name) else texts(first) if first is not None else []
        for kind in kinds:
            if re.fullmatch(r"[a-z]+(-[a-z]+)*", kind) and (call.keywords or len(call.args) == 2):
                yield kind, fields | (XCLIENT if kind == "xclient" else set())


def told_by_stories() -> Iterator[tuple[str, set[str]]]:
    """The events of timelines that become lines."""
    tree = ast.parse(STORY.read_text(encoding="utf-8"))
    renamed = {"recipients": "to", "id": "notice"}
    for name, call in calls(tree):
        if name == "Event" and len(call.args) == 3:
            kinds, detail = texts(call.args[1]), call.args[2]
            fields = keys_of(detail) if isinstance(detail, ast.Dict) else set()
        elif name == "_grouped":
            kinds = texts(call.args[0])
            fields = {"recipients", "reply", "host", "why"} | {word.arg for word in call.keywords if word.arg}
        else:
            continue
        for kind in kinds:
            if kind not in NOT_LOGGED:
                yield kind, {renamed.get(field, field) for field in fields}


@lru_cache
def written() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {"delivered": {"age"}, "routed": {"recipient"}}
    for path in sorted((ROOT / "mta").rglob("*.py")):
        if ELSEWHERE.isdisjoint(path.parts):
            for kind, fields in written_in(path):
                found.setdefault(kind, set()).update(fields)
    for kind, fields in told_by_stories():
        found.setdefault(kind, set()).update(fields)
    return found


def documented() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for kinds, fields in ROW.findall(PAGE.read_text(encoding="utf-8")):
        for kind in re.findall(r"`([^`]+)`", kinds):
            found.setdefault(kind, set()).update(re.findall(r"`([^`]+)`", fields))
    return found


def test_what_is_collected_is_what_is_known_to_be_written() -> None:
    """So that the collector cannot go blind in silence."""
    found = written()
    assert {"received", "refused", "delivered", "deferred", "login-failed", "login-not-checked", "paused"} <= set(found)
    assert found["started"] == {"hostname", "worker", "workers", "queued", "unknown"}
    assert found["received"] == {"client", "helo", "login", "sender", "size", "recipients"}
    assert found["refused"] == {"client", "helo", "why", "sender", "to", "account", "login"}
    assert found["deferred"] == {"to", "reply", "host", "why", "next"}


def test_every_event_and_field_is_in_the_page() -> None:
    page = documented()
    missing = {kind: fields - page.get(kind, set()) for kind, fields in written().items()}
    assert {kind: fields for kind, fields in missing.items() if fields or kind not in page} == {}


def test_the_page_has_none_that_are_not_written() -> None:
    found = written()
    assert sorted(set(documented()) - set(found) - {"info", "warn", "error", "critical", "time", "id", "event"}) == []
