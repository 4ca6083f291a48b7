"""Directory: the local names of our domains: mailboxes, aliases, mailing lists, and users who have moved away.

What becomes of mail for them is `addressing.py`, what is told of them `inquiry.py`. Upper and lower case are the same
in all names, in local parts too, as everywhere where people write addresses by hand.
"""

from collections.abc import Iterable
from typing import NamedTuple

from mta.policy.idn import comparable, in_a_labels
from mta.smtp.address import domain_of


class User(NamedTuple):
    """A mailbox. name: the full name of its user, "" where it is not known."""

    address: str
    name: str = ""


class Alias(NamedTuple):
    """A name for other addresses; who writes to it stays the sender (RFC 5321 3.9.1)."""

    address: str
    members: tuple[str, ...]


class MailingList(NamedTuple):
    """A name whose members get mail from its owner, as far as the envelope says (RFC 5321 3.9.2)."""

    address: str
    members: tuple[str, ...]
    owner: str
    name: str = ""


class Moved(NamedTuple):
    """A user who is elsewhere now. forward: mail is sent on there, else its sender is told to (RFC 5321 3.4)."""

    address: str
    to: str
    forward: bool


Entry = User | Alias | MailingList | Moved


class Domain(NamedTuple):
    """What is known of one domain, in lower case. complete: it has no other names; else the next hop knows them."""

    name: str
    entries: tuple[Entry, ...]
    complete: bool


class Directory:
    """All local names that are known. False, as a condition, where there are none.

    The relay's own postmaster is an argument where it matters, since every domain has the name postmaster without
    having to say so (RFC 5321 4.5.1): mail for it goes to the relay's, who is taken to be there.
    """

    def __init__(self, domains: Iterable[Domain] = ()) -> None:
        self._complete: dict[str, bool] = {}
        self._entries: dict[str, Entry] = {}
        self._named: dict[str, list[Entry]] = {}
        self._by_word: dict[str, dict[str, User]] = {}
        for domain in domains:
            self._complete[domain.name] = domain.complete
            for entry in domain.entries:
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.address.lower()] = entry
        local = entry.address.rpartition("@")[0]
        name = entry.name if isinstance(entry, User | MailingList) else ""
        for known_as in {_folded(local), _folded(name)} - {""}:
            self._named.setdefault(known_as, []).append(entry)
        if isinstance(entry, User):
            for word in _words(f"{local} {name}"):
                self._by_word.setdefault(word, {})[entry.address] = entry

    def __bool__(self) -> bool:
        return bool(self._complete)

    def __contains__(self, domain: str) -> bool:
        """Is anything known of a domain, in lower case?"""
        return in_a_labels(domain) in self._complete

    @property
    def is_complete(self) -> bool:
        """Are all local names known, of all domains?"""
        return bool(self._complete) and all(self._complete.values())

    def find(self, address: str, postmaster: str) -> Entry | None:
        """What stands for an address; None where nothing does, and `lacks` tells whether that means nobody."""
        key = comparable(address)
        entry = self._entries.get(key)
        if entry is None and key.startswith("postmaster@") and domain_of(key) in self and key != postmaster.lower():
            return Alias(address, (postmaster,))
        return entry

    def lacks(self, address: str, postmaster: str) -> bool:
        """Is there nobody of this address, as far as it is for us to know?"""
        key = comparable(address)
        if not self._complete.get(domain_of(key), False):
            return False
        return self.find(key, postmaster) is None and key != postmaster.lower()

    def named(self, text: str) -> tuple[Entry, ...]:
        """Who goes by a name: by local part or full name, or else users by words of these, whatever their case.

        "jean.dupont" and "Jean Dupont" are one user; "dupont" is everybody of that family, unless somebody's mailbox
        is called just so.
        """
        exact = self._named.get(_folded(text))
        if exact:
            return tuple(exact)
        words = _words(text)
        if not words:
            return ()
        rarest, *others = sorted((self._by_word.get(word, {}) for word in words), key=len)
        return tuple(user for address, user in rarest.items() if all(address in also for also in others))


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _words(text: str) -> set[str]:
    """The words of a name: letters and digits between anything else."""
    return set("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())
