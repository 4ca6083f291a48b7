"""Dialogues: sessions as text, "C:" and "S:" as in RFC 5321 appendix D, read here and played against any server.

tests/dialogues/README.md describes the notation.
"""

import hmac
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from scramp import ScramClient

FOLDER = Path(__file__).parent / "dialogues"
CLOSED = "(closed)"
TLS = "(TLS)"

_LINE = re.compile(r"([CS])(?:\*(\d+))?:(?: (.*))?")
_LOG_IN = re.compile(r"\(AUTH ([A-Z0-9-]+) (\S+) (\S+)\)")
_WAIT = re.compile(r"\(wait ([0-9.]+)\)")
_ESCAPE = re.compile(r"\\(?:\{(\d+) ([^}]*)\}|@\{(-?\d+)\}|x([0-9A-Fa-f]{2})|(.)|$)")
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


class Encrypt(NamedTuple):
    """The TLS handshake, which both sides begin now."""

    line: int


class LogIn(NamedTuple):
    """The client logs in, and answers all challenges; the server's last word is expected next."""

    line: int
    mechanism: str
    name: str
    password: str


class Wait(NamedTuple):
    """Nobody says anything for so many seconds."""

    line: int
    seconds: float


Step = Send | Expect | Encrypt | LogIn | Wait


class Dialogue(NamedTuple):
    """One file. settings: what the server must be set to, in its own words."""

    name: str
    settings: dict[str, str]
    steps: list[Step]


class Peer(Protocol):
    """A server that a dialogue is played against."""

    def send(self, octets: bytes) -> None:
        """Give it octets."""

    def line(self) -> str | None:
        """The next line that it sends, without CRLF; None when it has closed the connection, or sends nothing."""

    def encrypt(self) -> None:
        """Begin TLS, and come back when it is there."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


def all_dialogues() -> list[Dialogue]:
    return [read(path) for path in sorted(FOLDER.glob("*.txt"))]


def read(path: Path) -> Dialogue:
    settings: dict[str, str] = {}
    steps: list[Step] = []
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
        elif text == TLS:
            steps.append(Encrypt(number))
        elif pause := _WAIT.fullmatch(text):
            steps.append(Wait(number, float(pause[1])))
        elif login := _LOG_IN.fullmatch(text):
            steps.append(LogIn(number, *login.groups()))
        elif steps and isinstance(steps[-1], Send):
            steps[-1] = Send(steps[-1].line, steps[-1].octets + _octets(text) * times)
        else:
            steps.append(Send(number, _octets(text) * times))
    return Dialogue(path.stem, settings, steps)


def play(dialogue: Dialogue, peer: Peer) -> None:
    """Play it; what the server says otherwise is an AssertionError that names file and line."""
    last_word: list[str | None] = []

    def next_line() -> str | None:
        return last_word.pop() if last_word else peer.line()

    for step in dialogue.steps:
        match step:
            case Send(octets=octets):
                peer.send(octets)
            case Encrypt():
                peer.encrypt()
            case Wait(seconds=seconds):
                peer.wait(seconds)
            case LogIn():
                last_word.append(_log_in(step, peer))
            case Expect(pattern=pattern) if any_lines := _ANY_LINES.fullmatch(pattern):
                _expect_reply(dialogue, step, next_line, any_lines[1])
            case Expect(pattern=pattern):
                said = next_line()
                as_expected = pattern == CLOSED if said is None else _matches(pattern, said)
                assert as_expected, _difference(dialogue, step, said)


def _expect_reply(dialogue: Dialogue, step: Expect, next_line: Callable[[], str | None], code: str) -> None:
    while True:
        said = next_line()
        assert said is not None and said.startswith(code), _difference(dialogue, step, said)
        if said[3:4] != "-":
            return


def _log_in(step: LogIn, peer: Peer) -> str | None:
    """The server's last word in an AUTH exchange. The mechanisms are made of scramp and hmac, not of our own client."""
    if step.mechanism == "CRAM-MD5":
        turns = iter([lambda challenge: _cram_md5(step, challenge)])
    else:
        scram = ScramClient([step.mechanism], step.name, step.password)

        def prove(challenge: bytes) -> bytes:
            scram.set_server_first(challenge.decode())
            return scram.get_client_final().encode()

        def check(challenge: bytes) -> bytes:
            scram.set_server_final(challenge.decode())
            return b""

        turns = iter([lambda _: scram.get_client_first().encode(), prove, check])
    peer.send(f"AUTH {step.mechanism}\r\n".encode())
    while (said := peer.line()) is not None and said.startswith("334 "):
        peer.send(b64encode(next(turns)(b64decode(said[4:]))) + b"\r\n")
    return said


def _cram_md5(step: LogIn, challenge: bytes) -> bytes:
    return f"{step.name} {hmac.digest(step.password.encode(), challenge, 'md5').hex()}".encode()


def _octets(text: str) -> bytes:
    """What a C: line stands for. A backslash at its end keeps the CRLF away."""

    def replace(match: re.Match[str]) -> str:
        times, what, seconds, code, letter = match.groups()
        if times:
            return str(_unescape(what)) * int(times)
        if seconds:
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + int(seconds)))
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
