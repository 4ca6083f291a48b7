"""Directory: the YAML file of the local names, checked whole, as the values that policy knows them by.

Its keys are domains; each has the sections of `DomainSection`. A local name stands in one of them. An address without
"@" is one of the same domain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    RootModel,
    StrictBool,
    ValidationError,
)

from mta.config.document import Document, Key
from mta.config.problems import Mistakes, Problem, key_path, problems_of, refuse, second_keys, shown
from mta.config.reading import mapping_in, read_text
from mta.config.units import MIB
from mta.policy.directory import Alias, Domain, Entry, MailingList, Moved, User
from mta.policy.pattern import parse_domain
from mta.smtp.address import AddressError, parse_mailbox

_LARGEST: Final = 8 * MIB
_MOST_MEMBERS: Final = 10_000
_LONGEST_NAME: Final = 200  # octets, so that it fits into a line of a reply together with any address
_SECTIONS: Final = ("mailboxes", "aliases", "lists", "moved")


def _address(value: object) -> str:
    """An address, or the local part of one."""
    if not isinstance(value, str) or not value.strip():
        in_quotes = f'; in quotes it is: "{shown(value)}"' if isinstance(value, int) else ""
        raise ValueError(f"must be an address{in_quotes}")
    text = value.strip()
    return _parsed(text) if "@" in text else _local_part(text)


def _local_part(text: str) -> str:
    """What stands before the @, in its shortest form."""
    if "@" in text and not text.startswith('"'):
        raise ValueError("is written without its @ and domain")
    return _parsed(f"{text}@localhost").removesuffix("@localhost")


def _parsed(text: str) -> str:
    try:
        return str(parse_mailbox(text, utf8=True))
    except AddressError as error:
        raise ValueError(f"is not an address: {error.reason}") from None


def _addresses(value: object) -> tuple[str, ...]:
    """An address, or a list of them."""
    if isinstance(value, str):
        return (_address(value),)
    if not isinstance(value, list):
        raise ValueError("must be an address or a list of addresses")
    if not 1 <= len(value) <= _MOST_MEMBERS:
        raise ValueError(f"must have 1 to {_MOST_MEMBERS} addresses, not {len(value)}")
    found: list[str] = []
    wrong: list[tuple[Key, str]] = []
    for number, one in enumerate(value):
        try:
            found.append(_address(one))
        except ValueError as error:
            wrong.append(((number,), str(error)))
    if wrong:
        raise Mistakes(wrong)
    return tuple(found)


def _full_name(value: object) -> str:
    """A name for people, which stands before <a mailbox> in the replies to VRFY and EXPN."""
    if not isinstance(value, str):
        raise ValueError(f'must be text; in quotes it is: "{shown(value)}"' if value is not None else "must be text")
    name = " ".join(value.split())
    if not name.isprintable() or "<" in name or ">" in name:
        raise ValueError("must be a name, without < and > and control characters")
    if len(name.encode()) > _LONGEST_NAME:
        raise ValueError(f"must be at most {_LONGEST_NAME} octets long")
    return name


def _or_nothing(value: object) -> object:
    """A key with nothing behind it is a mapping with nothing in it."""
    return {} if value is None else value


Address = Annotated[str, PlainValidator(_address)]
Addresses = Annotated[tuple[str, ...], PlainValidator(_addresses)]
FullName = Annotated[str, PlainValidator(_full_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MailboxEntry(_Section):
    """One of `mailboxes`."""

    name: FullName = Field(default="", description="The full name of its user, for VRFY and EXPN.")


class ListEntry(_Section):
    """One of `lists`."""

    members: Addresses = Field(description="Who gets the mail.")
    owner: Address = Field(default="postmaster", description="Who gets the bounces. Default: the domain's postmaster.")
    name: FullName = Field(default="", description="What the list is called.")


class MovedEntry(_Section):
    """One of `moved`."""

    to: Address = Field(description="The new address.")
    forward: StrictBool = Field(default=True, description="Mail is sent on (251), or its sender is told to (551).")


class DomainSection(_Section):
    """The names of one domain."""

    mailboxes: dict[str, Annotated[MailboxEntry, BeforeValidator(_or_nothing)]] | None = Field(
        default=None, description="Where this stands, other names of the domain get 550 5.1.1."
    )
    aliases: Annotated[dict[str, Addresses], BeforeValidator(_or_nothing)] = Field(
        default={}, description="Names for one or several other addresses."
    )
    lists: Annotated[dict[str, ListEntry], BeforeValidator(_or_nothing)] = Field(
        default={}, description="Mailing lists."
    )
    moved: Annotated[dict[str, MovedEntry], BeforeValidator(_or_nothing)] = Field(
        default={}, description="Users who are elsewhere now."
    )

    def entries(self, domain: str) -> Iterator[tuple[Key, Entry]]:
        """The names as policy knows them, each with its place in this section."""

        def full(address: str) -> str:
            return address if "@" in address else f"{address}@{domain}"

        def of(local: str) -> str:
            return f"{_local_part(local)}@{domain}"

        for local, mailbox in (self.mailboxes or {}).items():
            yield ("mailboxes", local), User(of(local), mailbox.name)
        for local, members in self.aliases.items():
            yield ("aliases", local), Alias(of(local), tuple(map(full, members)))
        for local, group in self.lists.items():
            members = tuple(map(full, group.members))
            yield ("lists", local), MailingList(of(local), members, full(group.owner), group.name)
        for local, moved in self.moved.items():
            yield ("moved", local), Moved(of(local), full(moved.to), moved.forward)


class _Domains(RootModel[dict[str, Annotated[DomainSection, BeforeValidator(_or_nothing)]]]):
    """The file as a whole."""


@dataclass(frozen=True)
class DirectoryFile:
    """What a file holds. places: where each entry stands, by its address."""

    domains: tuple[Domain, ...] = ()
    file: str = ""
    document: Document = field(default_factory=Document)
    places: tuple[tuple[Key, Entry], ...] = ()

    def place(self, address: str) -> str:
        """The file and the line where the entry of an address, as it stands there, begins; "" where there is none."""
        key = next((key for key, entry in self.places if entry.address == address), None)
        return f"{self.file}:{self.document.line(key)}" if key is not None else ""

    def problem(self, key: Key, text: str) -> Problem:
        """Something to say about a value, with the file and the line that it stands on (or would)."""
        return Problem(self.file, self.document.line(key), key_path(key), text)


def directory_text(path: Path) -> str:
    """What stands in a file of local names. Raises `ConfigError`."""
    return read_text(path, "directory", _LARGEST)


def read_directory(path: Path) -> DirectoryFile:
    """The directory in a file. Raises `ConfigError` with all that is wrong with it."""
    return directory_in(directory_text(path), str(path))


def directory_in(text: str, file: str) -> DirectoryFile:
    """As `read_directory`; file: its name, for what is wrong."""
    document = mapping_in(text, file, "`domain: {…}` for each domain")
    misplaced = [(name,) for name in _SECTIONS if name in document.mapping]
    wrong = "stands within a domain; write the domain and a colon above it, and indent what belongs to it"
    refuse([Problem(file, document.line(key), key_path(key), wrong) for key in misplaced], file)
    problems = [*second_keys(file, document), *_wrong_names(file, document)]
    try:
        sections = _Domains.model_validate(document.mapping).root
    except ValidationError as error:
        problems += problems_of(error, file, document, DomainSection)
    refuse(problems, file)
    places: list[tuple[Key, Entry]] = []
    domains: list[Domain] = []
    for key, section in sections.items():
        name = parse_domain(key)
        found = list(section.entries(name))
        places += [((key, *place), entry) for place, entry in found]
        domains.append(Domain(name, tuple(entry for _, entry in found), section.mailboxes is not None))
    return DirectoryFile(tuple(domains), file, document, tuple(places))


def _wrong_names(file: str, document: Document) -> Iterator[Problem]:
    """Keys that are no domain or no local part, and names that stand twice, upper and lower case being the same.

    They are looked for in the plain data, so that they are found whatever else is wrong.
    """
    domains: dict[str, Key] = {}
    for key, section in document.mapping.items():
        try:
            yield from _once(file, document, domains, parse_domain(key), (key,))
        except ValueError as error:
            yield Problem(file, document.line((key,)), key_path((key,)), f"{error} (got {shown(key)})")
        if isinstance(section, dict):
            yield from _wrong_local_names(file, document, key, section)


def _wrong_local_names(file: str, document: Document, domain: str, section: dict[str, object]) -> Iterator[Problem]:
    names: dict[str, Key] = {}
    for kind in _SECTIONS:
        entries = section.get(kind)
        for local in entries if isinstance(entries, dict) else ():
            key: Key = (domain, kind, local)
            try:
                name = _local_part(local)
            except ValueError as error:
                yield Problem(file, document.line(key), key_path(key), f"{error} (got {shown(local)})")
            else:
                yield from _once(file, document, names, name.lower(), key)


def _once(file: str, document: Document, names: dict[str, Key], name: str, key: Key) -> Iterator[Problem]:
    """Say so where a name stands already."""
    first = names.setdefault(name, key)
    if first != key:
        text = f"stands twice; {key_path(first)} is on line {document.line(first)} (got {shown(key[-1])})"
        yield Problem(file, document.line(key), key_path(key), text)
