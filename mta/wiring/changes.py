"""Changes: what is different between two configurations, by the keys that people know."""

from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import BaseModel

from mta.config.model import Config
from mta.config.problems import Problem

_NEEDS_A_RESTART: Final = ("spool", "workers", "admin")


def changed_keys(old: Config, new: Config) -> list[str]:
    """The keys whose values differ, as "retry.after", in the order of the model; lists and tables by their name."""
    keys = list(_changed(old, new, ""))
    if "directory" not in keys and old.directory_file.domains != new.directory_file.domains:
        keys.append("directory")  # the file of that name has another content
    return keys


def _changed(old: BaseModel, new: BaseModel, prefix: str) -> Iterator[str]:
    for name, field in type(new).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        key = f"{prefix}{field.alias or name}"
        if isinstance(after, BaseModel):
            yield from _changed(before, after, f"{key}.")
        else:
            yield key


def until_restart(old: Config, new: Config) -> tuple[Config, list[Problem]]:
    """The new configuration with what cannot change in a running relay as it is, and what is to be said of that."""
    fixed = [name for name in _NEEDS_A_RESTART if getattr(old, name) != getattr(new, name)]
    said = [
        new.problem((name,), f"changes when the relay is started again; until then it is {_shown(getattr(old, name))}")
        for name in fixed
    ]
    return new.model_copy(update={name: getattr(old, name) for name in fixed}), said


def _shown(value: object) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{name}: {one}" for name, one in value if one is not None) or "off"
    return str(value)


def kept_listeners(old: Sequence[str], new: Sequence[str]) -> list[int | None]:
    """For each of the new listeners, by its address: which of the old ones it is, or None. None of these twice."""
    left: dict[str, list[int]] = {}
    for number, name in enumerate(old):
        left.setdefault(name, []).append(number)
    return [left[name].pop(0) if left.get(name) else None for name in new]
