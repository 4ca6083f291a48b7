"""Problems: what is wrong with a configuration, in sentences that name the file, the line, the key and the value."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mta.config.document import Document, Key
from mta.message.printable import printable

MOST: Final = 100  # mistakes that are told, one a line; of the others their number
_MAX_SHOWN: Final = 80
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@/\s]*@")
_URL = re.compile(r"\b(?!smtp|lmtp|postgres)[a-z][a-z0-9+.-]*://[^\s\"]+", re.IGNORECASE)
_SECRET = re.compile(r"(?<=\?).+|(?<=[^/]/)[^/?]{16,}")  # of a webhook's URL: the query, and what looks like a token
_PLAIN_KEY = re.compile(r"[\w-]+")
_QUOTED = re.compile(r"'([^']*)'")


class Problem(NamedTuple):
    """One thing that is wrong, or unwise. line: from 1, 0 for the file as a whole. key: as "listen[0].address"."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return printable(": ".join(part for part in (place, self.key, self.text) if part))


class ConfigError(Exception):
    """A configuration that cannot be used; its text is what is wrong with it, a line each.

    problems: all of it. lines: what is told of it.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = [str(problem) for problem in problems[:MOST]]
        if len(problems) > MOST:
            lines.append(f"and {len(problems) - MOST:,} more")
        super().__init__("\n".join(lines))
        self.problems = list(problems)
        self.lines = lines


class Mistakes(ValueError):
    """Raised by a validator that looks at several values: each mistake with its place, relative to the validator's."""

    def __init__(self, found: Sequence[tuple[Key, str]]) -> None:
        super().__init__("; ".join(text for _, text in found))
        self.found = found


def problems_of(error: ValidationError, file: str, document: Document, model: type[BaseModel]) -> Iterator[Problem]:
    """What pydantic found, as sentences of ours, line by line.

    What stands behind more mistakes than are told costs no search for a word that may have been meant.
    """
    details = sorted(error.errors(include_url=False), key=lambda detail: document.line(detail["loc"]))
    for number, detail in enumerate(details):
        key: Key = detail["loc"]
        match detail["type"]:
            case "default_factory_not_called":
                continue  # made from another value, whose own error is in the list
            case "too_short" if any(
                len(inner["loc"]) > len(key) and inner["loc"][: len(key)] == key for inner in details
            ):
                continue  # its entries are wrong, which the list says of each
            case "extra_forbidden" | "literal_error" if number >= 2 * MOST:
                yield Problem(file, document.line(key), key_path(key), "is not known here")
            case "extra_forbidden":
                text, got = _unknown_key(key, model), key[-1]
                yield Problem(file, document.line(key), key_path(key), f"{text} (got {shown(got)})")
            case "value_error" if isinstance(cause := detail["ctx"]["error"], Mistakes):
                for place, text in cause.found:
                    yield problem_at(file, document, (*key, *place), text)
            case _:
                yield problem_at(file, document, key, _sentence(detail))


def refuse(problems: Iterable[Problem], file: str) -> None:
    """Raises `ConfigError` where there are problems: those with this file by their lines, what is elsewhere last."""
    in_order = sorted(problems, key=lambda problem: (problem.file != file, problem.line))
    if in_order:
        raise ConfigError(in_order)


def second_keys(file: str, document: Document) -> list[Problem]:
    """Keys that stand twice, of which the first counts."""
    return [
        Problem(
            file, line, key_path(key), f"stands here again; it is on line {document.line(key)} (got {shown(key[-1])})"
        )
        for key, line in document.twice
    ]


def key_path(key: Key) -> str:
    """A key as people write it: listen[0].address."""
    path = ""
    for part in key:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            name = part if _PLAIN_KEY.fullmatch(part) else shown(part)
            path += f".{name}" if path else name
    return path


def shown(value: object) -> str:
    """A value as a message shows it: on one line, printable, not too long, without a password."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)
    text = _PASSWORD.sub(r"\1:***@", text)
    text = _URL.sub(lambda url: _SECRET.sub("…", url[0]), text)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def problem_at(file: str, document: Document, key: Key, text: str) -> Problem:
    """What is wrong at a key, with what stands there."""
    try:
        got = shown(document.value(key))
    except LookupError:
        got = "nothing"
    return Problem(file, document.line(key), key_path(key), f"{text} (got {got})")


def _sentence(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    value = detail["input"]
    match detail["type"]:
        case "value_error":
            return str(context["error"])
        case "missing":
            return "is missing"
        case "string_type":
            is_scalar = isinstance(value, int | bool)
            return f'must be text; in quotes it is: "{shown(value)}"' if is_scalar else "must be text"
        case "int_type":
            return "must be a whole number"
        case "bool_type":
            return "must be true or false"
        case "tuple_type":
            return f"must be a list: [{value}]" if isinstance(value, str | int) else "must be a list"
        case "dict_type" | "model_type":
            return "must be a mapping, a `key: value` on each line"
        case "literal_error":
            return _one_of(_QUOTED.findall(context["expected"]), value)
        case "too_short":
            return "must not be empty"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case _:
            return detail["msg"]


def _one_of(words: Sequence[str], value: object) -> str:
    near = get_close_matches(str(value).lower(), words, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"must be {listed(words)}{hint}"


def listed(words: Sequence[str]) -> str:
    """Words as alternatives: "none, may or verify"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _unknown_key(key: Key, model: type[BaseModel]) -> str:
    known = _names(_model_at(model, key[:-1]))
    near = get_close_matches(str(key[-1]), known, n=1)
    if near:
        return f'is not a key here; did you mean "{near[0]}"?'
    elsewhere = [path for path in all_paths(model) if path.rpartition(".")[2] == key[-1]]
    if elsewhere:
        return f'is not a key here; did you mean "{elsewhere[0]}"?'
    return f"is not a key here; there are {', '.join(known)}"


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], key: Key) -> type[BaseModel]:
    """The model that describes the mapping at a key. Indices and names of entries lead from a type to its items."""
    for part in key:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part in fields:
            model = next(_models_in(fields[str(part)].annotation), model)
    return model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a type is made of: Listener in tuple[Listener, ...]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def all_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key there is, without indices: "limits.message_size"."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path
        for inner in _models_in(field.annotation):
            yield from all_paths(inner, f"{path}.")
