"""Inquiries: what a client learns of local names (VRFY, EXPN), and the queue that it may start (ETRN, RFC 1985)."""

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mta.inbound.house import House
from mta.inbound.manners import Manners
from mta.inbound.visitor import Visitor
from mta.interfaces import Busy
from mta.policy import inquiry
from mta.policy.pattern import Kind
from mta.policy.routing import Hop, Via
from mta.smtp import replies
from mta.smtp.command import Etrn, Expn, Vrfy
from mta.smtp.reply import Reply

_log = Logger()


def verify(house: House, manners: Manners, visitor: Visitor, command: Vrfy) -> Reply:
    """RFC 5321 3.5: who a name stands for; 252 for who is not to learn it (7.3)."""
    if not _may_ask(manners, visitor):
        return replies.CANNOT_VERIFY
    return inquiry.verify(house.directory, command.argument, house.postmaster, command.utf8)


def expand(house: House, manners: Manners, visitor: Visitor, command: Expn) -> Reply:
    """RFC 5321 3.5: the members of a mailing list; 252 for who is not to learn them."""
    if not _may_ask(manners, visitor):
        return replies.CANNOT_EXPAND
    return inquiry.expand(house.directory, command.argument, house.postmaster, command.utf8)


def _may_ask(manners: Manners, visitor: Visitor) -> bool:
    return manners.vrfy == "all" or (manners.vrfy == "relaying" and visitor.may_relay)


def start_queue(house: House, visitor: Visitor, command: Etrn) -> Reply | Deferred[Reply]:
    """RFC 1985 5: try at once what waits for a domain, for it and its subdomains (@), or for a route (#)."""
    node = command.node
    if not visitor.may_start_queues:
        return replies.etrn_denied(node)
    queues = _queues(house, node)
    if not queues:
        return replies.etrn_unknown(node)

    async def start() -> Reply:
        found = 0
        for domain, destination in queues:
            found += await house.keeping.dispatcher.start_queue(domain, destination)
        house.log.event("etrn", client=visitor.address, node=node, messages=found)
        return replies.etrn_started(node, found) if found else replies.etrn_empty(node)

    def failed(failure: Failure) -> Reply:
        if failure.check(Busy):
            return replies.etrn_failed(node)
        _log.failure("the queue for {node} could not be started", failure, node=node)
        return replies.etrn_failed(node)

    return Deferred.fromCoroutine(start()).addErrback(failed)


def _queues(house: House, node: str) -> list[tuple[str, str]]:
    """What a node stands for, each a domain (".example.org": its subdomains) or a destination, the other one ""."""
    if not node.startswith("#"):
        domain = node.removeprefix("@").lower()
        return [(domain, "")] if domain == node.lower() else [(domain, ""), (f".{domain}", "")]
    for route in house.routing.routes:
        if route.name != node[1:] or not isinstance(route.onward, Hop):
            continue
        if route.onward.via is not Via.MX:
            return [("", route.onward.destination)]
        if route.to.kind in (Kind.DOMAIN, Kind.BELOW):
            return [(route.to.name, "")]
    return []
