"""Reading: what is in a file of the configuration, or why it cannot be had."""

from errno import EINVAL
from pathlib import Path
from typing import Final

from mta.config.document import Document, NotYaml, read_document
from mta.config.problems import ConfigError, Problem
from mta.config.units import MIB, format_size

LONGEST_PASSWORD: Final = 1024  # octets
SHORTEST_TOKEN: Final = 16  # characters


def read_text(path: Path, kind: str, largest: int = MIB) -> str:
    """The text of a file, which is small and UTF-8. Raises `ConfigError`.

    kind: what the file is, for people ("configuration"). largest: octets that it may have.
    """
    try:
        octets = _octets(path, largest + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    if len(octets) > largest:
        raise ConfigError([Problem(str(path), 0, "", f"is larger than {format_size(largest)}, as no {kind} is")])
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        line = octets[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, "", "is not UTF-8 text")]) from None


def mapping_in(text: str, file: str, shape: str) -> Document:
    """The document in a text, with a mapping for its data, or None. Raises `ConfigError` for anything else.

    file: where the text is from; shape: of its entries, as people write them: both for what is wrong.
    """
    try:
        document = read_document(text)
    except NotYaml as error:
        raise ConfigError([Problem(file, error.line, "", str(error))]) from None
    if document.data is not None and not isinstance(document.data, dict):
        raise ConfigError([Problem(file, document.line(()), "", f"must hold a mapping, a {shape}")])
    return document


def read_password(path: Path) -> str:
    """The password that a file holds on its only line. Raises `ValueError` with what is wrong, for people."""
    try:
        octets = _octets(path, LONGEST_PASSWORD + 3)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    password = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        raise ValueError("is empty; it must hold the password on one line")
    if len(password) > LONGEST_PASSWORD:
        raise ValueError(f"is longer than {LONGEST_PASSWORD} octets, as no password is")
    try:
        text = password.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not text.isprintable():
        raise ValueError("must hold the password alone, on one line and without control characters")
    return text


def read_token(path: Path, what: str = "token") -> str:
    """The token that a file holds on its only line, or something of the kind, which is named for people.

    Raises `ValueError` with what is wrong.
    """
    try:
        token = read_password(path)
    except ValueError as error:
        raise ValueError(str(error).replace("password", what)) from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or " " in token:
        raise ValueError(
            f"must hold at least {SHORTEST_TOKEN} characters of ASCII without spaces; openssl rand -hex 32 makes some"
        )
    return token


def _octets(path: Path, most: int) -> bytes:
    """How a file begins. Raises `OSError`.

    Opening a named pipe would wait, perhaps for ever, for who writes into it, and the relay with it. Pipes that have
    no name of their own, as /dev/fd/63 of a shell, have somebody at the other end already.
    """
    if path.is_fifo() and not path.is_relative_to("/dev") and not path.is_relative_to("/proc"):
        raise OSError(EINVAL, "it is a named pipe, and must be a file")
    with path.open("rb") as file:
        return file.read(most)
