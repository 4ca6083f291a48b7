"""`mta restart` and SIGUSR2: the program begins anew in its own process, and no client is refused meanwhile."""

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner
from peers.clients import Talk
from peers.daemon import PROGRAMS, Relay, StartRelay, twistd
from peers.ground import Loopback, Process, free_port, wait_until
from peers.load import load
from peers.sinks import MakeSink, Sink
from peers.web import Admin

from mta.cli.program import program
from mta.spool.database import APPLICATION_ID

SUBJECT = re.compile(rb"^Subject: (\S+)\r$", re.MULTILINE)


def by(hop: Sink) -> list[dict[str, str]]:
    return [{"to": "*", "via": f"smtp://{hop.address}:25"}]


def subjects(hop: Sink) -> Counter[str]:
    return Counter(SUBJECT.findall(one.content)[0].decode() for one in hop.taken)


def refusals(relay: Relay) -> list[str]:
    return re.findall(r'not-restarted why="(.*)"', relay.output)


def refuse_twice(relay: Relay) -> None:
    """What could not start leaves it as it is: a wrong configuration, asked for by a signal; a queue file of a newer
    version, asked for by the command."""
    right = relay.configuration.read_text()
    relay.configuration.write_text(right.replace("after:", "aftr:"))
    os.kill(relay.process.pid, signal.SIGUSR2)
    wait_until(lambda: refusals(relay), "it says that it does not", 60)
    assert "retry.aftr: is not a key here" in refusals(relay)[0]
    relay.configuration.write_text(right)
    newer = relay.spool / "queue-7.db"
    with contextlib.closing(apsw.Connection(str(newer))) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99; PRAGMA journal_mode = WAL")
    done = CliRunner().invoke(program, ["restart", "--config", str(relay.configuration)])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"not restarted: the queue file {newer} was written by a newer version")
    wait_until(lambda: refusals(relay)[1:], "its log says so too")
    assert refusals(relay)[1:] == [done.stderr.removeprefix("not restarted: ").strip()]
    assert " restarting " not in relay.output
    newer.unlink()


def test_nobody_is_refused_and_no_mail_is_lost_under_load(
    make_relay: StartRelay, sink: MakeSink, loopback: Loopback, tmp_path: Path
) -> None:
    """Over TCP, a Unix socket and HTTP; a transaction that is under way ends well, and an idle session is told."""
    hop = sink()
    relay = make_relay(routes=by(hop))
    admin = Admin(f"{relay.address}:{free_port(relay.address)}", None)
    door = tmp_path / "door"
    relay.settings["listen"].append({"address": f"unix:{door}", "tls": "none"})
    relay.settings["admin"] = {"listen": admin.where}
    relay.write_configuration()
    relay.start(within=60)
    pid, door_is = relay.process.pid, door.stat().st_ino
    with load(relay.address, relay.port, "bob@anew.test", clients=3) as sending:
        refuse_twice(relay)
        here = (relay.address, relay.port)
        with Talk(*here, timeout=60) as idle, Talk(*here, timeout=60) as busy:  # a rehearsal takes its time
            for talk in (idle, busy):
                talk.reply()
                talk.say("EHLO client.test")
            busy.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@anew.test>\r\nDATA\r\n")
            assert [busy.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
            command = [str(PROGRAMS / "mta"), "restart", "--config", str(relay.configuration)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.STDOUT) as restart:
                assert idle.reply().startswith("421 ")
                assert idle.reply() == ""
                busy.send(b"Subject: busy\r\n\r\nbody\r\n.\r\n")
                assert busy.reply().startswith("250 2.0.0 queued as ")
                assert busy.reply().startswith("421 ")
                said, _ = restart.communicate(timeout=60)
        assert (restart.returncode, said) == (0, f"restarted: version 0.1.0, process {pid}\n"), relay.output
        before = len(sending.sent)
        wait_until(lambda: len(sending.sent) > before + 10, "clients are served", 60)
    assert sending.refused == []
    assert relay.process.is_alive
    assert admin.ask("GET", "/readyz").status == 200
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(door))
        assert client.recv(100).startswith(b"220 relay.test")
    assert door.stat().st_ino == door_is
    relay.wait_until_empty()
    assert subjects(hop) == Counter([*sending.sent, "busy"])
    assert relay.stop() in (0, -signal.SIGTERM)
    assert not door.exists()
    assert not door.with_name("door.lock").is_symlink()
    assert not (relay.spool / "control").exists()


def test_a_daemon_of_several_workers_stays_the_process_that_its_pidfile_names(
    scratch: Path, make_relay: StartRelay, sink: MakeSink
) -> None:
    """With the user that it has become, and a log that is root's and cannot be opened again. Of two workers there is
    one afterwards, which has the sockets of both."""
    if os.getuid():
        pytest.fail("needs root: only root has privileges to drop")
    hop, folder = sink(), scratch / "anew"
    for one in (folder, folder / "spool", folder / "run"):
        one.mkdir(mode=0o755)
        if one != folder:
            shutil.chown(one, "nobody", "nogroup")
    relay = make_relay(folder=folder, routes=by(hop), workers=2)
    relay.configuration.chmod(0o644)
    pidfile, log = folder / "run" / "mta.pid", folder / "log"
    words = ["--pidfile", "run/mta.pid", "--logfile", "log", "--uid", "nobody", "--gid", "nogroup"]
    start = Process("relay-anew", twistd(*words, "mta", "start", "--config", "mta.yml"), folder)
    start.start()
    try:
        assert start.wait(within=60) == 0, start.output
        pid = int(pidfile.read_text())
        with load(relay.address, relay.port, "bob@daemon.test", clients=3) as sending:
            relay.settings["workers"] = 1
            relay.write_configuration()
            done = CliRunner().invoke(program, ["restart", "--config", str(relay.configuration)])
            before = len(sending.sent)
            wait_until(lambda: len(sending.sent) > before + 10, "clients are served", 60)
        assert done.stdout == f"restarted: version 0.1.0, process {pid}\n", log.read_text()
        assert sending.refused == []
        assert int(pidfile.read_text()) == pid
        uid = pwd.getpwnam("nobody").pw_uid
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in Path(f"/proc/{pid}/status").read_text()
        relay.wait_until_empty()
        assert subjects(hop) == Counter(sending.sent)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the daemon has ended")
        assert not pidfile.exists()
        told = log.read_text()
        assert log.stat().st_uid == 0
        assert len(re.findall(r"^\S+ \w+ received ", told, re.MULTILINE)) == len(sending.sent)
        assert "Traceback" not in told
    finally:
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        start.forget()


def test_a_queue_file_that_is_found_damaged_in_between_is_not_followed_by_an_empty_one(make_relay: StartRelay) -> None:
    """A worker that is being started finds it so when the relay already ends, to begin anew."""
    relay = make_relay(workers=2)
    relay.start(within=60)
    file, before = relay.spool / "queue-1.db", relay.workers()[1]
    with (relay.spool / "queue-1.lock").open("rb") as lock:
        os.kill(before, signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until(lambda: relay.workers().get(1, before) != before, "it is being started again")
        worker = relay.workers()[1]
        os.kill(worker, signal.SIGSTOP)
        with file.open("r+b") as spoiled:  # but for its first page, which is what a rehearsal looks at
            spoiled.seek(4096)
            spoiled.write(b"\xff" * (file.stat().st_size - 4096))
        os.kill(relay.process.pid, signal.SIGUSR2)
        wait_until(lambda: " restarting " in relay.output, "the relay ends", 60)
    os.kill(worker, signal.SIGCONT)
    assert relay.process.wait(within=30) == 1
    assert f'alarm why="the queue file {file} is damaged' in relay.output
    assert not file.exists()
    [_] = relay.spool.glob("queue-1.db.damaged-*Z")
