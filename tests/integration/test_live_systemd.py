"""The unit for systemd: it is a good one, and the relay can do all its work within what it allows.

systemd itself is not asked to run it. What the kernel would refuse is found by tracing: system calls that the unit's
filter does not have, kinds of sockets that it does not list; of root's rights the relay is left with the unit's one.
"""

import os
import re
import signal
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from peers.clients import submit
from peers.daemon import PROGRAMS, Relay, StartRelay
from peers.ground import needs_port_25, tool, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink

UNIT = Path(__file__).parents[2] / "etc" / "systemd" / "mta.service"
CALL = re.compile(r"^\d+ +(\w+)\(([A-Z_0-9]*)", re.MULTILINE)
# Root gives what it makes to the owner of the folder, and the unit's user is not root, as these tests are.
OF_ROOT = {"chown", "fchown"}
TEMPORARY = {"restart_syscall"}  # the kernel's own


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
    return tmp_path / "mta.service"


def test_systemd_finds_nothing_wrong_with_it(unit: Path) -> None:
    said = analyze("verify", unit)
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


def calls_of(name: str, seen: dict[str, list[str]]) -> Iterator[str]:
    """The system calls of a name of systemd's, which is one of them or a set, named @so."""
    if not name.startswith("@"):
        yield name
        return
    for one in seen[name]:
        yield from calls_of(one, seen)


def allowed_calls() -> set[str]:
    """What the unit's filters let through: the first lists what there is, the second what of it there is not."""
    sets: dict[str, list[str]] = {}
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            sets[line.strip()] = filling = []
        elif line.startswith("    ") and not line.strip().startswith("#"):
            filling.append(line.strip())
    allowed, denied = settings("SystemCallFilter")
    assert denied.startswith("~")
    of = {name: set(calls_of(name, sets)) for name in f"{allowed} {denied[1:]} @default".split()}
    without = set().union(*(of[name] for name in denied[1:].split()))
    return set().union(*(of[name] for name in allowed.split())) - without | of["@default"]


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
    assert names - allowed <= OF_ROOT | TEMPORARY
    [families] = settings("RestrictAddressFamilies")
    assert {family for name, family in used if name in ("socket", "socketpair")} <= set(families.split())
