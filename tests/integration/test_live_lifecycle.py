"""Starting and ending: as a daemon, with fewer rights, on taken ports and taken spools, amid a transaction."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest
from peers.clients import Talk, submit
from peers.daemon import Relay, StartRelay, twistd
from peers.ground import Loopback, Process, greets, needs_port_25, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Sinks

# twistd ends by the signal that it was sent, so that whoever started it sees which; a daemon's end is seen by nobody.
ENDED = (0, -signal.SIGTERM)
CONTENT = b"Subject: hello\r\n\r\nbody\r\n"


def test_sigterm_lets_a_transaction_in_flight_end_and_keeps_what_is_queued(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks
) -> None:
    relay = start_relay()
    hop = sink()
    sinks.pause(hop)
    dns.zone("sigterm.test", f"@ MX 10 mx\nmx A {hop.address}")
    with Talk(relay.address, relay.port) as idle, Talk(relay.address, relay.port) as busy:
        for talk in (idle, busy):
            talk.reply()
            talk.say("EHLO client.test")
        busy.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@sigterm.test>\r\nDATA\r\n")
        assert [busy.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        busy.send(CONTENT)
        relay.process.signal(signal.SIGTERM)
        assert idle.reply().startswith("421")
        assert idle.reply() == ""
        wait_until(lambda: not greets(relay.address, relay.port), "nobody is let in any more")
        busy.send(b"more of it\r\n.\r\n")
        reply = busy.reply()
        assert reply.startswith("250 2.0.0 queued as ")
        assert relay.process.wait(within=10) in ENDED
    relay.start()
    sinks.resume(hop)
    [taken] = hop.wait_for("bob@sigterm.test")
    assert taken.content.endswith(CONTENT + b"more of it\r\n")
    assert relay.stop() in ENDED


def test_sigterm_without_clients_ends_at_once(start_relay: StartRelay) -> None:
    relay = start_relay()
    relay.process.signal(signal.SIGTERM)
    assert relay.process.wait(within=5) in ENDED


@pytest.mark.parametrize("way", ["foreground", "daemon"])
def test_a_port_that_is_taken_ends_the_start_with_status_1_and_is_named(
    make_relay: StartRelay, way: str, tmp_path: Path
) -> None:
    relay = make_relay()
    words = ["-n", "--pidfile="] if way == "foreground" else ["--pidfile", str(tmp_path / "pid")]
    with socket.create_server((relay.address, relay.port)):
        start = Process(f"relay-{way}", twistd(*words, "mta", "start", "--config", relay.configuration), tmp_path)
        start.start()
        try:
            assert start.wait(within=20) == 1
            assert relay.where in start.output
            assert "Traceback" not in start.output
        finally:
            start.forget()
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("way", ["foreground", "daemon"])
def test_a_socket_that_cannot_be_made_is_named(make_relay: StartRelay, way: str, tmp_path: Path) -> None:
    relay = make_relay(listen=[{"address": f"unix:{tmp_path}/nowhere/{'x' * 30}", "tls": "none"}])
    words = ["-n", "--pidfile="] if way == "foreground" else ["--pidfile", str(tmp_path / "pid")]
    start = Process(f"relay-{way}", twistd(*words, "mta", "start", "--config", relay.configuration), tmp_path)
    start.start()
    try:
        assert start.wait(within=20) == 1
        assert f"cannot listen on unix:{tmp_path}/nowhere/{'x' * 30}: No such file or directory\n" in start.output
        assert "Traceback" not in start.output
    finally:
        start.forget()


def test_a_certificate_that_is_not_there_is_a_mistake_of_the_configuration(
    make_relay: StartRelay, tmp_path: Path
) -> None:
    relay = make_relay(listen=[{"address": "127.0.0.1:0"}], tls={"certificate": "gone.pem", "key": "gone.key"})
    start = Process("relay-uncertified", twistd("-n", "mta", "start", "--config", relay.configuration), tmp_path)
    start.start()
    try:
        assert start.wait(within=20) == 1
        [told] = start.output.splitlines()
        where = f"{relay.configuration}:[1-9][0-9]*: tls.certificate: {relay.folder}/gone.pem: there is no such file; "
        assert re.match(where, told), told
    finally:
        start.forget()


def test_as_a_daemon_it_writes_a_pidfile_serves_and_ends(make_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    relay = make_relay()
    hop = sink()
    dns.zone("daemon.test", f"@ MX 10 mx\nmx A {hop.address}")
    pidfile = relay.folder / "mta.pid"
    command = twistd("--pidfile", pidfile, "--logfile", relay.folder / "log", "mta", "start", "--config", "mta.yml")
    start = Process("relay-daemon", command, relay.folder)
    start.start()
    try:
        assert start.wait(within=20) == 0, start.output
        wait_until(lambda: greets(relay.address, relay.port), "the daemon greets")
        pid = int(pidfile.read_text())
        assert pid != start.pid
        submit(relay, "a@client.test", ["bob@daemon.test"], CONTENT)
        hop.wait_for("bob@daemon.test")
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the daemon has ended")
        assert not pidfile.exists()
        assert "bob@daemon.test" in (relay.folder / "log").read_text()
    finally:
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        start.forget()


def test_port_25_is_bound_before_privileges_are_dropped(
    scratch: Path, make_relay: StartRelay, dns: Dns, sink: MakeSink, loopback: Loopback
) -> None:
    address = loopback.address()
    needs_port_25(address)
    if os.getuid():
        pytest.fail("needs root: only root has privileges to drop")
    hop = sink()
    dns.zone("dropped-rights.test", f"@ MX 10 mx\nmx A {hop.address}")
    folder = scratch / "unprivileged"
    folder.mkdir(mode=0o755)
    (folder / "spool").mkdir()
    shutil.chown(folder / "spool", "nobody", "nogroup")
    user = pwd.getpwnam("nobody")
    listen = [{"address": f"{address}:25", "tls": "none"}]
    relay = make_relay(folder=folder, options=["--uid", user.pw_uid, "--gid", user.pw_gid], listen=listen)
    relay.address, relay.port = address, 25
    relay.configuration.chmod(0o644)
    relay.start()
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}\n" in status
    assert f"Gid:\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}\n" in status
    queue_id = submit(relay, "a@client.test", ["bob@dropped-rights.test"], CONTENT)
    hop.wait_for("bob@dropped-rights.test")
    kept = list((folder / "spool").rglob("*"))
    assert kept
    assert {path.stat().st_uid for path in kept} == {user.pw_uid}
    assert not [path for path in kept if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    relay.wait_until_gone(queue_id)
    assert relay.stop() in ENDED


def test_a_spool_that_everybody_can_write_ends_the_start_and_one_of_a_group_is_told(make_relay: StartRelay) -> None:
    relay = make_relay()
    relay.spool.mkdir()
    relay.spool.chmod(0o777)
    relay.process.start()
    assert relay.process.wait(within=20) == 1
    assert f"mta: the spool {relay.spool} can be written by everybody on this machine; say: chmod go-w" in relay.output
    relay.spool.chmod(0o770)
    relay.start()
    assert f'alarm why="the spool {relay.spool} can be written by a group; say: chmod g-w ' in relay.output
    assert relay.stop() in ENDED


def test_a_second_relay_on_the_same_spool_is_refused_by_name(start_relay: StartRelay, make_relay: StartRelay) -> None:
    first = start_relay()
    second = make_relay(spool=str(first.spool))
    second.process.start()
    assert second.process.wait(within=20) == 1
    assert str(first.spool) in second.output
    assert str(first.process.pid) in second.output
    assert "Traceback" not in second.output
    assert greets(first.address, first.port)
    assert first.queue("--limit", "0")["totals"]["messages"] == 0


def test_a_wrong_configuration_never_starts_and_every_mistake_is_printed(make_relay: StartRelay) -> None:
    relay = make_relay(retry={"aftr": ["5m"], "give_up": "soon"}, relay={"networks": ["0.0.0.0/0"]})
    relay.process.start()
    assert relay.process.wait(within=20) == 1
    mistakes = [line for line in relay.output.splitlines() if line.startswith(f"{relay.configuration}:")]
    assert len(mistakes) == 3, relay.output
    assert any("retry.aftr" in line and "after" in line for line in mistakes)
    assert any("retry.give_up" in line and "soon" in line for line in mistakes)
    assert any("relay.networks" in line for line in mistakes)
    assert "Traceback" not in relay.output


def test_no_configuration_at_all_is_an_error_that_says_so(tmp_path: Path, loopback: Loopback) -> None:
    missing = tmp_path / "nowhere.yml"
    start = Process("relay-nowhere", twistd("-n", "--pidfile=", "mta", "start", "--config", missing), tmp_path)
    start.start()
    try:
        assert start.wait(within=20) == 1
        assert str(missing) in start.output
        assert "Traceback" not in start.output
    finally:
        start.forget()


def test_the_spool_is_private_and_survives_a_kill(
    start_relay: StartRelay, dns: Dns, sink: MakeSink, sinks: Sinks
) -> None:
    relay = start_relay()
    hop = sink()
    sinks.pause(hop)
    dns.zone("kill9.test", f"@ MX 10 mx\nmx A {hop.address}")
    ids = [submit(relay, "a@client.test", [f"bob{n}@kill9.test"], CONTENT) for n in range(5)]
    relay.kill()
    assert not [path for path in relay.spool.rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert sorted(one["id"] for one in relay.queue()["messages"]) == sorted(ids), "the queue is seen without the relay"
    sinks.resume(hop)
    relay.start()
    for n in range(5):
        assert len(hop.wait_for(f"bob{n}@kill9.test")) == 1


def test_a_killed_relay_listens_again_at_once_on_the_same_port(make_relay: StartRelay) -> None:
    relay: Relay = make_relay()
    for _ in range(2):
        relay.start()
        with Talk(relay.address, relay.port) as talk:
            assert talk.reply().startswith("220 relay.test")
            relay.kill()
    relay.start()
    assert relay.stop() in ENDED
