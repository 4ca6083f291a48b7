"""What systemd hands over, and what it is told: over real sockets."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mta.net.systemd import Systemd, began_with


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_what_it_is_told_arrives(tmp_path: Path, kind: str) -> None:
    name = f"\0mta-{os.getpid()}" if kind == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(name)
        line.settimeout(5)
        systemd = Systemd(name.replace("\0", "@"))
        assert systemd.hears
        systemd.tell("READY=1", "STATUS=all is well: ü")
        assert line.recv(4096) == "READY=1\nSTATUS=all is well: ü".encode()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.tell_reload(True)
        began, at = line.recv(4096).decode().split("\n")
        assert began == "RELOADING=1"
        assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.tell_reload(False)
        assert line.recv(4096) == b"READY=1"
    systemd.tell("STOPPING=1")  # nobody listens any more, and nothing comes of it
    Systemd(str(tmp_path / "nowhere")).tell("READY=1")


def test_where_it_has_not_started_us_nothing_is_there() -> None:
    systemd = Systemd.of_environment({"LISTEN_FDS": "1", "LISTEN_PID": "1", "HOME": "/"}, own_pid=4711)
    assert (systemd.hears, systemd.watchdog, systemd.names, systemd.sockets("smtp")) == (False, 0.0, (), [])
    systemd.tell("READY=1")


@pytest.mark.parametrize(
    ("of", "seconds"),
    [
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "4711"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "4712"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({"WATCHDOG_USEC": ""}, 0.0),
    ],
)
def test_how_often_it_wants_to_hear_from_us(of: dict[str, str], seconds: float) -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "HOME": "/", **of}
    assert Systemd.of_environment(environ, own_pid=4711).watchdog == seconds
    assert environ == {"HOME": "/"}


ASKS = """
import os
from mta.net.systemd import Systemd, began_with
import twisted.internet.endpoints  # which takes the variables for itself
with open("/proc/self/environ", "rb") as file:
    systemd = Systemd.of_environment(os.environ, os.getpid(), file.read())
for name in systemd.names:
    for one in systemd.sockets(name):
        print(name, one, os.get_inheritable(one), os.get_blocking(one))
print([key for key in os.environ if key.startswith("LISTEN")])
"""
STARTS = """
import os, sys
os.environ.update(LISTEN_FDS="3", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[1])
for number in (3, 4, 5):
    os.dup2(0, number)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2]])
"""


def test_sockets_are_found_by_name_once_and_are_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-c", STARTS, "smtp:smtp:submission", ASKS]
        done = subprocess.run(command, stdin=listening.fileno(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == [
        "smtp 3 False False",
        "smtp 4 False False",
        "submission 5 False False",
        "[]",
    ]


def test_a_process_without_proc_began_with_nothing_that_is_known(tmp_path: Path) -> None:
    """As in a chroot: it starts all the same."""
    assert began_with(tmp_path / "environ") == b""
    assert b"PATH=" in began_with()
