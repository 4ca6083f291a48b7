"""Load: finds the configuration's file, reads it, and says everything that is wrong with it at once."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from mta.config import rules
from mta.config.document import Document, NotYaml, read_document
from mta.config.model import Config
from mta.config.problems import ConfigError, Problem, key_path, problems_of, shown
from mta.config.units import MIB, format_size

__all__ = ["ConfigError", "find", "load", "machine_name"]

HERE = Path("etc/mta.yml")
SYSTEM = Path("/etc/mta/mta.yml")
_MAX_SIZE = MIB


def find(explicit: str | None, environ: Mapping[str, str], cwd: Path = Path(), system: Path = SYSTEM) -> Path:
    """The file to read: `--config`, else $MTA_CONFIG, else etc/mta.yml here, else /etc/mta/mta.yml.

    One that is named need not exist; `load` says so. Raises `ConfigError` when there is none at all.
    """
    named = explicit or environ.get("MTA_CONFIG")
    if named:
        return cwd / named
    for path in (cwd / HERE, system):
        if _is_there(path):
            return path
    text = (
        f"there is no configuration: neither --config nor $MTA_CONFIG names one, and {HERE} and {system} do not exist"
    )
    raise ConfigError([Problem("", 0, "", text)])


def load(path: Path, own_name: str | None = None) -> Config:
    """The configuration in a file. Raises `ConfigError` with all that is wrong with it.

    own_name: of this machine, for when the file has no `hostname`; None to ask the system.
    """
    file = str(path)
    try:
        document = read_document(_read(path))
    except NotYaml as error:
        raise ConfigError([Problem(file, error.line, "", str(error))]) from None
    if document.data is None:
        raise ConfigError([Problem(file, 0, "", "is empty; it must at least name a spool")])
    if not isinstance(document.data, dict):
        raise ConfigError([Problem(file, document.line(()), "", "must hold a mapping, a `key: value` on each line")])
    context = {"file": file, "document": document, "folder": path.parent.resolve()}
    problems = _second_keys(file, document)
    try:
        config = Config.model_validate({"hostname": own_name or machine_name(), **document.data}, context=context)
    except ValidationError as error:
        problems += problems_of(error, file, document, Config)
    if problems:
        raise ConfigError(sorted(problems, key=lambda problem: problem.line))
    return config


def machine_name() -> str:
    """The machine's own name as it stands in its kernel; "localhost" where that is no host name. Asks no DNS."""
    try:
        return rules.hostname(os.uname().nodename)
    except ValueError:
        return "localhost"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # it cannot be told, so reading it will tell why


def _read(path: Path) -> str:
    """The text of the file, which is small and UTF-8."""
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    if len(octets) > _MAX_SIZE:
        raise ConfigError(
            [Problem(str(path), 0, "", f"is larger than {format_size(_MAX_SIZE)}, as no configuration is")]
        )
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, "", "is not UTF-8 text")]) from None


def _second_keys(file: str, document: Document) -> list[Problem]:
    return [
        Problem(
            file, line, key_path(key), f"stands here again; it is on line {document.line(key)} (got {shown(key[-1])})"
        )
        for key, line in document.twice
    ]
