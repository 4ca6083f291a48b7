"""Hosts: the names that /etc/hosts (hosts(5)) gives to addresses."""

from ipaddress import ip_address
from pathlib import Path
from typing import Final

_LARGEST: Final = 1 << 20


class HostsFile:
    """A file of hosts(5), read again when it has changed. A file that is not there knows nobody."""

    def __init__(self, path: Path = Path("/etc/hosts")) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._names: dict[str, tuple[str, ...]] = {}

    def addresses(self, name: str) -> tuple[str, ...]:
        """The addresses of a name in lower case, in the file's order."""
        try:
            status = self._path.stat()
        except OSError:
            return ()
        version = status.st_mtime_ns, status.st_size
        if version != self._version:
            try:
                with self._path.open("rb") as file:
                    self._names = parse(file.read(_LARGEST).decode("ascii", "replace"))
            except OSError:
                return ()
            self._version = version
        return self._names.get(name, ())


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """The addresses by name. Lines that are not of the form of hosts(5) are passed over, as everybody does."""
    names: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        address, *aliases = line.partition("#")[0].split() or [""]
        try:
            address = str(ip_address(address))
        except ValueError:
            continue
        for alias in aliases:
            name = alias.lower().removesuffix(".")
            if address not in (known := names.get(name, ())):
                names[name] = (*known, address)
    return names
