"""`mta queue --watch` on a terminal, which it is given by a pty, and without one."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cli_ground import MTA, Ground, run

SECOND_SCREEN, FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HOSTILE = '"\x1b[2J\x07"@there.test'


class Terminal:
    """A terminal of 24 lines and 100 columns, and a command that has it as its own."""

    def __init__(self, *words: str, kind: str = "xterm") -> None:
        self.end, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))

        def take() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.login_tty(theirs)

        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [str(MTA), *words], env={**environment, "TERM": kind}, preexec_fn=take, pass_fds=[theirs]
        )
        os.close(theirs)
        self.shown = b""

    def wait_for(self, text: str | bytes) -> None:
        """Read what is shown until there is this in it."""
        wanted = text.encode() if isinstance(text, str) else text
        until = time.monotonic() + 20
        while wanted not in self.shown:
            assert time.monotonic() < until, self.shown
            if select.select([self.end], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self.end, 65536)
                except OSError:  # it has closed the terminal
                    assert wanted in self.shown, self.shown
                    return

    def press(self, key: bytes) -> int:
        """Press a key that ends it; the exit status."""
        os.write(self.end, key)
        return self.process.wait(20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.end)


@contextmanager
def terminal(*words: str, kind: str = "xterm") -> Iterator[Terminal]:
    one = Terminal(*words, kind=kind)
    try:
        yield one
    finally:
        one.close()


def test_it_shows_what_changes_until_ctrl_c(ground: Ground) -> None:
    first = ground.add("bob@there.test")
    with terminal("queue", "--config", str(ground.file), "--watch", "0.2") as screen:
        screen.wait_for(first)
        assert screen.shown.index(SECOND_SCREEN) < screen.shown.index(first.encode())
        assert b"1 message for 1 recipient" in screen.shown
        screen.wait_for("accepted 0.0/s, ended 0.0/s")
        screen.shown = b""
        second = ground.add(HOSTILE)
        screen.wait_for(second)
        assert re.search(rb"\x1b\[1;32m *\+", screen.shown), "what is new is marked"
        ground.defer(first)
        screen.wait_for("450 4.2.1 come back later")
        assert re.search(rb"\x1b\[1m *\*", screen.shown), "what has changed is marked"
        ground.deliver(second)
        screen.wait_for("1 recipient gone")
        screen.wait_for("ended 0.")
        assert b"\x1b[2J\x07" not in screen.shown.replace(b"\x1b[2J\x1b", b"")
        assert screen.press(b"\x03") == 0
        screen.wait_for(FIRST_SCREEN)
        assert b"Traceback" not in screen.shown
        assert b"Aborted" not in screen.shown


def test_its_filters_and_what_is_wrong(ground: Ground) -> None:
    ground.add("bob@there.test")
    other = ground.add("carol@else.test")
    with terminal("queue", "--config", str(ground.file), "--to", "else.test", "--watch") as screen:
        screen.wait_for(other)
        assert b"bob@there.test" not in screen.shown
        ground.file.write_text("spol: x\n")
        assert screen.press(b"\x03") == 0
    with terminal("queue", "--config", str(ground.file), "--watch") as screen:
        screen.wait_for("spol")
        assert screen.process.wait(20) == 1
        assert SECOND_SCREEN not in screen.shown


def test_without_a_terminal_it_is_used_wrongly(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--watch is for a terminal" in ground.mta("queue", "--watch", status=2).stderr
    assert "--watch is for people" in ground.mta("queue", "--watch", "5", "--json", status=2).stderr
    ground.mta("queue", "--watch", "0", status=2)
    ground.mta("queue", "--watch", "often", status=2)
    monkeypatch.setattr("mta.cli.watch.on_terminal", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert "--watch is for a terminal" in run("queue", "--config", str(ground.file), "--watch", status=2).stderr
