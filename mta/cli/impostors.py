"""Impostors: who listens where the relay should. Ports from 1024 up are anybody's while the relay is down, and whoever
takes its port would be given everybody's mail.

Linux tells whose a listening socket is (proc(5), /proc/net/tcp), the file system whose a Unix socket is: it must be
root's, our own, or that of the user whose the spool is.
"""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from mta.cli.submitting import Place

TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING: Final = "0A"


def is_impostor(place: Place, spools: Iterable[Path], tables: Iterable[Path] = TABLES) -> bool:
    """Does somebody else listen at a place? A Unix socket is a file of its listener's, in a folder of whoever's."""
    listeners = _owners([Path(place.path)]) if place.path else _listeners(place, tables)
    trusted = {0, os.geteuid(), *_owners(spools)}
    return not trusted.issuperset(listeners)


def _owners(files: Iterable[Path]) -> Iterator[int]:
    for file in files:
        try:
            yield file.stat().st_uid
        except OSError:
            continue


def _listeners(place: Place, tables: Iterable[Path]) -> Iterator[int]:
    """The users who listen there; nobody, where that cannot be known."""
    for table in tables:
        try:
            lines = table.read_text("utf-8").splitlines()[1:]
        except (OSError, ValueError):
            continue
        for line in lines:
            words = line.split()
            address, _, port = words[1].partition(":")
            if words[3] == _LISTENING and int(port, 16) == place.port and _leads_to(address, place.host):
                yield int(words[7])


def _leads_to(address: str, host: str) -> bool:
    """Does a socket at an address, as the table has it, take what goes to a host?

    It has words of four octets, each in the order of the machine.
    """
    octets = b"".join(int(address[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(address), 8))
    if not any(octets):
        return True
    family = socket.AF_INET if len(octets) == 4 else socket.AF_INET6
    found = ip_address(socket.inet_ntop(family, octets))
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found) == ip_address(host)
