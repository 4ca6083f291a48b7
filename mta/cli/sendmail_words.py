"""Sendmail words: the command line of sendmail(8), which programs have filled with forty years of flags.

Those that mean something here are understood, those that steered Sendmail's own ways are passed over, others are wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

WITH_A_WORD: Final = frozenset("ABCDFLMNORVXbefhopr")  # its word may stand behind the letter, or be the next one
WITH_A_REST: Final = frozenset("dq")  # what stands behind the letter belongs to it, the next word does not
ALONE: Final = frozenset("GIUcimnstvx")

MAIL: Final = "mail"  # -bm: take a message from standard input
SESSION: Final = "session"  # -bs: SMTP on standard input and output
LISTING: Final = "listing"  # -bp, mailq
ALIASES: Final = "aliases"  # -bi, newaliases
_MODES: Final = {"m": MAIL, "s": SESSION, "p": LISTING, "i": ALIASES}
_NOTIFY: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})


class WrongWords(ValueError):
    """The command line makes no sense; the text says why. Exit status 64 (EX_USAGE)."""


@dataclass
class Words:
    """What a command line asks for.

    sender: as it was given, None where it was not. full_name: for the From field; None where it was not given.
    from_header: recipients are those of the header (-t). dot_ends: a line with a dot alone ends the message.
    notify, ret, envid: of RFC 3461, in the form of SMTP, "" where they were not given. flush: -q.
    """

    mode: str = MAIL
    config: str | None = None
    recipients: list[str] = field(default_factory=list)
    sender: str | None = None
    full_name: str | None = None
    from_header: bool = False
    dot_ends: bool = True
    notify: str = ""
    ret: str = ""
    envid: str = ""
    verbose: bool = False
    flush: bool = False


def read_words(words: Sequence[str], name: str = "sendmail") -> Words:
    """Understand a command line. name: what the command was called as, by which it may be another one."""
    asked = Words(mode={"mailq": LISTING, "newaliases": ALIASES}.get(Path(name).name, MAIL))
    rest = iter(words)
    for word in rest:
        if word == "--":
            asked.recipients += rest
        elif word == "--config" or word.startswith("--config="):
            asked.config = word[9:] if "=" in word else _next(rest, word)
        elif word.startswith("--"):
            raise WrongWords(f"{word} is no option")
        elif word.startswith("-") and word != "-":
            _read_letters(asked, word[1:], rest)
        else:
            asked.recipients.append(word)
    return asked


def _read_letters(asked: Words, letters: str, rest: Iterator[str]) -> None:
    """Options that share one dash: "it", "f" with its word behind it or next, "bp"."""
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in WITH_A_WORD:
            _take(asked, letter, letters or _next(rest, f"-{letter}"))
            return
        if letter in WITH_A_REST:
            asked.flush = asked.flush or letter == "q"
            return
        if letter not in ALONE:
            raise WrongWords(f"-{letter} is no option")
        if letter == "t":
            asked.from_header = True
        elif letter == "i":
            asked.dot_ends = False
        elif letter == "v":
            asked.verbose = True
        elif letter == "I":
            asked.mode = ALIASES


def _take(asked: Words, letter: str, word: str) -> None:
    if letter == "b":
        if word not in _MODES:
            raise WrongWords(f"-b{word} is not available; the relay is started with `mta start`")
        asked.mode = _MODES[word]
    elif letter in "fr":
        asked.sender = word
    elif letter == "F":
        asked.full_name = word
    elif letter == "C":
        asked.config = word
    elif letter == "o" and word == "i":
        asked.dot_ends = False
    elif letter == "N":
        asked.notify = _notify(word)
    elif letter == "R":
        asked.ret = _ret(word)
    elif letter == "V":
        asked.envid = _envid(word)


def _notify(word: str) -> str:
    wanted = [one.strip().upper() for one in word.split(",")]
    if wanted == ["NEVER"]:
        return "NEVER"
    if not _NOTIFY.issuperset(wanted):
        raise WrongWords(f"-N takes never, or some of success,failure,delay, and not {word}")
    return ",".join(dict.fromkeys(wanted))


def _ret(word: str) -> str:
    wanted = word.upper()
    if wanted not in ("FULL", "HDRS"):
        raise WrongWords(f"-R takes full or hdrs, and not {word}")
    return wanted


def _envid(word: str) -> str:
    """An envelope identifier (RFC 3461 4.4)."""
    if not (word.isascii() and word.isprintable()):
        raise WrongWords(f"-V takes printable ASCII, and not {word!r}")
    return word


def _next(rest: Iterator[str], option: str) -> str:
    word = next(rest, None)
    if word is None:
        raise WrongWords(f"{option} needs a word behind it")
    return word
