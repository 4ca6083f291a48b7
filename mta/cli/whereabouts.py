"""Whereabouts: where the relay of this machine listens, and where mail can be left for it, as any user may find out.

The configuration tells, where it can be read: it holds no secret, and may be read by everybody. Where it cannot be, or
makes no sense at present, the relay is looked for in the well-known places.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mta.cli.submitting import Place
from mta.config.load import HERE, SYSTEM, load_again, machine_name
from mta.config.model import Config, Listener
from mta.config.problems import ConfigError
from mta.config.reading import read_text
from mta.config.sources import Sources
from mta.policy.access import in_networks
from mta.smtp.opening import Security
from mta.spool.drop import NAME as DROP

WELL_KNOWN_PLACES: Final = (
    Place("127.0.0.1", 25, security=Security(wanted=True)),
    Place("127.0.0.1", 2525, security=Security(wanted=True)),
)
WELL_KNOWN_SPOOLS: Final = (Path("/var/lib/mta/spool"), Path("/var/spool/mta"))
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  not bound to, looked up


class NoConfiguration(Exception):
    """A configuration was named that cannot be used; the text says why. Exit status 78 (EX_CONFIG)."""


@dataclass(frozen=True)
class Whereabouts:
    """places: where the relay may listen, in the order in which to try them. spools: likewise its folders.

    file: the configuration that says so; None for the well-known places.
    """

    hostname: str
    places: tuple[Place, ...] = WELL_KNOWN_PLACES
    spools: tuple[Path, ...] = WELL_KNOWN_SPOOLS
    file: Path | None = None

    @property
    def drops(self) -> tuple[Path, ...]:
        """The drop folders that there may be."""
        return tuple(spool / DROP for spool in self.spools)


def find_relay(named: str | None, environ: Mapping[str, str], cwd: Path = Path(), system: Path = SYSTEM) -> Whereabouts:
    """Where the relay is. named: the configuration, where somebody says which. Raises `NoConfiguration`."""
    chosen = named or environ.get("MTA_CONFIG")
    if chosen:
        try:
            return _of(cwd / chosen)
        except ConfigError as error:
            raise NoConfiguration(str(error)) from None
    here = cwd / HERE
    for file in (here, system):
        if file is here and not _is_trusted(here):
            continue
        try:
            if file.exists():
                return _of(file)
        except (ConfigError, OSError):
            break
    return Whereabouts(machine_name())


def _is_trusted(file: Path) -> bool:
    """Mail is sent from everywhere, and where others may write they could have it sent to themselves."""
    try:
        found = [
            one.lstat() for one in (file, file.parent)
        ]  # a link would have another's words be read as if from here
    except OSError:
        return False
    return all(one.st_uid in (0, os.geteuid()) and not one.st_mode & stat.S_IWOTH for one in found)


def _of(file: Path) -> Whereabouts:
    """What a configuration says. None of the files that it names is read. Raises `ConfigError`."""
    text = read_text(file, "configuration")
    config = load_again(Sources(str(file), str(file.parent.resolve()), machine_name(), text, directory=""))
    return Whereabouts(config.hostname, tuple(_places(config)), (config.spool,), file)


def _places(config: Config) -> Iterator[Place]:
    """Listeners that take mail from a client on this machine, who has no account and may send anywhere."""
    if not config.access().may_relay(""):
        return
    has_tls = config.tls.certificate is not None
    for listener in config.listen:
        host = _ANY.get(listener.address.host, listener.address.host)
        if _is_for_us(listener, host):
            required, implicit = has_tls and listener.tls == "required", has_tls and listener.tls == "implicit"
            security = Security(implicit=implicit, wanted=required, required=required)
            yield Place(host, listener.address.port, listener.address.path, security)


def _is_for_us(listener: Listener, host: str) -> bool:
    address = listener.address
    is_near = bool(address.path) or (address.port > 0 and (host == "::1" or host.startswith("127.")))
    return is_near and listener.auth != "required" and not in_networks(host, listener.proxy_protocol)
