"""Clients: swaks, the standard library's, one that speaks in octets, and Postfix's generator for large numbers."""

import contextlib
import re
import smtplib
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

import pytest

from .daemon import Relay
from .ground import tool

QUEUED = re.compile(r"250 2\.0\.0 queued as (\w+)")


class Place(Protocol):
    """Where a message goes, and a folder for the files that the client needs: a relay, for one."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def folder(self) -> Path: ...


class Said(NamedTuple):
    """What a client saw. status: its exit status. text: the whole dialogue. queue_id: "" where nothing was queued."""

    status: int
    text: str
    queue_id: str


def swaks(place: Place, sender: str, recipients: Sequence[str], content: bytes, *words: str) -> Said:
    """Send one message with swaks. content: CRLF at the end of lines, without transparency."""
    message = place.folder / "swaks.eml"
    message.write_bytes(_transparent(content).removesuffix(b"\r\n"))  # swaks ends the last line itself
    command = [tool("swaks", "swaks"), "--server", place.address, "--port", str(place.port)]
    command += ["--ehlo", "client.test", "--from", sender or "<>", "--to", ",".join(recipients)]
    command += ["--data", f"@{message}", "--no-data-fixup", "--suppress-data", "--timeout", "30", *words]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    text = (done.stdout + done.stderr).decode(errors="replace")
    found = QUEUED.search(text)
    return Said(done.returncode, text, found[1] if found else "")


def _transparent(content: bytes) -> bytes:
    """The content as it stands on the wire, its final dot included."""
    stuffed = content.replace(b"\r\n.", b"\r\n..")
    return (b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n"


def submit(
    relay: Relay, sender: str, recipients: Sequence[str], content: bytes, source: str = "", helo: str = "client.test"
) -> str:
    """Send one message with smtplib; its queue id. Fails unless every recipient is taken."""
    place = (source, 0) if source else None
    with smtplib.SMTP(relay.address, relay.port, helo, timeout=30, source_address=place) as client:
        client.ehlo()
        for code, text in (client.mail(sender), *(client.rcpt(one) for one in recipients), client.data(content)):
            if code != 250:
                pytest.fail(f"{relay.where} said {code} {text!r}")
    found = QUEUED.fullmatch(f"250 {text.decode()}")
    assert found, f"no queue id in {text!r}"
    return found[1]


class Talk:
    """A connection on which the test says exactly what it wants, in octets."""

    def __init__(self, address: str, port: int, source: str = "", timeout: float = 15.0) -> None:
        place = (source, 0) if source else None
        self._socket = socket.create_connection((address, port), timeout, place)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    @property
    def port(self) -> int:
        """The client's own."""
        return int(self._socket.getsockname()[1])

    def send(self, octets: bytes) -> None:
        self._socket.sendall(octets)

    def end(self) -> None:
        """Nothing more will be sent; what is said to us can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def line(self) -> str | None:
        """The next line, without its end; None at the end of the connection, however it came."""
        with contextlib.suppress(ConnectionError):
            if line := self._file.readline(4096):
                return line.decode("utf-8", "replace").rstrip("\r\n")
        return None

    def reply(self) -> str:
        """The next reply, all its lines with "\\n" between them; "" at the end of the connection."""
        lines: list[str] = []
        while (line := self.line()) is not None:
            lines.append(line)
            if line[3:4] != "-":
                break
        return "\n".join(lines)

    def rest(self, patience: float = 0.05) -> bytes:
        """What else has been sent, and comes within so many seconds. It is the last thing that can be asked for."""
        octets = b""
        self._socket.settimeout(patience)
        with contextlib.suppress(OSError):
            while block := self._file.read1():
                octets += block
        return octets

    def say(self, line: str) -> str:
        """Send one line; the reply to it."""
        self.send(line.encode() + b"\r\n")
        return self.reply()


def generate(relay: Relay, count: int, sender: str, recipient: str, octets: int = 1024, sessions: int = 10) -> float:
    """Send many messages with Postfix's smtp-source, as fast as they are taken; messages per second."""
    command = [tool("smtp-source", "postfix"), "-d", "-s", str(sessions), "-m", str(count), "-l", str(octets)]
    command += ["-f", sender, "-t", recipient, "-M", "client.test", f"inet:{relay.address}:{relay.port}"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=Path("/"))
    if done.returncode:
        pytest.fail(f"smtp-source: {done.stdout}{done.stderr}")
    return count / (time.perf_counter() - start)
