"""Relays the same load through this relay and through Postfix, in turn, and prints rates, CPU and their ratios.

The generator is Postfix's `smtp-source`, the next hop its `smtp-sink`: C programs of the peer's own, so that neither
favours us. Everything is on 127.0.0.1. Figures of one machine drift by half within minutes; only the ratios within a
run mean something, which is why every repeat visits each relay in turn.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
HZ = os.sysconf("SC_CLK_TCK")
PATIENCE = 120.0

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.bench.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
local_recipient_maps =
alias_maps =
alias_database =
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
syslog_name = bench
default_process_limit = 600
in_flow_delay = 0
qmgr_message_active_limit = 50000
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]:{sink}
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtp_dns_support_level = disabled
smtp_host_lookup = native
biff = no
"""

OURS = """
hostname: relay.bench.test
spool: {folder}/spool
listen: [{{address: "127.0.0.1:{port}", tls: none}}]
routes: [{{to: "*", via: "smtp://127.0.0.1:{sink}", tls: none}}]
limits: {{connections: 20000, connections_per_client: 20000}}
admin: {{listen: null}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_banner(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as probe:
                if probe.recv(3) == b"220":
                    return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nobody greets on port {port}")


def cpu_of_tree(root: int) -> float:
    """CPU seconds of a process, of all below it, and of those below it that have ended and been waited for."""
    children: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / HZ
    total, left = 0.0, [root]
    while left:
        one = left.pop()
        total += spent.get(one, 0.0)
        left += children.get(one, [])
    return total


class Sink:
    """`smtp-sink`, with a count of the messages it has taken."""

    def __init__(self, port: int) -> None:
        self.messages = 0
        command = ["smtp-sink", "-c", "-h", "sink.bench.test", f"127.0.0.1:{port}", "1000"]
        command[1:1] = ["-u", "nobody"] if os.geteuid() == 0 else []  # it refuses to be root
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        threading.Thread(target=self._count, daemon=True).start()
        wait_for_banner(port)

    def _count(self) -> None:
        assert self._process.stdout is not None
        while text := os.read(self._process.stdout.fileno(), 65536):
            counts = re.findall(rb"mesg=(\d+)", text)
            if counts:
                self.messages = int(counts[-1])

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def postfix(folder: Path, port: int, sink: int) -> Iterator[int]:
    """Tuned Postfix, durability untouched; its master's pid."""
    etc = folder / "etc"
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    folder.chmod(0o755)
    for name in ("postfix-files", "dynamicmaps.cf"):
        if Path("/etc/postfix", name).exists():
            shutil.copy(Path("/etc/postfix", name), etc)
    (etc / "main.cf").write_text(POSTFIX_MAIN.format(folder=folder, sink=sink))
    lines = []
    for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines():
        fields = line.split()
        if line[:1] not in ("", "#", " ", "\t") and len(fields) >= 8:
            fields[4] = "n"  # the scratch spool is no place to chroot to
            if fields[:2] == ["smtp", "inet"]:
                fields[0] = f"127.0.0.1:{port}"
            line = "\t".join(fields)
        lines.append(line)
    (etc / "master.cf").write_text("\n".join(lines) + "\n")
    subprocess.run(["postfix", "-c", etc, "start"], check=True, capture_output=True)
    try:
        wait_for_banner(port)
        yield int((folder / "spool/pid/master.pid").read_text())
    finally:
        subprocess.run(["postfix", "-c", etc, "stop"], capture_output=True)


@contextmanager
def ours(folder: Path, port: int, sink: int) -> Iterator[int]:
    """This checkout's relay; its pid."""
    (folder / "mta.yml").write_text(OURS.format(folder=folder, port=port, sink=sink))
    command = [HERE / ".venv/bin/twistd", "-n", "--pidfile=", "mta", "start", "--config", folder / "mta.yml"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            wait_for_banner(port)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


RELAYS = {"postfix": postfix, "mta": ours}


def one_run(port: int, pid: int, sink: Sink, load: argparse.Namespace) -> tuple[float, float]:
    """Messages a second from the first connection to the last delivery, and CPU milliseconds per message."""
    before, cpu, started = sink.messages, cpu_of_tree(pid), time.monotonic()
    command = ["smtp-source", "-s", str(load.sessions), "-m", str(load.messages), "-l", str(load.size)]
    command += ["-f", "from@bench.test", "-t", "to@bench.test"]
    command += ["-d"] if load.many else []  # -d: do not disconnect after each message
    source = subprocess.run([*command, f"127.0.0.1:{port}"], capture_output=True, timeout=PATIENCE)
    if source.returncode:
        raise SystemExit(f"smtp-source: {source.stderr.decode()}")
    seen, changed = -1, time.monotonic()
    while sink.messages - before < load.messages:
        if sink.messages != seen:
            seen, changed = sink.messages, time.monotonic()
        if time.monotonic() - changed > PATIENCE:
            raise SystemExit(f"only {seen - before} of {load.messages} messages arrived")
        time.sleep(0.005)
    seconds = time.monotonic() - started
    time.sleep(0.3)  # what is written after the last delivery counts too
    return load.messages / seconds, (cpu_of_tree(pid) - cpu) * 1000 / load.messages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relays", default="postfix,mta", help="which, in which order (postfix,mta)")
    parser.add_argument("--size", type=int, default=10240, help="octets of each message (10240)")
    parser.add_argument("--sessions", type=int, default=20, help="sessions at once (20)")
    parser.add_argument("--messages", type=int, default=3000, help="messages in each run (3000)")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved repeats (3)")
    parser.add_argument("--many", action="store_true", help="many messages per session, not one")
    load = parser.parse_args()
    missing = [name for name in ("smtp-source", "smtp-sink", "postfix") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"bench: {', '.join(missing)} not found: install the Debian package postfix")
    names = load.relays.split(",")
    rates: dict[str, list[float]] = {name: [] for name in names}
    costs: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="mta-bench-") as scratch:
        Path(scratch).chmod(0o755)
        for repeat in range(load.repeats):
            for name in names:
                folder = Path(scratch, f"{name}-{repeat}")
                folder.mkdir()
                port, sink_port = free_port(), free_port()
                sink = Sink(sink_port)
                try:
                    with RELAYS[name](folder, port, sink_port) as pid:
                        rate, cost = one_run(port, pid, sink, load)
                finally:
                    sink.stop()
                rates[name].append(rate)
                costs[name].append(cost)
                print(f"  {name:8} {rate:8.0f} messages/s {cost:8.3f} ms CPU each", file=sys.stderr)
    many = "many messages per session" if load.many else "one message per session"
    print(
        f"{load.messages} messages of {load.size} octets, {load.sessions} sessions, {many}; medians of {load.repeats}"
    )
    print(f"{'':10}{'messages/s':>12}{'ratio':>8}{'CPU ms each':>14}{'ratio':>8}")
    base = names[0]
    for name in names:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        by_rate = statistics.median(r / b for r, b in zip(rates[name], rates[base], strict=True))
        by_cost = statistics.median(c / b for c, b in zip(costs[name], costs[base], strict=True))
        print(f"{name:10}{rate:12.0f}{by_rate:8.2f}{cost:14.3f}{by_cost:8.2f}")


if __name__ == "__main__":
    main()
