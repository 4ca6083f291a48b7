"""Reference: every key of the configuration with default, meaning and example, as a page and as mta.yml(5)."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from docs.generate.mdoc import escaped, page
from docs.generate.schema import DEFAULT, schema

EXAMPLES: Final = Path(__file__).with_name("examples.yml")

_UNITS: Final = (
    "Durations are written 90s, 5m, 4h or 5d; sizes 512KiB, 50MiB, or as a number of octets; networks 192.0.2.0/24 or "
    '"2001:db8::/32". The paths of files are relative to the folder of the configuration.'
)
_LACKING: Final = "Not available yet: {}. A value that asks for it is refused."


class Key(NamedTuple):
    """One key. path: as listen[].address; default: as written, "" for none; lacking: what is not there yet of it."""

    path: str
    values: str
    default: str
    meaning: str
    lacking: str


class Chapter(NamedTuple):
    """A key of the top level, with all that are below it."""

    name: str
    about: str
    keys: tuple[Key, ...]
    example: str


def chapters() -> list[Chapter]:
    """The whole reference, in the model's order."""
    whole = schema()
    examples = _examples()
    found = []
    for name, one in whole["properties"].items():
        model, path = _model_of(one, whole, name)
        about = one.get("description") or (model or {}).get("description", "")
        keys = [_key(name, one, name in whole["required"])] if model is None else list(_keys(model, path, whole))
        if "x-lacking" in one:
            keys = [key._replace(lacking=one["x-lacking"]) for key in keys]
        found.append(Chapter(name, _without_default(about), tuple(keys), examples.get(name, "")))
    return found


def _keys(model: Mapping[str, Any], path: str, whole: Mapping[str, Any]) -> Iterator[Key]:
    for name, one in model["properties"].items():
        below, place = _model_of(one, whole, f"{path}.{name}")
        if below is None:
            yield _key(f"{path}.{name}", one, name in model.get("required", ()))
        else:
            yield from _keys(below, place, whole)


def _model_of(one: Mapping[str, Any], whole: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any] | None, str]:
    """The section that a key stands for, or that its entries are, and the path of what is in it."""
    for shape, place in ((one, path), (one.get("items", {}), f"{path}[]"), (_entries(one), f"{path}.NAME")):
        for kind in (shape, *shape.get("anyOf", ())):
            if "$ref" in kind:
                return whole["$defs"][kind["$ref"].rpartition("/")[2]], place
    return None, path


def _entries(one: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = one.get("additionalProperties")
    return entries if isinstance(entries, dict) else {}


def _key(path: str, one: Mapping[str, Any], required: bool) -> Key:
    said = one.get("description", "")
    default = "required" if required else said.rpartition(DEFAULT)[2].rstrip(".") if DEFAULT in said else ""
    if not default and "default" in one:
        default = _flow(one["default"])
    return Key(path, _values(one), default, _without_default(said), one.get("x-lacking", ""))


def _without_default(said: str) -> str:
    return said.partition(f" {DEFAULT}")[0]


def _values(one: Mapping[str, Any]) -> str:
    """What may stand there, in words."""
    kinds = [one] if "title" in one else [kind for kind in one.get("anyOf", [one]) if kind.get("type") != "null"]
    return " or ".join(map(_kind, kinds))


def _kind(one: Mapping[str, Any]) -> str:
    match one:
        case {"title": title}:
            return str(title)
        case {"enum": words}:
            return ", ".join(map(str, words))
        case {"type": "boolean"}:
            return "true, false"
        case {"type": "integer", "minimum": least}:
            return f"a number from {least}"
        case {"items": entry}:
            return f"a list, each entry {_kind(entry)}"
        case _:
            return "text"


def _flow(value: Any) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str):
        return value if re.fullmatch(r"[\w./@-]([\w./@:-]*[\w./@-])?", value) else json.dumps(value)
    return json.dumps(value)


def _examples() -> dict[str, str]:
    """The text of each key of the top level in the file of examples."""
    text = re.sub(r"(?m)^#.*\n", "", EXAMPLES.read_text(encoding="utf-8"))
    blocks = re.split(r"(?m)^(?=\w)", text)
    return {block.partition(":")[0]: block.strip() for block in blocks if block.strip()}


def markdown() -> str:
    """docs/configuration.md."""
    lines = [
        "# The configuration, key by key",
        "",
        "<!-- Made from the program by `make docs`. What is changed here by hand is overwritten. -->",
        "",
        "The same is in the manual page mta.yml(5), and [etc/mta.yml](../etc/mta.yml) has all of it as one commented",
        "file; [setting-up.md](setting-up.md) has configurations to begin with. `mta check` says what is wrong with",
        "yours. An editor that knows JSON schemas helps where the first line is",
        "`# yaml-language-server: $schema=mta.schema.json` and [that file](../etc/mta.schema.json) lies beside it.",
        "",
        _UNITS,
        "",
    ]
    for chapter in chapters():
        lines += [f"## `{chapter.name}`", ""]
        if [chapter.about] != [key.meaning for key in chapter.keys]:
            lines += [chapter.about, ""]
        lines += ["| Key | Values | Default | |", "|---|---|---|---|"]
        for key in chapter.keys:
            meaning = f"{key.meaning} *Not available yet: {key.lacking}.*" if key.lacking else key.meaning
            default = key.default if key.default == "required" else f"`{key.default}`" if key.default else ""
            lines.append(f"| `{key.path}` | {_cell(key.values)} | {_cell(default)} | {_cell(meaning)} |")
        lines += ["", "```yaml", chapter.example, "```", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*@", "\\*@").replace('"*"', '"\\*"')


def manual(date: str) -> str:
    """mta.yml(5). date: as mdoc writes it."""
    lines = [
        ".Sh NAME",
        ".Nm mta.yml",
        ".Nd configuration of the mail transfer agent mta",
        ".Sh DESCRIPTION",
        "The configuration is what",
        ".Fl Fl config",
        "names, else",
        ".Ev MTA_CONFIG ,",
        "else",
        ".Pa etc/mta.yml",
        "in the current folder, else",
        ".Pa /etc/mta/mta.yml .",
        "It is written in YAML.",
        "Every key but",
        ".Cm spool",
        "has a default.",
        ".Xr mta-check 1",
        "says what is wrong with a configuration, and what is dangerous.",
        ".Pp",
        *escaped(_UNITS),
    ]
    for chapter in chapters():
        lines += [f".Ss {chapter.name}", *escaped(chapter.about), ".Bl -tag -width Ds"]
        for key in chapter.keys:
            lines += [f".It Cm {key.path}", *escaped(key.meaning)]
            facts = [f"Values: {key.values}.", f"Default: {key.default}." if key.default else "No default."]
            if key.default == "required":
                facts[1] = "Required."
            lines += escaped(" ".join(facts + [_LACKING.format(key.lacking)] * bool(key.lacking)))
        lines += [".El", ".Pp", "Example:", ".Bd -literal -offset indent", *escaped(chapter.example, wrap=False), ".Ed"]
    lines += [
        ".Sh FILES",
        ".Bl -tag -width Ds",
        ".It Pa /etc/mta/mta.yml",
        "The configuration of a machine's own relay.",
        ".El",
        ".Sh SEE ALSO",
        ".Xr mta 1 ,",
        ".Xr mta-check 1",
    ]
    return page("MTA.YML", 5, date, lines)
