"""Rewriting: a small file read, changed and put in the place of the old one, which is there whole at any moment."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class Rewriting:
    """The file, while nobody else rewrites it so. One that is not there yet is empty, and is made for its owner alone.

    The new one has the mode and, where we may give it away, the owner of the old one. Errors are `OSError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._folder = -1
        self.text = ""

    def __enter__(self) -> "Rewriting":
        self._folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._folder, fcntl.LOCK_EX)
            if self._path.exists():
                self.text = self._path.read_text(encoding="utf-8")
        except BaseException:
            os.close(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._folder)

    def write(self, text: str) -> None:
        """Return when the new file is on stable storage, under the old one's name."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                self._like_the_old_one(descriptor)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            beside.rename(self._path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
        os.fsync(self._folder)

    def _like_the_old_one(self, descriptor: int) -> None:
        is_new = not self._path.exists()
        # As root: whoever reads the folder's other files reads a new one, too; the relay may run as that user.
        like = (self._path.parent if is_new else self._path).stat()
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        if not is_new:
            os.fchmod(descriptor, like.st_mode & 0o777)
