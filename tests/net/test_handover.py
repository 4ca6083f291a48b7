"""What a process keeps when its program is executed anew: over real sockets, and a real execve."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mta.net.handover import HandedOver, Rehearsal, handing_over

ANEW = """
import os, signal, socket, sys
from mta.net.early import blocked, hold_back, _came
import pytest

from mta.net.handover import HandedOver, handing_over

hold_back()
handed = HandedOver.of_environment(os.environ, os.getpid())
if not handed.has_begun_anew:
    kept = socket.create_server(("127.0.0.1", 0))
    waiting = socket.create_connection(kept.getsockname())
    waiting.set_inheritable(True)
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    names = handing_over(os.getpid(), {"smtp": [kept.fileno()]}, log)
    with blocked():
        os.kill(os.getpid(), signal.SIGHUP)
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **names})
[one] = handed.take("smtp")
listening = socket.socket(fileno=one)
accepted, _ = listening.accept()
os.write(handed.log, b"kept")
print(accepted.getpeername()[0], os.get_inheritable(one), handed.take("smtp"), _came == [signal.SIGHUP])
"""


def test_who_has_connected_is_there_for_the_program_that_begins_and_so_is_a_signal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ANEW, tmp_path / "log"], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("127.0.0.1 False () True\n", "")
    assert (tmp_path / "log").read_bytes() == b"kept"


def test_what_is_for_another_process_or_is_not_understood_is_not_there_and_is_taken_out() -> None:
    told = handing_over(os.getpid(), {}, None)
    [key] = told
    for value, own in ((told[key], os.getpid() + 1), ("{", 1), ("[]", 1)):
        environ = {key: value}
        handed = HandedOver.of_environment(environ, own)
        assert (handed.has_begun_anew, handed.take("smtp"), environ) == (False, (), {})
    assert HandedOver.of_environment(dict(told), os.getpid()).has_begun_anew
    assert json.loads(told[key])["log"] is None


def test_what_nobody_listens_at_any_more_is_closed_and_a_unix_socket_loses_its_name(tmp_path: Path) -> None:
    path = tmp_path / "door"
    (tmp_path / "door.lock").symlink_to(str(os.getpid()))
    with contextlib.ExitStack() as stack:
        door, port = socket.socket(socket.AF_UNIX), stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door.bind(str(path))
        handed = HandedOver({f"unix:{path}": [door.detach()], "port": [port.fileno()]})
        handed.close_all_but(["port"])
        assert not path.exists()
        assert not (tmp_path / "door.lock").is_symlink()
        assert handed.take(f"unix:{path}") == ()
        assert handed.take("port") == [port.fileno()]


def test_one_that_was_paused_listens_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        port.shutdown(socket.SHUT_RDWR)
        HandedOver({"smtp": [port.fileno()]}).take("smtp")
        socket.create_connection(port.getsockname(), 5).close()


def test_a_rehearsal_is_told_what_would_be_there() -> None:
    environ = {"HOME": "/", **Rehearsal(["a", "b"], ["smtp"]).environment()}
    told = Rehearsal.of_environment(environ)
    assert told is not None
    assert (told.names, told.given, environ) == (["a", "b"], ["smtp"], {"HOME": "/"})
    assert Rehearsal.of_environment(environ) is None


def test_the_early_are_held_back_and_handed_on_once() -> None:
    """In a process of their own, as signals are the process's."""
    code = """
import os, signal
from twisted.internet.task import Clock
from mta.net.early import hand_on, hold_back

class Reactor:
    def callFromThread(self, call):
        call()

hold_back()
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGHUP)
hand_on(Reactor(), {signal.SIGHUP: lambda: print("reload"), signal.SIGUSR2: lambda: print("restart")})
os.kill(os.getpid(), signal.SIGUSR2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("reload\nrestart\n", 0), done.stderr
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


@pytest.mark.parametrize(("pid", "status"), [("1", 128 + signal.SIGTERM), ("os.getpid()", -signal.SIGTERM)])
def test_what_ends_a_process_ends_the_first_one_of_a_container_too(pid: str, status: int) -> None:
    """Of which it is known by its process id alone; the kernel would leave it be."""
    code = f"""
import os, signal
from mta.net.early import hold_back

own, claimed = os.getpid(), {pid}
os.getpid = lambda: claimed
hold_back()
assert (signal.getsignal(signal.SIGTERM) is signal.SIG_DFL) == (claimed != 1)
os.kill(own, signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize(
    ("begin", "heavy"),
    [
        ("sys.argv = ['mta', 'start', '--config', 'nowhere']; from mta.cli import main; main()", "twisted"),
        ("from twisted.plugins.mta_plugin import mta; mta.options", "mta.options"),
    ],
)
def test_signals_are_held_back_before_what_takes_long_is_imported(begin: str, heavy: str) -> None:
    """By `mta start` and by twistd's plugin alike."""
    code = f"""
import os, signal, sys

class Watch:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {heavy!r}:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGUSR2)
            print("alive", flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch)
{begin}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.returncode) == ("alive\n", 0), done.stderr
