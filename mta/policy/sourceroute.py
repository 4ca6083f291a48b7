"""Source routes: what becomes of a forward-path such as <@a,@b:user@c>, which names the hosts to go by (RFC 821 3.6).

Long deprecated (RFC 5321 F.2): they are reduced to their mailbox, followed, or refused, as a listener's
`source_routes` says. A path that still has a route is kept, and sent, in the form "@a,@b:user@c".
"""

import re
from typing import NamedTuple

from mta.smtp import replies
from mta.smtp.address import Path
from mta.smtp.reply import Reply

# An address literal may have a colon too, but cannot stand in a route.
_FIRST_HOST = re.compile(r"@([^,:\[]+)[,:]")


class Onward(NamedTuple):
    """Where a forward-path leads from here, as strings without angle brackets.

    judged: the address that it is judged by whether the client may send there: the mailbox, or, where there still is
    a route, the same local part at its first host, which is the next to get the mail.
    """

    forward_path: str
    reverse_path: str
    judged: str


def resolve_route(
    path: Path, mode: str, hostname: str, sender: str, sender_route: tuple[str, ...] = ()
) -> Onward | Reply:
    """What becomes of a forward-path that has a route; a `Reply` where that is refused.

    mode: "strip", "follow" or "refuse". hostname: ours. sender, sender_route: mailbox and route of the reverse-path.

    To follow it is to take ourselves from its front and to put us in front of the reverse-path, but for the null one.
    A route that begins with another host leads there as it is. A mailbox without a domain is ours.
    """
    mailbox = path.mailbox
    if mailbox is None or mode == "refuse":
        return replies.SOURCE_ROUTE
    if mode == "strip":
        return Onward(path.address, sender, path.address)
    passed = 0
    while passed < len(path.route) and path.route[passed].lower() == hostname.lower():
        passed += 1
    left = path.route[passed:]
    if passed and sender:
        sender = _with_route((hostname, *sender_route), sender)
    if not left:
        return Onward(path.address, sender, path.address)
    address = path.address if mailbox.domain else f"{mailbox.local}@{hostname}"
    return Onward(_with_route(left, address), sender, f"{mailbox.local}@{left[0]}")


def next_host(forward_path: str) -> str:
    """The first host of a forward-path's route, in lower case; "" where it has no route."""
    first = _FIRST_HOST.match(forward_path)
    return first[1].lower() if first else ""


def mailbox_of(path: str) -> str:
    """The mailbox at the end of a path, "" for the null one: where a notice goes (RFC 5321 F.2)."""
    return path.partition(":")[2] if path.startswith("@") else path


def _with_route(hosts: tuple[str, ...], address: str) -> str:
    return f"{','.join(f'@{host}' for host in hosts)}:{address}"
