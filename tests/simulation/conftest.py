"""What the tests of this folder share: a place for spools, and no way out into reality."""

import gc
import os
import random
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated.scenario import configuration

from mta.config.model import Config

MEMORY = Path("/dev/shm")  # a file system in memory, where nothing has to be waited for


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> Iterator[None]:
    """Look for garbage seldom, and never in what was there before: a fifth of the time would go into that."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, *before[1:])
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    made = Path(tempfile.mkdtemp(prefix="mta-simulation-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def config(folder: Path) -> Config:
    """The scenario's configuration."""
    return configuration(folder)


@pytest.fixture(autouse=True)
def no_reality(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """No clock, chance, thread or network but those of the simulation. What other tests have left running in threads of
    its own, as the servers that many of them share, goes on."""
    here = threading.get_ident()

    def refused(real: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*words: Any, **named: Any) -> Any:
            if threading.get_ident() != here:
                return real(*words, **named)
            raise AssertionError("this is not of the simulated world")

        return refuse

    for where, names in (
        (time, ("time", "monotonic", "sleep")),
        (os, ("urandom", "fsync", "fdatasync")),
        (random, ("random", "randrange", "randint", "uniform", "choice", "shuffle")),
        (threading.Thread, ("start",)),
        (socket, ("socket", "getaddrinfo")),
    ):
        for name in names:
            monkeypatch.setattr(where, name, refused(getattr(where, name)))
