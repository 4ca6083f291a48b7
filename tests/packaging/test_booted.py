"""The package in a system that systemd runs: started, watched, reloaded, started anew, upgraded, with clients all the
while. systemd is process 1 of namespaces of its own, with a network in which there is nobody else.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from building import PYTHON, make_root, run, tool

HERE = Path(__file__).parent
INSIDE = (
    f"python3,{PYTHON},debconf,systemd,systemd-sysv,init-system-helpers,libgcc-s1,ca-certificates,iproute2,hostname"
)
CONFIGURATION = """\
hostname: mail.example.org
spool: /var/lib/mta/spool
listen: [{address: "127.0.0.1:25"}]
routes: [{to: "*", via: discard}]
tls: {certificate: certificate.pem, key: key.pem}
workers: 2
"""


class Booted:
    """A Debian root, and the system that runs in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.configuration = root / "etc/mta/mta.yml"
        self._group = _group_of_our_own()
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        spaces = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--fork", "--kill-child")
        command = (tool("unshare", "util-linux"), *spaces, "sh", HERE / "boot.sh", self.root)

        def join() -> None:
            (self._group / "cgroup.procs").write_text(str(os.getpid()))

        with (self.root.parent / "boot.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=join)
        self.wait_for(lambda: self.ask("systemctl", "is-system-running") in ("running", "degraded"), "it has booted")

    def inside(self, *words: str | Path) -> list[str | Path]:
        """The command line that does this inside."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        assert children, (self.root.parent / "boot.log").read_text()
        return [tool("nsenter", "util-linux"), "--target", children[0], "--all", "--root", "--wd", *words]

    def run(self, *words: str | Path) -> str:
        """Do something that has to go well; what it says."""
        path = "/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*self.inside("env", "-C", "/", *words), PATH=f"{os.environ['PATH']}:{path}", HOME="/root").strip()

    def ask(self, *words: str | Path) -> str:
        """What it says, whatever it comes to; "" where there is nothing to ask yet."""
        try:
            return subprocess.run(self.inside(*words), capture_output=True, text=True, timeout=60).stdout.strip()
        except AssertionError:
            return ""

    def install(self, package: Path) -> str:
        shutil.copy(package, self.root / "package.deb")
        return self.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--install", "/package.deb")

    def shows(self, *keys: str) -> list[str]:
        """What systemd knows of the service."""
        told = self.run("systemctl", "show", "mta.service", *(f"--property={key}" for key in keys))
        found = dict(line.split("=", 1) for line in told.splitlines())
        return [found[key] for key in keys]

    @property
    def pid(self) -> int:
        """The service's main process, as numbered inside."""
        return int(self.shows("MainPID")[0])

    def journal(self) -> str:
        return self.run("journalctl", "--unit=mta", "--no-pager", "--output=cat")

    @contextmanager
    def clients(self, seconds: int) -> Iterator[dict[str, Any]]:
        """Clients for so long; what became of them is there at the end."""
        shutil.copy(HERE / "sending.py", self.root)
        told: dict[str, Any] = {}
        command = self.inside("python3", "/sending.py", str(seconds))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sending:
            time.sleep(1)
            yield told
            said, _ = sending.communicate(timeout=seconds + 120)
            told.update(json.loads(said))

    def wait_for(self, done: Any, what: str, within: float = 60) -> None:
        end = time.monotonic() + within
        while not done():
            assert time.monotonic() < end, what
            time.sleep(0.2)

    def halt(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)  # and with it its process 1, and so all
            self._process.wait(30)
        _remove_groups(self._group)


def _group_of_our_own() -> Path:
    """A control group for it, in the hierarchy that systemd works with."""
    mounted = re.findall(r"^\S+ (\S+) cgroup2 ", Path("/proc/mounts").read_text(), re.MULTILINE)
    assert mounted, "no cgroup2 is mounted here, in which systemd keeps its services"
    group = Path(mounted[0]) / f"mta-tests-{os.getpid()}"
    group.mkdir()
    return group


def _remove_groups(group: Path) -> None:
    for _ in range(50):  # what was killed is there for a moment yet
        try:
            for one in sorted((one for one in group.rglob("*") if one.is_dir()), reverse=True):
                one.rmdir()
            group.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    system = Booted(make_root(tmp_path_factory.mktemp("booted"), INSIDE))
    try:
        system.boot()
        yield system
    finally:
        system.halt()


def give_certificate(booted: Booted) -> None:
    issued = trustme.CA().issue_cert("mail.example.org")
    folder = booted.root / "etc/mta"
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    booted.run("chown", "mta:", "/etc/mta/key.pem", "/etc/mta/certificate.pem")


@pytest.mark.soak
def test_its_life_under_systemd(booted: Booted, package: Path, upgrade: Path) -> None:
    booted.install(package)
    assert booted.shows("ActiveState", "SubState", "Type", "NRestarts") == ["active", "running", "notify", "0"]
    assert booted.shows("StatusText") == ["sessions: 0, deliveries under way: 0"]
    said = booted.run("systemd-analyze", "security", "--no-pager", "--threshold=19", "mta.service")
    assert re.search(r"Overall exposure level for mta.service: [01]\.\d ", said), said
    give_certificate(booted)
    booted.configuration.write_text(CONFIGURATION)
    booted.run("mta", "restart")
    assert booted.shows("StatusText") == ["2 of 2 workers are at work"]

    # Reloaded and begun anew, it is the same process, and no client is refused.
    pid = booted.pid
    with booted.clients(12) as told:
        booted.run("systemctl", "reload", "mta")
        for _ in range(2):
            assert f"process {pid}" in booted.run("mta", "restart")
    assert (told["refused"], booted.pid, booted.shows("NRestarts")) == ([], pid, ["0"])
    sent = told["sent"]

    # An upgrade, with no socket of systemd's.
    with booted.clients(40) as told:
        assert "version of before" not in booted.install(upgrade)
    assert (told["refused"], booted.pid) == ([], pid)
    sent += told["sent"]

    # One that stands still is ended, and started.
    dropped_in = booted.root / "etc/systemd/system/mta.service.d"
    dropped_in.mkdir()
    (dropped_in / "often.conf").write_text("[Service]\nWatchdogSec=20\n")
    booted.run("systemctl", "daemon-reload")
    booted.run("systemctl", "restart", "mta")
    pid = booted.pid
    assert "restarted" in booted.run("mta", "restart"), "which the watchdog does not notice"
    time.sleep(25)
    assert (booted.pid, booted.shows("NRestarts")) == (pid, ["0"])
    booted.run("sh", "-c", f"kill -STOP {pid}")  # of the shell: a small system has no other one
    booted.wait_for(lambda: booted.shows("NRestarts", "SubState") == ["1", "running"], "it is started again", 120)
    assert booted.pid != pid
    shutil.rmtree(dropped_in)
    booted.run("systemctl", "daemon-reload")

    # What somebody has to see to is not started again and again.
    booted.configuration.write_text(CONFIGURATION.replace("workers", "wrokers"))
    assert 'did you mean "workers"' in booted.ask("mta", "check") + booted.ask("sh", "-c", "mta check 2>&1")
    booted.ask("systemctl", "restart", "mta")
    time.sleep(4)
    assert booted.shows("ActiveState", "ExecMainStatus", "NRestarts") == ["failed", "1", "0"]

    # Started by the first client, with sockets that systemd holds; who comes while it is away waits.
    booted.configuration.write_text(CONFIGURATION.replace("127.0.0.1:25", "systemd:smtp"))
    booted.run("systemctl", "enable", "--now", "mta.socket")
    assert booted.shows("ActiveState") != ["active"]
    with booted.clients(20) as told:
        booted.wait_for(lambda: booted.shows("ActiveState") == ["active"], "the first client has it started")
        booted.run("systemctl", "restart", "mta")
        booted.run("mta", "restart")
        booted.run("systemctl", "reload", "mta")
    assert told["refused"] == []
    sent += told["sent"]
    assert sent > 100
    assert "the sums match" in booted.run("mta", "audit")
    assert booted.run("mta", "queue", "--limit", "0").startswith("0 messages")
    assert "Traceback" not in booted.journal()

    booted.run("dpkg", "--purge", "mta")
    assert booted.ask("systemctl", "is-active", "mta.service", "mta.socket").split() == ["inactive", "inactive"]
