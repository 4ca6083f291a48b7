"""Rehearsing: whether a relay could be started by a configuration, where another one has its spool and its sockets."""

import os
import socket
from collections.abc import Iterator, Sequence
from errno import EADDRINUSE
from pathlib import Path
from typing import Final

from mta.config.model import Config
from mta.config.units import SocketAddress, parse_socket_address
from mta.interfaces import SpoolBroken
from mta.net.handover import Rehearsal
from mta.net.systemd import Systemd
from mta.spool.custody import examine
from mta.spool.database import require_known
from mta.spool.disk import Disk
from mta.spool.folder import Folder
from mta.wiring.control import spool_of
from mta.wiring.inward import not_given
from mta.wiring.trouble import CannotStart, cannot_listen, listening_name_of_admin

MIB: Final = 1024 * 1024
ROOM: Final = 16 * MIB  # octets of free disk that a start may want: what was under way is put back, a log is copied

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  not bound to, compared with


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
    _look_at_spool(config.spool, [spool for name in rehearsal.names if (spool := spool_of(name))])


def _look_at_spool(spool: Path, before: Sequence[str]) -> None:
    """before: the one that the relay has, which is the only one where its queue is not left behind."""
    disk = Disk()
    if before and str(spool) not in before:
        why = "its queue would be left behind; where that is meant, stop it and start it"
        raise CannotStart(f"spool is {spool} by now, and the relay that runs has {before[0]}: {why}")
    try:
        if disk.exists(spool):
            folder = Folder(spool.resolve(), disk, None)
            examine(folder.path, disk)
            if disk.free_octets(folder.path) < ROOM:
                why = "so a start could not be sure to write; free some (the relay that runs makes room as it delivers)"
                raise CannotStart(f"less than {ROOM // MIB} MiB are free on the disk of the spool {spool}, {why}")
            for worker in folder.workers():
                require_known(folder.queue(worker))
        elif before:
            raise CannotStart(f"the spool {spool} has gone, though the relay that runs has it")
    except SpoolBroken as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        raise CannotStart(f"the spool {spool} cannot be used: {error}") from error


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
            if error.errno != EADDRINUSE or not any(_is_in_the_way(name, address) for name in rehearsal.names):
                raise


def _is_in_the_way(name: str, address: SocketAddress) -> bool:
    """May what is listened on by this name be why an address is taken?"""
    try:
        other = parse_socket_address(name.partition(" ")[0])
    except ValueError:  # it is the control socket
        return False
    return other.port == address.port and (other.host == address.host or bool(_ANY & {other.host, address.host}))
