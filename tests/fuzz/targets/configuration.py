"""Configuration: the files that operators write. Whatever is in one, it is read or refused with lines that say why.

They are read when the relay starts and when it is told to, so a mistake may take its time, and a file as large as these
never are is no matter; what it costs must still be in proportion.
"""

import tempfile
from functools import lru_cache
from pathlib import Path

from mta.config.accounts import parse_accounts
from mta.config.accounts_text import NotEditable, with_account, without_account
from mta.config.directory import read_directory
from mta.config.document import NotYaml, read_document
from mta.config.load import load
from mta.config.problems import ConfigError
from mta.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_network,
    parse_size,
    parse_socket_address,
)
from mta.policy.account import Account, account_key
from mta.policy.directory import Directory
from mta.policy.pattern import Pattern
from mta.policy.via import parse_via
from targets.measures import Target, stretch

_AT_ONCE, _PER_OCTET = 0.2, 100e-6


def document(octets: bytes) -> None:
    """Any text is a document or none, and everything in one is on a line of it."""
    text = octets.decode(errors="replace")
    with stretch(_AT_ONCE, len(octets), _PER_OCTET):
        try:
            found = read_document(text)
        except NotYaml as error:
            assert error.line >= 1
            return
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029") + 1
    for line in found.lines.values():
        assert 1 <= line <= lines + 1
    for key in found.lines:
        if -1 not in key:
            found.value(key)


def configuration(octets: bytes) -> None:
    """A configuration is one, or all that is wrong with it is said, a line for each."""
    _read(octets, "mta.yml", lambda path: load(path, "mail.example.org"))


def directory(octets: bytes) -> None:
    """So is a directory; and each of its names can be asked for."""
    found = _read(octets, "directory.yml", read_directory)
    if found is not None:
        names = Directory(found.domains)
        for _, entry in found.places:
            assert names.find(entry.address, "postmaster@mail.example.org") is not None, entry


def accounts(octets: bytes) -> None:
    """So is a file of accounts, in which one more can be written, and taken out again."""
    text = octets.decode(errors="replace")
    with stretch(_AT_ONCE, len(octets), _PER_OCTET):
        try:
            before = parse_accounts(text, "accounts.yml")
        except ConfigError as error:
            _is_told(error)
            return
    new = Account("zoe@example.org", cram_md5="pencil\N{SNOWMAN}")
    try:
        with_one = with_account(text, new)
        without = without_account(with_one, new.name)
    except NotEditable:
        return
    key = account_key(new.name)
    assert parse_accounts(with_one, "")[key] == new
    assert parse_accounts(without, "") == {name: one for name, one in before.items() if name != key}


def units(octets: bytes) -> None:
    """Durations, sizes, networks, addresses, patterns and ways onward."""
    text = octets.decode(errors="replace")
    for parse in (parse_duration, parse_size, parse_network, parse_socket_address, parse_via, Pattern.parse):
        with stretch():
            try:
                found = parse(text)
            except ValueError:
                continue
        if parse is parse_duration:
            assert parse_duration(format_duration(found)) == found
        elif parse is parse_size:
            assert parse_size(format_size(found)) == found
        elif parse in (parse_network, Pattern.parse):
            assert parse(str(found) if parse is parse_network else found.name) == found


def _read(octets: bytes, name: str, read):  # type: ignore[no-untyped-def]
    path = Path(_folder().name) / name
    path.write_bytes(octets)
    with stretch(_AT_ONCE, len(octets), _PER_OCTET):
        try:
            return read(path)
        except ConfigError as error:
            _is_told(error)
            return None


def _is_told(error: ConfigError) -> None:
    assert error.problems
    for problem in error.problems:
        assert str(problem).isprintable(), problem
        assert problem.text


@lru_cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """One for all inputs, which goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="mta-fuzz-")


_YAML = (
    b": ", b"\n", b"\n  ", b"- ", b"{", b"}", b"[", b"]", b", ", b'"', b"'", b"#", b"&a ", b"*a", b"!!str ", b"|\n",
    b">\n",
    b"---\n", b"...\n", b"%YAML 1.2\n", b"?", b"~", b"null", b"true", b"0", b"-1", b"99999999999999999999",
    b"\\u0000", b"\t",
    b"\0", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\\ud800", b"[" * 30, b"<<: ",
    b"example.org",
    b"\xc3\xa9", b"'*'", b"a@b.example",
)  # fmt: skip
_KEYS = (
    b"hostname", b"postmaster", b"spool", b"listen", b"address", b"0.0.0.0:25", b"tls", b"auth", b"relay", b"networks",
    b"domains", b"routes", b"to", b"from", b"via", b"login", b"mx", b"smtp://a:25", b"lmtp+unix:/a", b"discard",
    b"550 no",
    b"logins", b"retry", b"after", b"5m", b"limits", b"message_size", b"50MiB", b"admin", b"dns", b"nameservers",
    b"workers",
    b"accounts", b"directory", b"log", b"user", b"password_file", b"certificate", b"::/0", b"unix:", b"xclient",
)  # fmt: skip
_NAMES = (
    b"mailboxes", b"aliases", b"lists", b"moved", b"members", b"owner", b"name", b"to", b"forward", b"postmaster",
    b"<a>", b'"a b"', b"a.b", b"a@b",
)  # fmt: skip
_FORMS = (
    b"argon2", b"scram-sha-256", b"scram-sha-1", b"cram-md5", b"senders",
    b"$argon2id$v=19$m=8,t=1,p=1$YWFhYWFhYWE$YWFh",
    b"SCRAM-SHA-256$4096:MTIzNDU2Nzg5MDEy$", b":", b"alice@example.org",
)  # fmt: skip
_UNITS = (
    b"90s", b"5m", b"1d", b"50MiB", b"0", b"9" * 18, b"192.0.2.0/24", b"::ffff:192.0.2.0/120", b"2001:db8::/32",
    b"/", b":",
    b"[::]:25", b"unix:/a", b"systemd:a", b"mx", b"smtp://", b"lmtp://", b"lmtp+unix:", b"discard", b"550 5.7.1 no",
    b"@",
    b"*", b"<>", b".", b"example.org", b"*@", b"%", b"\xc3\xa9", b"xn--", b" ", b"-", b"1",
)  # fmt: skip
TARGETS = (
    Target("document", document, _YAML, 8192),
    Target("configuration", configuration, (*_YAML, *_KEYS), 8192),
    Target("directory", directory, (*_YAML, *_NAMES), 8192),
    Target("accounts", accounts, (*_YAML, *_FORMS), 8192),
    Target("units", units, _UNITS, 2048),
)
