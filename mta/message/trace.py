"""Trace: the Received field that we put before the content of each message that we take in (RFC 5321 4.4)."""

import re
from email.utils import formatdate
from functools import lru_cache

from mta.message.envelope import DROP, Client, format_queue_id

_HELO = re.compile(r"[A-Za-z0-9._-]{1,255}\Z|\[[0-9A-Za-z.:]{1,64}\]\Z")
_FOLD_AT = 78


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return f"{formatdate(second)[:-5]}+0000"  # the library says -0000, which means that the zone is not known


def mail_date(at: float) -> str:
    """A time as header fields give it (RFC 5322 3.3), in UTC. Cached by the second."""
    return _date(int(at))


def address_literal(address: str) -> str:
    """An IP address as a literal of RFC 5321 4.1.3; "" for a Unix socket's, and for one that is not known."""
    if not address or address == "unknown":
        return ""
    address = address.partition("%")[0]  # the zone of a link-local one means something on this machine alone
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


def received_field(hostname: str, client: Client, number: int, forward_path: str, at: float) -> bytes:
    """The field, with its line ends.

    forward_path: "" where there are several, since it would tell each recipient of the others (RFC 5321 7.6). What
    the client called itself is given only where it has the form of a name.
    """
    if client.address == DROP:
        lines = [f"Received: by {hostname} (from {client.helo}, {client.login})", f"\tid {format_queue_id(number)}"]
    else:
        lines = _from_host(hostname, client, number)
    if forward_path:
        lines.append(f"\tfor <{forward_path}>")
    lines[-1] += ";"
    date = _date(int(at))
    if len(lines[-1]) + len(date) < _FOLD_AT:
        lines[-1] += f" {date}\r\n"
    else:
        lines.append(f"\t{date}\r\n")
    return "\r\n".join(lines).encode()


def _from_host(hostname: str, client: Client, number: int) -> list[str]:
    name = client.helo if _HELO.match(client.helo) else "unknown"
    literal = address_literal(client.address)
    origin = f"from {name} ({literal})" if literal else f"from {name}"
    return [f"Received: {origin}", f"\tby {hostname} with {client.protocol} id {format_queue_id(number)}"]
