"""Again: the configuration of a relay that runs, from its files as they are now.

Rights may have been given away since the relay was started, and some of the files be out of reach. Where such a file is
named as it was, what was read of it stays; anything else that is wrong is wrong, as it is at the start.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mta.config.load import load_again, machine_name
from mta.config.model import Config
from mta.config.problems import ConfigError, Problem
from mta.config.reading import read_password, read_text
from mta.config.sources import Sources


class Again(NamedTuple):
    """kept: what is out of reach, and stays as it was."""

    config: Config
    kept: list[Problem]


def read_again(before: Config) -> Again:
    """The configuration in the file that one was made from. Raises `ConfigError` with all that is wrong."""
    path = Path(before.sources.folder, Path(before.sources.file).name)
    text = read_text(path, "configuration")
    sources = Sources(before.sources.file, before.sources.folder, machine_name(), text)
    kept = []
    directory = before.directory_path
    if directory is not None and _is_out_of_reach(directory):
        config = load_again(replace(sources, directory=before.sources.directory))
        if config.directory_path == directory:
            kept.append(config.problem(("directory",), f"{directory} is out of reach; the names that are known stay"))
        else:
            config = load_again(sources)
    else:
        config = load_again(sources)
    wrong = []
    for key, path, why in _unreadable_passwords(config):
        known = {entry.password_file for entry in before.logins.values()}
        if path in known and _is_out_of_reach(path):
            kept.append(config.problem(key, f"{path} is out of reach; the password that is known stays"))
        else:
            wrong.append(config.problem(key, f"{path} {why}"))
    if wrong:
        raise ConfigError(wrong)
    return Again(config, kept)


def _unreadable_passwords(config: Config) -> Iterator[tuple[tuple[str, ...], Path, str]]:
    for name, entry in config.logins.items():
        if entry.password_file is not None:
            try:
                read_password(entry.password_file)
            except ValueError as error:
                yield ("logins", name, "password_file"), entry.password_file, str(error)


def _is_out_of_reach(path: Path) -> bool:
    """May we not read it?"""
    try:
        with path.open("rb"):
            return False
    except PermissionError:
        return True
    except OSError:
        return False
