"""Directory dangers: what the directory allows, and its operator may not want."""

from collections.abc import Iterator
from typing import Final

from mta.config.document import Key
from mta.config.model import Config
from mta.config.problems import Problem
from mta.message.envelope import Recipient
from mta.policy.addressing import Addressing
from mta.policy.directory import Alias, Entry, MailingList, Moved
from mta.smtp.name_replies import EXPANSION_TOO_LARGE, LEADS_NOWHERE

# Expanding every name of a large directory would take longer than anybody waits for a warning.
_MOST_EXPANDED: Final = 10_000


def directory_dangers(config: Config) -> Iterator[Problem]:
    """What is unwise, in the order of the file."""
    file = config.directory_file
    access, directory = config.access(), config.directory()
    for domain in file.document.mapping:
        if not access.judge(False, f"postmaster@{domain.removesuffix('.')}").allowed:
            yield file.problem(
                (domain,),
                f"{domain} is not in relay.domains, so mail for its names is taken from the clients of relay.networks "
                "alone; add it there",
            )
    addressing = Addressing(directory, config.routing(), config.postmaster)
    for place, entry in file.places[:_MOST_EXPANDED]:
        for key, address in _leads_to(place, entry):
            if directory.lacks(address, config.postmaster):
                yield file.problem(
                    key, f"{address} is not a name of its domain, so mail for it bounces; correct it, or add a mailbox"
                )
            elif isinstance(gone := directory.find(address, config.postmaster), Moved) and not gone.forward:
                yield file.problem(key, f"{address} has moved, and its mail is not forwarded; name {gone.to} instead")
        reply = addressing.resolve("sender@invalid", Recipient(entry.address)).reply
        if reply == LEADS_NOWHERE:
            yield file.problem(place, f"{entry.address} leads only to itself, so nobody gets its mail; name somebody")
        elif reply == EXPANSION_TOO_LARGE:
            yield file.problem(place, f"{entry.address} leads to more names than can be served; divide it")


def _leads_to(place: Key, entry: Entry) -> Iterator[tuple[Key, str]]:
    """The addresses that mail for a name, or its bounces, are sent to, with the places of those."""
    match entry:
        case Alias(members=members):
            yield from (((*place, number), member) for number, member in enumerate(members))
        case MailingList():
            yield from (((*place, "members", number), member) for number, member in enumerate(entry.members))
            yield (*place, "owner"), entry.owner
        case Moved(to=to):
            yield (*place, "to"), to
        case _:
            return
