"""Progress: a bar for work that takes long enough to be seen, on standard error, where that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SOON: Final = 0.5  # seconds; what is done by then needs no bar


@contextmanager
def bar(doing: str) -> Iterator[Callable[[int, int], None] | None]:
    """What is to be told how much is done, and of how much; None where nobody looks. doing: what it is called."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    begun = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=None, visible=False)

        def tell(done: int, whole: int) -> None:
            if time.monotonic() - begun > SOON:
                shown.update(task, completed=done, total=whole, visible=True)

        yield tell
