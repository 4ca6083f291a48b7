"""`python -m docs.generate`: write all of it; `python -m docs.generate man FOLDER`: the manual pages alone."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from docs.generate import commands, reference
from docs.generate.schema import schema_text

ROOT = Path(__file__).parents[2]


def kept() -> dict[Path, str]:
    """What is kept in the tree, by its path from the root."""
    return {Path("docs/configuration.md"): reference.markdown(), Path("etc/mta.schema.json"): schema_text()}


def manual() -> Iterator[tuple[str, str]]:
    """The manual pages, by the names of their files. They are of today, or of SOURCE_DATE_EPOCH."""
    at = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    date = f"{time.strftime('%B', at)} {at.tm_mday}, {at.tm_year}"
    yield from commands.manual(date)
    yield "mta.yml.5", reference.manual(date)


def main(words: list[str]) -> None:
    """From the command line."""
    if words and (words[0] != "man" or len(words) != 2):
        sys.exit("usage: python -m docs.generate [man FOLDER]")
    folder = Path(words[1]) if words else ROOT / "build" / "man"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in manual():
        (folder / name).write_text(text, encoding="utf-8")
    if not words:
        for path, text in kept().items():
            (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
