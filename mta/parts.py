"""Parts: what the relay is built of that an operator's questions are answered with too, made of the configuration."""

from collections.abc import Callable, Iterable
from random import Random

from mta.config.model import Config, Listener
from mta.inbound.manners import Manners
from mta.interfaces import IResolver
from mta.net.local import is_local
from mta.transports.search import Finder

_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  not bound to, compared with


def manners(config: Config, entry: Listener, has_certificate: bool) -> Manners:
    """How an entry of `listen` treats its clients."""
    return Manners(
        tls=entry.tls if has_certificate else "none",
        auth=entry.auth,
        plaintext_auth=entry.plaintext_auth,
        auth_equals=entry.auth_equals,
        bare_lf=entry.bare_lf,
        source_routes=entry.source_routes,
        vrfy=entry.vrfy,
        etrn=entry.etrn,
        proxy_protocol=entry.proxy_protocol,
        xclient=entry.xclient,
        message_size=config.limits.message_size,
        recipients=config.limits.recipients,
    )


def finder(
    config: Config, resolver: IResolver, chance: Random, given: Callable[[int], Iterable[str]] = lambda port: ()
) -> Finder:
    """Who finds the hosts of a next hop. given: the addresses that systemd listens on for us, at a port."""

    def is_ourselves(address: str, port: int) -> bool:
        """Do we listen there?"""
        ours = {entry.address.host for entry in config.listen if entry.address.port == port}.union(given(port))
        return address in ours or (bool(ours & _ANY) and is_local(address))

    return Finder(
        resolver,
        own_names=frozenset({config.hostname}),
        chance=chance,
        is_ourselves=is_ourselves,
        refuse_private=config.dns.private_exchangers == "refuse",
    )
