"""The units for systemd: they are good ones, and the relay can do all its work within what they allow.

systemd itself is not asked to run them; what it does when it starts the relay is done here, by its own program where
there is one (systemd-socket-activate). What the kernel would refuse is found by tracing: system calls that the unit's
filter does not have, kinds of sockets that it does not list; of root's rights the relay is left with the unit's one.
"""

import os
import re
import shutil
import signal
import smtplib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from peers.clients import submit
from peers.daemon import PROGRAMS, Relay, StartRelay
from peers.ground import Loopback, free_port, greets, needs_port_25, tool, wait_until
from peers.knot import Dns
from peers.load import load
from peers.sinks import MakeSink

UNIT = Path(__file__).parents[2] / "etc" / "systemd" / "mta.service"
CALL = re.compile(r"^\d+ +(\w+)\(([A-Z_0-9]*)", re.MULTILINE)
# Root gives what it makes to the owner of the folder, and the unit's user is not root, as these tests are.
SUBJECT = re.compile(rb"^Subject: (\S+)\r$", re.MULTILINE)
# As systemd does: descriptors from 3 on, their names, and the process that they are for.
ACTIVATE = """
import os, sys
end = sys.argv.index("--")
for number, one in enumerate(sys.argv[1:end]):
    os.dup2(int(one), 3 + number)
count = end - 1
os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=":".join(["smtp"] * count))
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
"""
OF_ROOT = {"chown", "fchown"}
TEMPORARY = {"restart_syscall"}  # the kernel's own
TERMINAL = {"setfsuid", "setfsgid"}  # ncurses' of Debian 13, before it reads of the terminal; refused, it goes on


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [tool("systemd-analyze", "systemd"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, env={"LC_ALL": "C"})


def settings(key: str) -> list[str]:
    """All values of a key of the unit's service, in order."""
    return re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it would be installed here."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/mta/bin/mta", str(PROGRAMS / "mta"))
    (tmp_path / "mta.service").write_text(text)
    shutil.copy(UNIT.with_suffix(".socket"), tmp_path)
    return tmp_path / "mta.service"


def test_systemd_finds_nothing_wrong_with_it(unit: Path) -> None:
    said = analyze("verify", unit, unit.with_suffix(".socket"))
    assert (said.returncode, said.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("RestartSec", "RestartTec"))
    assert "RestartTec" in analyze("verify", unit).stderr, "it would be found"


def test_its_exposure_is_below_2(unit: Path) -> None:
    said = analyze("security", "--offline=true", "--threshold=19", unit)
    assert said.returncode == 0, said.stdout + said.stderr
    unit.write_text(unit.read_text().replace("SystemCallFilter=", "#").replace("ProtectSystem=", "#"))
    assert analyze("security", "--offline=true", "--threshold=19", unit).returncode, "it would be found"


def test_it_starts_the_relay_as_it_is_started_by_hand() -> None:
    """By a command that there is, and not again where somebody has to see to something first (status 1)."""
    [command] = settings("ExecStart")
    program, *words = command.split()
    assert Path(program).name == "mta"
    assert words == ["start", "--config", "/etc/mta/mta.yml"]
    assert settings("RestartPreventExitStatus") == ["1"]
    assert settings("MemoryDenyWriteExecute") == []
    assert settings("Type") == ["notify"]
    assert settings("ExecReload") == ['/bin/sh -c "kill -HUP $MAINPID"']


def test_the_user_and_the_folders_are_made_as_the_unit_has_them(tmp_path: Path) -> None:
    """By systemd's own programs, in a root of our own."""
    (tmp_path / "etc").mkdir()
    users = [tool("systemd-sysusers", "systemd"), f"--root={tmp_path}", str(UNIT.with_suffix(".sysusers.conf"))]
    subprocess.run(users, check=True, capture_output=True, timeout=30)
    [name, _, uid, _, _, home, shell] = (tmp_path / "etc/passwd").read_text().strip().split(":")
    assert [name] == settings("User") == settings("Group")
    assert (home, shell) == ("/var/lib/mta", "/usr/sbin/nologin")
    folders = [tool("systemd-tmpfiles", "systemd"), "--create", f"--root={tmp_path}"]
    subprocess.run([*folders, UNIT.with_suffix(".tmpfiles.conf")], check=True, capture_output=True, timeout=30)
    spool, configuration = tmp_path / "var/spool/mta", tmp_path / "etc/mta"
    assert (stat.S_IMODE(spool.stat().st_mode), spool.stat().st_uid) == (0o711, int(uid))
    assert (stat.S_IMODE(configuration.stat().st_mode), configuration.stat().st_uid) == (0o755, 0)
    assert f"-{spool.relative_to(tmp_path)}".replace("-", "-/", 1) in settings("ReadWritePaths")


class Manager:
    """What systemd is to a service that it has started: it hears what it is told, and keeps its sockets."""

    def __init__(self, name: str) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._line.bind(name)
        self._line.settimeout(20)
        self.address = name.replace("\0", "@")

    def hears(self) -> dict[str, str]:
        """What it is told next, by the process that it has started and nobody else."""
        return dict(line.partition("=")[::2] for line in self._line.recv(4096).decode().split("\n"))

    def hears_of(self, *keys: str) -> dict[str, str]:
        """The next that has these, of what it is told."""
        while not set(keys) <= (told := self.hears()).keys():
            pass
        return told

    def hears_nothing_for(self, seconds: float) -> None:
        """Fails unless it is told nothing so long, but what was on its way."""
        self._line.settimeout(seconds)
        for _ in range(3):
            try:
                self._line.recv(4096)
            except TimeoutError:
                self._line.settimeout(20)
                return
        pytest.fail("it is still told that all is well")

    def close(self) -> None:
        self._line.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told_when_it_is_ready_reloads_works_and_stops(
    make_relay: StartRelay, workers: int, tmp_path: Path
) -> None:
    manager = Manager(f"\0mta-tests-{os.getpid()}" if workers == 1 else str(tmp_path / "notify"))
    before = ["env", f"NOTIFY_SOCKET={manager.address}", "WATCHDOG_USEC=600000"]
    relay = make_relay(workers=workers, before=before)
    relay.start()
    told = manager.hears()
    assert told["READY"] == "1"
    assert told["STATUS"] == ("2 of 2 workers are at work" if workers > 1 else told["STATUS"])
    for _ in range(2):
        assert manager.hears_of("WATCHDOG")["WATCHDOG"] == "1"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    os.kill(relay.process.pid, signal.SIGHUP)
    assert before <= int(manager.hears_of("RELOADING")["MONOTONIC_USEC"]) <= before + 20_000_000
    manager.hears_of("READY")
    if workers > 1:  # one of them stands still: it is as if all did
        one = relay.workers()[1]
        os.kill(one, signal.SIGSTOP)
        manager.hears_nothing_for(0.8)
        os.kill(one, signal.SIGCONT)
        manager.hears_of("WATCHDOG")
    os.kill(relay.process.pid, signal.SIGTERM)
    assert manager.hears_of("STOPPING")["STOPPING"] == "1"
    manager.close()
    relay.process.wait(20)


def test_sockets_of_systemd_hold_clients_while_the_relay_is_started_again(
    make_relay: StartRelay, sink: MakeSink, loopback: Loopback
) -> None:
    """Nobody is refused, and nothing is lost, with one listener of two sockets; other names are not there."""
    hop, address = sink(), loopback.address()
    held = [socket.create_server((address, 0), backlog=200) for _ in range(2)]
    handed = [one.fileno() for one in held]
    relay = make_relay(
        routes=[{"to": "*", "via": f"smtp://{hop.address}:25"}],
        listen=[{"address": "systemd:smtp", "tls": "none"}],
        before=[sys.executable, "-c", ACTIVATE, *map(str, handed), "--"],
    )
    relay.process.handed = handed
    relay.address, relay.port, other = address, *[one.getsockname()[1] for one in held]
    relay.start()
    assert greets(relay.address, other)
    with load(relay.address, relay.port, "bob@held.test", clients=3) as sending:
        time.sleep(0.2)
        assert relay.process.stop() in (0, -signal.SIGTERM)
        before = len(sending.sent)
        relay.start()
        wait_until(lambda: len(sending.sent) > before + 20, "clients that have waited are served")
        relay.settings["listen"].append({"address": "systemd:submission"})
        relay.write_configuration()
        os.kill(relay.process.pid, signal.SIGHUP)
        why = "cannot listen on systemd:submission: systemd has handed over no socket of that name (it has handed over"
        wait_until(lambda: f'not-reloaded why="{why} smtp)' in relay.output, "it says that there is none")
        for one in held:
            one.close()
    assert sending.refused == []
    relay.wait_until_empty()
    assert {SUBJECT.findall(one.content)[0].decode() for one in hop.taken} == set(sending.sent)


def test_it_is_started_by_the_first_client(make_relay: StartRelay, loopback: Loopback) -> None:
    """By systemd's own program for that; the words of the unit are those of its options."""
    address = loopback.address()
    port = free_port(address)
    activate = [tool("systemd-socket-activate", "systemd"), f"--listen={address}:{port}", "--fdname=smtp", "--"]
    relay = make_relay(before=activate, listen=[{"address": "systemd:smtp", "tls": "none"}], workers=2)
    relay.address, relay.port = address, port
    relay.start()
    wait_until(
        lambda: "started hostname=relay.test workers=2" in relay.output, "the supervisor tells that it has begun"
    )
    submit(relay, "a@client.test", ["bob@first.test"], b"Subject: x\r\n\r\n")
    relay.stop()


def calls_of(name: str, seen: dict[str, list[str]]) -> Iterator[str]:
    """The system calls of a name of systemd's, which is one of them or a set, named @so."""
    if not name.startswith("@"):
        yield name
        return
    for one in seen[name]:
        yield from calls_of(one, seen)


def allowed_calls() -> set[str]:
    """What the unit's filters let through: each line adds to what those before it have left, or with a ~ takes away."""
    sets: dict[str, list[str]] = {}
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            sets[line.strip()] = filling = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            filling.append(line.strip())
    lines = settings("SystemCallFilter")
    assert not lines[0].startswith("~"), "or all would be let through that is not named"
    allowed = set(calls_of("@default", sets))
    for line in lines:
        named = {call for name in line.lstrip("~").split() for call in calls_of(name, sets)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed | set(calls_of("@default", sets))


@pytest.fixture
def confined(make_relay: StartRelay, tmp_path: Path, dns: Dns) -> Relay:
    """A relay on port 25 in two workers, with the unit's rights, whose system calls are written down."""
    if os.getuid():
        pytest.fail("needs root: only root has rights to take away")
    [right] = settings("AmbientCapabilities")
    assert settings("CapabilityBoundingSet") == [right]
    word = right.removeprefix("CAP_").lower()
    setpriv = [tool("setpriv", "util-linux"), "--no-new-privs", f"--bounding-set=-all,+{word}"]
    strace = [tool("strace", "strace"), "-f", "-s", "0", "-e", "signal=none", "-o", str(tmp_path / "trace")]
    issued = trustme.CA().issue_cert("relay.test")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    files = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    relay = make_relay(before=[*setpriv, "--", *strace], workers=2, tls=files)
    needs_port_25(relay.address)
    relay.port = 25
    relay.settings["listen"] = [{"address": relay.where}, {"address": "unix:door"}]
    relay.write_configuration()
    relay.start(within=60)
    return relay


def submit_by_starttls(relay: Relay, recipient: str) -> None:
    with smtplib.SMTP(relay.address, relay.port, "client.test", timeout=30) as client:
        client.starttls()
        client.sendmail("a@sender.test", [recipient], "Subject: hello\r\n\r\nbody\r\n")


def test_the_relay_does_all_its_work_with_what_the_unit_allows(
    confined: Relay, dns: Dns, sink: MakeSink, tmp_path: Path
) -> None:
    relay, hop = confined, sink()
    dns.zone("confined.test", f"@ MX 10 mx\nmx A {hop.address}")
    submit_by_starttls(relay, "bob@confined.test")
    hop.wait_for("bob@confined.test")
    submit(relay, "a@sender.test", ["large@confined.test"], b"Subject: x\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000)
    hop.wait_for("large@confined.test")
    supervisor = relay.pid_behind()
    workers = relay.workers(supervisor)
    for pid in (supervisor, *workers.values()):
        assert "CapEff:\t0000000000000400\n" in Path(f"/proc/{pid}/status").read_text()  # bit 10, ports below 1024
    os.kill(workers[1], signal.SIGKILL)
    wait_until(lambda: relay.output.count("started hostname=relay.test worker=1") == 2, "worker 1 is back", 30)
    os.kill(supervisor, signal.SIGTERM)
    relay.process.wait(30)
    assert relay.output.count("stopped hostname=relay.test") == 3

    used = CALL.findall((tmp_path / "trace").read_text(errors="replace"))
    allowed, names = allowed_calls(), {name for name, _ in used}
    assert {"execve", "accept4", "fdatasync", "epoll_wait", "recvmsg"} <= names & allowed
    assert {"mount", "setresuid", "chroot", "nice"}.isdisjoint(allowed), "it would be found"
    assert names - allowed <= OF_ROOT | TEMPORARY | TERMINAL
    [families] = settings("RestrictAddressFamilies")
    assert {family for name, family in used if name in ("socket", "socketpair")} <= set(families.split())
