"""Version: whether a file has changed since it was read."""

from pathlib import Path

Version = tuple[int, int, int] | None


def version_of(path: Path) -> Version:
    """What changes when somebody writes the file, in place or by a new one of its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
