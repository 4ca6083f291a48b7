"""Dialogues: sessions as text, "C:" and "S:" as in RFC 5321 appendix D, read here and played against any server.

tests/dialogues/README.md describes the notation.
"""

import re
from pathlib import Path
from typing import NamedTuple, Protocol

FOLDER = Path(__file__).parent / "dialogues"
CLOSED = "(closed)"

_LINE = re.compile(r"([CS])(?:\*(\d+))?:(?: (.*))?")
_ESCAPE = re.compile(r"\\(?:\{(\d+) ([^}]*)\}|x([0-9A-Fa-f]{2})|(.)|$)")
_LETTERS = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
_ANY_LINES = re.compile(r"(\d{3})\+")


class Send(NamedTuple):
    """What the client sends at once. line: of the file, where it begins."""

    line: int
    octets: bytes


class Expect(NamedTuple):
    """A line that the server sends, or CLOSED."""

    line: int
    pattern: str


class Dialogue(NamedTuple):
    """One file. settings: what the server must be set to, in its own words."""

    name: str
    settings: dict[str, str]
    steps: list[Send | Expect]


class Peer(Protocol):
    """A server that a dialogue is played against."""

    def send(self, octets: bytes) -> None:
        """Give it octets."""

    def line(self) -> str | None:
        """The next line that it sends, without CRLF; None when it has closed the connection, or sends nothing."""


def all_dialogues() -> list[Dialogue]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Dialogue:
    settings: dict[str, str] = {}
    steps: list[Send | Expect] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("With: "):
            settings |= dict(word.split("=", 1) for word in line[6:].split())
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}:{number}: neither C: nor S: nor With: nor a comment")
        who, times, text = match[1], int(match[2] or 1), match[3] or ""
        if who == "S":
            steps += [Expect(number, text)] * times
        elif steps and isinstance(steps[-1], Send):
            steps[-1] = Send(steps[-1].line, steps[-1].octets + _octets(text) * times)
        else:
            steps.append(Send(number, _octets(text) * times))
    return Dialogue(path.stem, settings, steps)


def play(dialogue: Dialogue, peer: Peer) -> None:
    """Play it; what the server says otherwise is an AssertionError that names file and line."""
    for step in dialogue.steps:
        if isinstance(step, Send):
            peer.send(step.octets)
        elif any_lines := _ANY_LINES.fullmatch(step.pattern):
            _expect_reply(dialogue, step, peer, any_lines[1])
        else:
            said = peer.line()
            as_expected = step.pattern == CLOSED if said is None else _matches(step.pattern, said)
            assert as_expected, _difference(dialogue, step, said)


def _expect_reply(dialogue: Dialogue, step: Expect, peer: Peer, code: str) -> None:
    while True:
        said = peer.line()
        assert said is not None and said.startswith(code), _difference(dialogue, step, said)
        if said[3:4] != "-":
            return


def _octets(text: str) -> bytes:
    """What a C: line stands for. A backslash at its end keeps the CRLF away."""

    def replace(match: re.Match[str]) -> str:
        times, what, code, letter = match.groups()
        if times:
            return str(_unescape(what)) * int(times)
        if code:
            return chr(int(code, 16))
        return _LETTERS[letter] if letter else ""

    def _unescape(escaped: str) -> str:
        return _ESCAPE.sub(replace, escaped)

    open_ended = (len(text) - len(text.rstrip("\\"))) % 2 == 1
    return (_unescape(text) + ("" if open_ended else "\r\n")).encode("latin-1")


def _matches(pattern: str, said: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("…")), said) is not None


def _difference(dialogue: Dialogue, step: Expect, said: str | None) -> str:
    return f"{dialogue.name}.txt:{step.line}: expected {step.pattern!r}, the server said {said!r}"
