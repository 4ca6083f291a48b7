"""Trouble: why a relay cannot start, or cannot go by a configuration, in a sentence."""

from twisted.internet.error import CannotListenError

from mta.config.units import SocketAddress


class CannotStart(Exception):
    """The relay cannot run here, or not by this configuration; the text says why, and what to do."""


class QueueDamaged(CannotStart):
    """It would find an empty queue if it were started once more, so it is for somebody who knows that to do so."""


def cannot_listen(name: str, error: CannotListenError | OSError) -> CannotStart:
    """What to say where an address cannot be listened on."""
    return CannotStart(f"cannot listen on {name}: {_reason(error)}")


def listening_name_of_admin(address: SocketAddress) -> str:
    """The address of the HTTP side, by a name that no listener of mail has."""
    return f"{address} (admin.listen)"


def _reason(error: CannotListenError | OSError) -> str:
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return getattr(cause, "strerror", None) or str(cause)
