"""Opening: the configuration and the queue that a command works on, or the sentence that says why it cannot."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from mta.cli.common import NotDone
from mta.config.load import find, load
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.interfaces import SpoolBroken
from mta.spool.desk import Desk


def configuration(file: str | None) -> Config:
    """The configuration in a file, or in the one that is found. Raises `NotDone` with all that is wrong with it."""
    try:
        return load(find(file, os.environ))
    except ConfigError as error:
        raise NotDone(str(error), prefix="") from None


@contextmanager
def desk_of(config: Config) -> Iterator[Desk]:
    """The queue of a configuration. What cannot be done with the spool ends the command with a sentence."""
    try:
        with _opened(config.spool) as desk:
            yield desk
    except SpoolBroken as error:
        raise NotDone(str(error)) from None


def _opened(folder: Path) -> Desk:
    try:
        return Desk(folder)
    except OSError as error:
        raise SpoolBroken(f"the spool {folder} cannot be used: {error.strerror}") from error
    except apsw.Error as error:
        raise SpoolBroken(f"the spool {folder} cannot be used: {error}; starting the relay tells what to do") from error
