"""Rehearsing: whether a relay could be started by a configuration, where another one has its spool and its sockets."""

import os
import socket
from collections.abc import Iterator
from errno import EADDRINUSE
from pathlib import Path

from mta.config.model import Config
from mta.config.units import SocketAddress
from mta.interfaces import SpoolBroken
from mta.net.handover import Rehearsal
from mta.net.systemd import Systemd
from mta.spool.custody import examine
from mta.spool.database import require_known
from mta.spool.disk import Disk
from mta.spool.folder import Folder
from mta.wiring.inward import not_given
from mta.wiring.trouble import CannotStart, cannot_listen, listening_name_of_admin


def rehearse(config: Config, rehearsal: Rehearsal) -> None:
    """Look at what making its parts does not show: addresses that nobody listens on yet, and the queue files.

    Raises `CannotStart`.
    """
    for name, address in _addresses(config):
        if name not in rehearsal.names:
            try:
                _try(address, rehearsal)
            except OSError as error:
                raise cannot_listen(name, error) from error
    disk = Disk()
    if disk.exists(config.spool):
        folder = Folder(config.spool.resolve(), disk, None)
        try:
            examine(folder.path, disk)
            for worker in folder.workers():
                require_known(folder.queue(worker))
        except SpoolBroken as error:
            raise CannotStart(str(error)) from error


def _addresses(config: Config) -> Iterator[tuple[str, SocketAddress]]:
    for entry in config.listen:
        yield str(entry.address), entry.address
    if config.admin.listen is not None:
        yield listening_name_of_admin(config.admin.listen), config.admin.listen


def _try(address: SocketAddress, rehearsal: Rehearsal) -> None:
    """Raises `OSError` where it could not be listened on."""
    if address.systemd:
        if address.systemd not in rehearsal.given:
            raise not_given(Systemd(sockets=[(name, -1) for name in rehearsal.given]))
        return
    if address.path:
        folder = Path(address.path).parent
        folder.stat()
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{folder} cannot be written")
        return
    [(family, kind, *_, where), *_] = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(where)
        except OSError as error:
            # What the relay listens on now, and will not any more, may be what is in the way.
            if error.errno != EADDRINUSE or not any(f":{address.port}" in name for name in rehearsal.names):
                raise
