"""Inquiry: what VRFY and EXPN are answered with, for those who may ask (RFC 5321 3.5 and 7.3).

Both take a mailbox, with or without angle brackets, or a name: a local part or a full name. postmaster: the relay's
own. utf8: the answer need not be in ASCII (RFC 6531 3.7.4.2).
"""

from typing import Final

from mta.policy.directory import Alias, Directory, Entry, MailingList, Moved, User
from mta.smtp import name_replies
from mta.smtp.address import AddressError, parse_mailbox
from mta.smtp.name_replies import Listed
from mta.smtp.replies import CANNOT_EXPAND, CANNOT_VERIFY
from mta.smtp.reply import Reply

MOST_TOLD: Final = 500  # mailboxes of a list; a longer answer is more than a person asks for


def verify(directory: Directory, text: str, postmaster: str, utf8: bool = False) -> Reply:
    """Who a name stands for. An alias is told as it is: what it leads to is for EXPN."""
    name = _without_brackets(text)
    if name.lower() == "postmaster":
        name = postmaster
    if "@" not in name:
        found = directory.named(name)
        if len(found) > 1:
            return name_replies.ambiguous([_listed(one) for one in found], utf8)
        if found:
            return _verified(found[0], utf8)
        return name_replies.NO_SUCH_USER if directory.is_complete else CANNOT_VERIFY
    try:
        address = str(parse_mailbox(name, utf8=True))
    except AddressError as error:
        return name_replies.not_an_address(error.reason)
    entry = directory.find(address, postmaster)
    if entry is None and address.lower() == postmaster.lower():
        entry = User(address)
    if entry is not None:
        return _verified(entry, utf8)
    return name_replies.NO_SUCH_MAILBOX if directory.lacks(address, postmaster) else CANNOT_VERIFY


def expand(directory: Directory, text: str, postmaster: str, utf8: bool = False) -> Reply:
    """Who is on a mailing list, or behind an alias, through those that these lead to."""
    name = _without_brackets(text)
    if "@" not in name:
        found = directory.named(name)
        lists = [entry for entry in found if isinstance(entry, MailingList | Alias)]
        if len(lists) > 1:
            return name_replies.ambiguous([_listed(one) for one in lists], utf8, code=550)
        if lists:
            return _expanded(directory, lists[0], postmaster, utf8)
        if found:
            return name_replies.IS_A_USER
        return name_replies.NO_SUCH_LIST if directory.is_complete else CANNOT_EXPAND
    try:
        address = str(parse_mailbox(name, utf8=True))
    except AddressError as error:
        return name_replies.not_an_address(error.reason)
    entry = directory.find(address, postmaster)
    if isinstance(entry, MailingList | Alias):
        return _expanded(directory, entry, postmaster, utf8)
    if entry is not None:
        return name_replies.IS_A_USER
    return name_replies.NO_SUCH_LIST if directory.lacks(address, postmaster) else CANNOT_EXPAND


def _without_brackets(text: str) -> str:
    """What is asked for: <a mailbox>, "a name in quotes", or anything as it stands."""
    text = text.strip()
    for first, last in ("<>", '""'):
        if len(text) > 2 and text.startswith(first) and text.endswith(last):
            return text[1:-1].strip()
    return text


def _listed(entry: Entry) -> Listed:
    return Listed(entry.address, entry.name if isinstance(entry, User | MailingList) else "")


def _verified(entry: Entry, utf8: bool) -> Reply:
    match entry:
        case MailingList():
            return name_replies.IS_A_LIST
        case Moved():
            return name_replies.will_forward(entry.to) if entry.forward else name_replies.not_local(entry.to)
        case User() | Alias():
            return name_replies.verified(_listed(entry), utf8)


def _expanded(directory: Directory, entry: MailingList | Alias, postmaster: str, utf8: bool) -> Reply:
    found: dict[str, Listed] = {}
    seen: set[str] = set()
    pending = [entry.address]  # the next one last
    while pending:
        address = pending.pop()
        if address.lower() in seen:
            continue
        seen.add(address.lower())
        match directory.find(address, postmaster):
            case (MailingList() | Alias()) as group:
                if len(seen) > MOST_TOLD or len(group.members) > MOST_TOLD:
                    return name_replies.too_many_members(MOST_TOLD)
                pending += reversed(group.members)
            case Moved() as moved:
                pending += [moved.to] if moved.forward else []
            case other:
                found[address.lower()] = _listed(other) if other else Listed(address)
        if len(found) > MOST_TOLD:
            return name_replies.too_many_members(MOST_TOLD)
    return name_replies.members(list(found.values()), utf8) if found else name_replies.LEADS_NOWHERE
