"""Several workers: all take mail and send it on, one that dies is back at once, and a spool is shared out again."""

import contextlib
import fcntl
import json
import os
import pwd
import re
import resource
import shutil
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import apsw
import pytest
from peers.clients import QUEUED, Talk, submit
from peers.daemon import Relay, StartRelay, twistd
from peers.ground import Process, free_port, greets, wait_until
from peers.knot import Dns
from peers.sinks import MakeSink, Sink, Sinks
from peers.submission import Papers

from mta.message.envelope import WORKERS, parse_queue_id

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"".join(b"%08d: all of this is one content\r\n" % n for n in range(10_000))
ENDED = (0, -signal.SIGTERM)
QUICK = """
import runpy, sys
from mta.workers import pulse
pulse.OFTEN = 0.5
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def worker_of(queue_id: str) -> int:
    number = parse_queue_id(queue_id)
    assert number is not None
    return number % WORKERS


def submit_to_each(relay: Relay, recipient: str, workers: int, content: bytes = CONTENT) -> dict[int, list[str]]:
    """Send until each worker has taken something, which the kernel decides; the queue ids by worker."""
    taken: dict[int, list[str]] = {}
    for _ in range(200):
        queue_id = submit(relay, "a@client.test", [recipient], content)
        taken.setdefault(worker_of(queue_id), []).append(queue_id)
        if len(taken) == workers:
            return taken
    pytest.fail(f"of {workers} workers only {sorted(taken)} ever took anything")


def all_ids(taken: dict[int, list[str]]) -> list[str]:
    return sorted(one for ids in taken.values() for one in ids)


def queue_files(relay: Relay) -> set[str]:
    return {path.name for path in relay.spool.glob("queue-*.db")}


def wait_until_back(relay: Relay, number: int, before: int) -> int:
    """Wait until a worker is there again; its process id."""
    wait_until(lambda: relay.workers().get(number, before) != before, f"worker {number} is back", 10)
    return relay.workers()[number]


@pytest.fixture
def paused(sink: MakeSink, sinks: Sinks, dns: Dns, request: pytest.FixtureRequest) -> tuple[Sink, str]:
    """A next hop that is down, and somebody there."""
    hop = sink()
    sinks.pause(hop)
    zone = f"{request.node.originalname.removeprefix('test_')[:40].strip('_').replace('_', '-')}.test"
    dns.zone(zone, f"@ MX 10 mx\nmx A {hop.address}")
    return hop, f"bob@{zone}"


def test_each_worker_takes_mail_and_sends_it_on(start_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    relay = start_relay(workers=2)
    hop = sink()
    dns.zone("workers.test", f"@ MX 10 mx\nmx A {hop.address}")
    taken = submit_to_each(relay, "bob@workers.test", 2)
    assert set(taken) == {0, 1}
    arrived = hop.wait_for("bob@workers.test", len(all_ids(taken)))
    assert len(arrived) == len(all_ids(taken))
    relay.wait_until_empty()
    assert queue_files(relay) == {"queue-0.db", "queue-1.db"}
    for queue_id in (taken[0][0], taken[1][0]):
        assert relay.story_of(queue_id)["recipients"][0]["state"] == "delivered"
    assert "worker=0" in relay.output
    assert "worker=1" in relay.output
    assert relay.stop() in ENDED


def test_auto_is_one_for_each_core(start_relay: StartRelay) -> None:
    cores = len(os.sched_getaffinity(0))
    relay = start_relay(workers="auto")
    assert len(relay.workers()) == (cores if cores > 1 else 0)
    assert queue_files(relay) == {f"queue-{n}.db" for n in range(cores)}


def test_with_one_for_each_core_each_keeps_to_its_own(start_relay: StartRelay) -> None:
    cores = os.sched_getaffinity(0)
    workers = start_relay(workers=len(cores)).workers()
    assert len(cores) == 1 or {min(os.sched_getaffinity(pid)) for pid in workers.values()} == cores
    assert all(len(os.sched_getaffinity(pid)) == 1 for pid in workers.values())


def test_with_another_number_they_go_where_the_kernel_sends_them(start_relay: StartRelay) -> None:
    cores = os.sched_getaffinity(0)
    for pid in start_relay(workers=len(cores) + 1).workers().values():
        assert os.sched_getaffinity(pid) == cores


def test_with_one_worker_there_is_one_process(start_relay: StartRelay) -> None:
    assert start_relay(workers=1).workers() == {}


def test_a_unix_socket_is_shared(make_relay: StartRelay, scratch: Path) -> None:
    path = scratch / "workers.sock"
    relay = make_relay(workers=2)
    relay.settings["listen"].append({"address": f"unix:{path}", "tls": "none"})
    relay.write_configuration()
    relay.start()
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            assert client.recv(100).startswith(b"220 ")
    os.kill(relay.workers()[0], signal.SIGKILL)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        assert client.recv(100).startswith(b"220 ")
    assert relay.stop() in ENDED
    assert not path.exists()


def test_a_worker_that_is_killed_is_back_at_once_with_all_that_it_had(
    start_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = start_relay(workers=2)
    said = is_back_with_all_that_it_had(relay, signal.SIGKILL, paused, sinks)
    assert "was ended by SIGKILL" in said


def test_a_worker_that_hangs_is_killed_and_is_back_with_all_that_it_had(
    make_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = make_relay(workers=2, before=[sys.executable, "-c", QUICK])
    relay.start()
    said = is_back_with_all_that_it_had(relay, signal.SIGSTOP, paused, sinks)
    assert "has not answered for " in said
    assert relay.output.count("is killed") == 1


def is_back_with_all_that_it_had(relay: Relay, ended_by: signal.Signals, paused: tuple[Sink, str], sinks: Sinks) -> str:
    """One worker of two is sent a signal, and another does what it had to. Returns what the log said of it."""
    hop, bob = paused
    taken = submit_to_each(relay, bob, 2)
    before = relay.workers()
    os.kill(before[1], ended_by)
    # Half of these come to a socket that nobody accepts from now; it is held, and so are they.
    talks = [Talk(relay.address, relay.port) for _ in range(20)]
    assert [talk.reply()[:3] for talk in talks] == ["220"] * 20
    for talk in talks:
        talk.close()
    after = wait_until_back(relay, 1, before[1])
    assert relay.workers() == {0: before[0], 1: after}
    sinks.resume(hop)
    hop.wait_for(bob, len(all_ids(taken)))
    relay.wait_until_empty()
    assert len(hop.messages_for(bob)) == len(all_ids(taken))
    said = re.search(rf'alarm why="worker 1 \(process {before[1]}\) (.*)', relay.output)
    assert said is not None
    return said[1]


def test_a_worker_that_ends_at_once_again_and_again_is_given_time(start_relay: StartRelay) -> None:
    relay = start_relay(workers=2)
    for pause in ("at once", "in 1 s", "in 2 s"):
        before = wait_until(lambda: relay.workers().get(0), "worker 0 is there")
        assert before is not None
        os.kill(before, signal.SIGKILL)
        line = f"worker 0 (process {before}) was ended by SIGKILL; it is started again {pause}"
        wait_until(lambda: line in relay.output, line)  # noqa: B023
    assert 1 in relay.workers()
    assert relay.stop() in ENDED, "also while one of them waits to be started again"


def test_a_worker_that_cannot_start_again_says_why_until_it_can(start_relay: StartRelay) -> None:
    relay = start_relay(workers=2)
    with (relay.spool / "queue-1.lock").open("rb") as lock:
        os.kill(relay.workers()[1], signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until(lambda: "cannot start: the spool" in relay.output, "it says that the spool is in use", 10)
    wait_until(lambda: relay.output.count("started hostname=relay.test worker=1") == 2, "it has started", 20)
    assert greets(relay.address, relay.port)


def test_sigterm_lets_transactions_in_flight_end(
    start_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = start_relay(workers=2)
    hop, bob = paused
    busy = [Talk(relay.address, relay.port) for _ in range(8)]
    idle = [Talk(relay.address, relay.port) for _ in range(8)]
    for talk in (*busy, *idle):
        talk.reply()
        talk.say("EHLO client.test")
    for talk in busy:
        talk.send(f"MAIL FROM:<a@client.test>\r\nRCPT TO:<{bob}>\r\nDATA\r\n".encode())
        assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
    relay.process.signal(signal.SIGTERM)
    assert {talk.reply()[:3] for talk in idle} == {"421"}
    wait_until(lambda: not greets(relay.address, relay.port), "nobody is let in any more")
    for talk in busy:
        talk.send(CONTENT + b".\r\n")
        assert talk.reply().startswith("250 2.0.0 queued as ")
    assert relay.process.wait(within=10) in ENDED
    for talk in (*busy, *idle):
        talk.close()
    sinks.resume(hop)
    relay.start()
    hop.wait_for(bob, 8)


def test_ctrl_c_ends_it_in_good_order(make_relay: StartRelay, paused: tuple[Sink, str]) -> None:
    """A terminal sends SIGINT to all of them."""
    relay = make_relay(workers=2)
    relay.start()
    workers = relay.workers()
    submit_to_each(relay, paused[1], 2)
    os.killpg(relay.process.pid, signal.SIGINT)
    assert relay.process.wait(within=10) in (0, -signal.SIGINT)
    assert relay.output.count("stopped hostname=relay.test worker=") == 2
    assert "Traceback" not in relay.output
    assert not [pid for pid in workers.values() if Path(f"/proc/{pid}").exists()]


def test_when_the_supervisor_is_killed_the_workers_stop_and_lose_nothing(
    start_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = start_relay(workers=2)
    hop, bob = paused
    taken = submit_to_each(relay, bob, 2)
    workers = relay.workers()
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        talk.send(f"MAIL FROM:<a@client.test>\r\nRCPT TO:<{bob}>\r\nDATA\r\n".encode())
        assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        os.kill(relay.process.pid, signal.SIGKILL)
        relay.process.wait()
        wait_until(lambda: not greets(relay.address, relay.port), "nobody is let in any more", 3)
        talk.send(CONTENT + b".\r\n")
        last = QUEUED.match(talk.reply())
        assert last, "what was under way ends as it should"
    wait_until(lambda: not [pid for pid in workers.values() if Path(f"/proc/{pid}").exists()], "they have ended", 5)
    assert relay.output.count("stopped hostname=relay.test worker=") == 2
    sinks.resume(hop)
    relay.start()
    hop.wait_for(bob, len(all_ids(taken)) + 1)
    relay.wait_until_empty()
    assert len(hop.messages_for(bob)) == len(all_ids(taken)) + 1


def begin_transactions(relay: Relay, recipient: str, number: int) -> list[Talk]:
    """So many sessions, in all workers, between RCPT and DATA."""
    talks = [Talk(relay.address, relay.port) for _ in range(number)]
    for talk in talks:
        talk.reply()
        talk.say("EHLO client.test")
        talk.send(f"MAIL FROM:<a@client.test>\r\nRCPT TO:<{recipient}>\r\n".encode())
        assert [talk.reply()[:3] for _ in range(2)] == ["250", "250"]
    return talks


def assert_that_all_has_ended(relay: Relay, pids: list[int]) -> None:
    wait_until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "all of them have ended", 5)
    assert relay.output.count("stopped hostname=relay.test worker=") == 2
    assert relay.output.count("stopped hostname=relay.test workers=2") == 1
    assert "Traceback" not in relay.output
    for path in relay.spool.glob("*.lock"):
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_sigterm_to_all_processes_lets_transactions_in_flight_end(
    start_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    """As systemd stops a service, unless it is told otherwise."""
    relay = start_relay(workers=2)
    hop, bob = paused
    pids = [relay.process.pid, relay.parent(), *relay.workers().values()]
    talks = begin_transactions(relay, bob, 8)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not greets(relay.address, relay.port), "nobody is let in any more")
    for talk in talks[:4]:
        assert talk.say("DATA").startswith("354 ")
        talk.send(CONTENT + b".\r\n")
        assert talk.reply().startswith("250 2.0.0 queued as ")
    assert relay.process.wait(within=15) in ENDED, "the other four have the 10 seconds, and no more"
    assert_that_all_has_ended(relay, pids)
    for talk in talks:
        talk.close()
    sinks.resume(hop)
    relay.start()
    hop.wait_for(bob, 4)


def test_the_parent_of_the_workers_ends_with_the_supervisor_only(start_relay: StartRelay) -> None:
    relay = start_relay(workers=2)
    parent = relay.parent()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(parent, number)
    before = relay.workers()[0]
    os.kill(before, signal.SIGKILL)
    wait_until_back(relay, 0, before)
    assert relay.stop() in ENDED
    wait_until(lambda: not Path(f"/proc/{parent}").exists(), "it has ended", 5)


def test_without_their_parent_the_workers_stop_in_good_order(start_relay: StartRelay, paused: tuple[Sink, str]) -> None:
    relay = start_relay(workers=2)
    pids = [relay.process.pid, relay.parent(), *relay.workers().values()]
    talks = begin_transactions(relay, paused[1], 8)
    os.kill(relay.parent(), signal.SIGKILL)
    wait_until(lambda: "so this relay stops" in relay.output, "the supervisor has noticed")
    for talk in talks[:4]:
        assert talk.say("DATA").startswith("354 ")
        talk.send(CONTENT + b".\r\n")
        assert talk.reply().startswith("250 2.0.0 queued as ")
    assert relay.process.wait(within=15) == 0
    assert_that_all_has_ended(relay, pids)
    for talk in talks:
        talk.close()


def test_a_worker_that_stays_away_keeps_nobody_waiting(start_relay: StartRelay) -> None:
    relay = start_relay(workers=2)
    with (relay.spool / "queue-1.lock").open("rb") as lock:
        os.kill(relay.workers()[1], signal.SIGKILL)
        fcntl.flock(lock, fcntl.LOCK_EX)
        wait_until(lambda: "it is started again in 2 s" in relay.output, "it could not start twice", 10)
        for _ in range(20):
            with Talk(relay.address, relay.port) as talk:
                assert talk.reply().startswith("220 ")
        assert set(relay.workers()) <= {0, 1}
        assert relay.output.count("started hostname=relay.test worker=1") == 1
    wait_until(lambda: relay.output.count("started hostname=relay.test worker=1") == 2, "it has started", 20)
    submit_to_each(relay, "bob@nowhere.invalid", 2)


def test_a_worker_whose_queue_file_is_damaged_later_ends_the_relay(make_relay: StartRelay) -> None:
    """It would go on with an empty queue if it were started once more."""
    relay = make_relay(workers=2)
    relay.start()
    worker = relay.workers()[1]
    (relay.spool / "queue-1.db").write_bytes(b"this is no queue file" * 1000)
    os.kill(worker, signal.SIGKILL)
    assert relay.process.wait(within=20) == 1
    assert f'alarm why="the queue file {relay.spool}/queue-1.db is damaged' in relay.output
    assert not (relay.spool / "queue-1.db").exists(), "no other one has been made"
    aside = min(relay.spool.glob("queue-1.db.damaged-*"), key=lambda path: len(path.name))
    assert aside.read_bytes().startswith(b"this is no queue file")
    assert "Traceback" not in relay.output
    assert relay.output.count("stopped hostname=relay.test workers=2") == 1


def test_without_files_to_open_a_worker_is_started_again_later(start_relay: StartRelay) -> None:
    relay = start_relay(workers=2)
    before = relay.workers()
    _, hard = resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    os.kill(before[0], signal.SIGKILL)
    line = "worker 0 cannot be started: [Errno 24] Too many open files; it is tried again in 1 s"
    wait_until(lambda: line in relay.output, line)
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until_back(relay, 0, before[0])
    assert relay.workers()[1] == before[1]
    submit_to_each(relay, "bob@nowhere.invalid", 2)
    assert "Traceback" not in relay.output
    assert relay.stop() in ENDED


def test_without_a_free_descriptor_another_worker_serves_and_where_there_is_none_it_is_said(
    start_relay: StartRelay,
) -> None:
    relay = start_relay(workers=2)
    submit_to_each(relay, "bob@nowhere.invalid", 2)
    greetings: list[bytes] = []
    for short in (0, 1):
        worker = relay.workers()[short]
        taken = {int(one.name) for one in Path(f"/proc/{worker}/fd").iterdir()}
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), hard))
        greetings.clear()
        for _ in range(40):  # of which the kernel gives some to each
            with socket.create_connection((relay.address, relay.port), timeout=5) as client:
                greetings.append(client.recv(512)[:3])
        assert set(greetings) <= {b"220", b"421"}, "nobody is left without a word"
        if short == 0:
            assert greetings.count(b"421") <= 1, "the other one hears of it by whom it has passed on"
    assert b"421" in greetings
    line = "who connects cannot be served: Too many open files"
    assert 1 <= relay.output.count(line) <= 2, "of each, once a minute"
    for worker in relay.workers().values():
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until(lambda: greets(relay.address, relay.port), "it has room again")
    assert "Traceback" not in relay.output
    assert relay.stop() in ENDED


@pytest.mark.parametrize("mine", [1, 2])
@pytest.mark.parametrize("theirs", [1, 2])
def test_a_second_relay_is_refused_by_name_and_process(
    start_relay: StartRelay, make_relay: StartRelay, mine: int, theirs: int
) -> None:
    first = start_relay(workers=mine)
    second = make_relay(spool=str(first.spool), workers=theirs)
    second.process.start()
    assert second.process.wait(within=20) == 1
    sentence = f"mta: the spool {first.spool} is in use by another relay, process {first.process.pid} (queue 0)\n"
    assert sentence in second.output
    assert "Traceback" not in second.output
    assert greets(first.address, first.port)
    assert not greets(second.address, second.port)


def test_addresses_are_not_shared_with_another_relay(start_relay: StartRelay, make_relay: StartRelay) -> None:
    """SO_REUSEPORT would let it listen beside the first one, and take half of its mail."""
    first = start_relay(workers=2)
    second = make_relay(workers=2, listen=[{"address": first.where, "tls": "none"}])
    second.process.start()
    assert second.process.wait(within=20) == 1
    assert f"mta: cannot listen on {first.where}: Address already in use\n" in second.output


@pytest.mark.parametrize("way", ["foreground", "daemon"])
def test_a_damaged_queue_file_of_any_worker_ends_the_start(make_relay: StartRelay, way: str, tmp_path: Path) -> None:
    relay = make_relay(workers=2)
    relay.start()
    relay.stop()
    (relay.spool / "queue-1.db").write_bytes(b"this is no queue file" * 1000)
    words = ["-n", "--pidfile="] if way == "foreground" else ["--pidfile", str(tmp_path / "pid")]
    start = Process(f"relay-{way}", twistd(*words, "mta", "start", "--config", relay.configuration), tmp_path)
    start.start()
    try:
        assert start.wait(within=20) == 1
        assert f"mta: the queue file {relay.spool}/queue-1.db is damaged" in start.output
        assert "Traceback" not in start.output
        assert not (tmp_path / "pid").exists()
        assert not greets(relay.address, relay.port)
    finally:
        start.forget()


def test_as_a_daemon(make_relay: StartRelay, dns: Dns, sink: MakeSink) -> None:
    relay = make_relay(workers=2, log={"format": "json"})
    hop = sink()
    dns.zone("workers-daemon.test", f"@ MX 10 mx\nmx A {hop.address}")
    pidfile, log = relay.folder / "mta.pid", relay.folder / "log"
    command = twistd("--pidfile", pidfile, "--logfile", log, "mta", "start", "--config", "mta.yml")
    start = Process("relay-workers-daemon", command, relay.folder)
    start.start()
    try:
        assert start.wait(within=20) == 0, start.output
        taken = submit_to_each(relay, "bob@workers-daemon.test", 2)
        hop.wait_for("bob@workers-daemon.test", len(all_ids(taken)))
        os.kill(int(pidfile.read_text()), signal.SIGTERM)
        wait_until(lambda: not pidfile.exists(), "the daemon has ended")
        ids = {json.loads(line)["id"] for line in log.read_text().splitlines()}
        assert ids.issuperset(all_ids(taken))
    finally:
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        start.forget()


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_lines_of_the_log_are_whole(make_relay: StartRelay, dns: Dns, sink: MakeSink, way: str) -> None:
    """Lines that are longer than what a pipe takes at once, from both workers at the same time."""
    relay = make_relay(workers=2, log={"format": "json"})
    hop = sink()
    dns.zone("lines.test", f"@ MX 10 mx\nmx A {hop.address}")
    command = twistd("-n", "--pidfile=", "mta", "start", "--config", relay.configuration)
    written: list[bytes] = []
    log = relay.folder / "log"
    with contextlib.ExitStack() as stack:
        if way == "file":
            output = stack.enter_context(log.open("ab"))
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=relay.folder)
        else:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=relay.folder)
            assert process.stdout is not None
            pipe = process.stdout
            reader = threading.Thread(target=lambda: written.extend(iter(lambda: pipe.read1(4096), b"")))
            reader.start()
        try:
            wait_until(lambda: greets(relay.address, relay.port), "it greets")
            recipients = [f"{'x' * 40}{n}@lines.test" for n in range(300)]
            senders = [threading.Thread(target=submit_many, args=(relay, recipients)) for _ in range(6)]
            for one in senders:
                one.start()
            for one in senders:
                one.join(60)
            relay.wait_until_empty(within=60)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(15)
        if way == "pipe":
            reader.join(10)
            pipe.close()
            log.write_bytes(b"".join(written))
    lines = [line for line in log.read_text().splitlines() if not line.startswith(("20", "    "))]
    events = [json.loads(line) for line in lines]
    received = [one for one in events if one["event"] == "received"]
    assert len(received) == 6 * 5
    assert {worker_of(one["id"]) for one in received} == {0, 1}
    assert [one["event"] for one in events].count("stopped") == 3
    assert max(map(len, lines)) > 4096


def test_twistd_may_write_the_log(make_relay: StartRelay) -> None:
    """With --logger, or --syslog, it is for the supervisor to hand on what the workers have to say."""
    relay = make_relay(workers=2, options=["--logger", "watcher.make"], before=["env", "PYTHONPATH=."])
    (relay.folder / "watcher.py").write_text(
        "from twisted.logger import eventAsText\n\n\ndef make():\n    log = open('watched', 'a', buffering=1)\n"
        "    return lambda event: print(eventAsText(event), file=log)\n"
    )
    relay.start()
    taken = all_ids(submit_to_each(relay, "bob@nowhere.invalid", 2))
    relay.stop()
    watched = (relay.folder / "watched").read_text()
    assert all(f"{queue_id} received client=" in watched for queue_id in taken)
    assert watched.count("stopped hostname=relay.test") == 3
    assert "received" not in relay.output
    lines = [line for line in watched.splitlines() if " hostname=relay.test" in line]
    assert len(lines) == 6
    assert all("[mta.service#info] " in line for line in lines), "each is an event of its own"


def submit_many(relay: Relay, recipients: list[str]) -> None:
    for _ in range(5):
        submit(relay, "a@client.test", recipients, CONTENT)


def test_the_number_of_workers_can_change(make_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks) -> None:
    relay = make_relay(workers=3)
    hop, bob = paused
    relay.start()
    taken = submit_to_each(relay, bob, 3)
    large = submit_to_each(relay, bob, 3, LARGE)
    ids = sorted([*all_ids(taken), *all_ids(large)])
    held = taken[2][0]
    relay.mta("hold", held)
    stories = {queue_id: relay.story_of(queue_id)["created"] for queue_id in ids}
    for workers in (1, 3, 2):
        relay.stop()
        relay.settings["workers"] = workers
        relay.write_configuration()
        relay.start()
        expected = {f"queue-{n}.db" for n in range(workers)}
        wait_until(lambda: queue_files(relay) == expected, f"there are just {expected}", 20)  # noqa: B023
        assert sorted(one["id"] for one in relay.queue()["messages"]) == ids
        assert {queue_id: relay.story_of(queue_id)["created"] for queue_id in ids} == stories
    assert relay.queued(held)["recipients"][0]["state"] == "held"  # type: ignore[index]
    assert b"all of this is one content" in relay.mta("cat", large[2][0]).stdout.encode()
    relay.mta("release", held)
    sinks.resume(hop)
    hop.wait_for(bob, len(ids), within=30)
    relay.wait_until_empty()
    assert len(hop.messages_for(bob)) == len(ids), "nothing came twice"
    assert sum(one.content.endswith(LARGE) for one in hop.taken) == len(all_ids(large))
    assert not list(relay.spool.glob("content/*/*"))
    assert {relay.story_of(queue_id)["recipients"][0]["state"] for queue_id in ids} == {"delivered"}


@pytest.mark.alone
def test_a_large_left_over_file_does_not_keep_anybody_waiting(
    make_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = make_relay(workers=2)
    _, bob = paused
    relay.start()
    [queue_id, *_] = submit_to_each(relay, bob, 2)[1]
    relay.stop()
    multiply(relay.spool / "queue-1.db", 20_000)
    relay.settings["workers"] = 1
    relay.write_configuration()
    before = time.monotonic()
    relay.start()
    assert time.monotonic() - before < 4.0, "it greets although there is much to be moved"
    waits = []
    for _ in range(50):
        before = time.monotonic()
        submit(relay, "a@client.test", [bob], CONTENT)
        waits.append(time.monotonic() - before)
    assert max(waits) < 1.0
    assert relay.queue("--limit", "0")["totals"]["messages"] >= 20_000
    assert relay.story_of(queue_id)["ended"] is None


def multiply(queue: Path, copies: int) -> None:
    """Copy the oldest message of a queue file, all that belongs to it included, so many times."""
    db = apsw.Connection(str(queue), flags=apsw.SQLITE_OPEN_READWRITE)
    numbers = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
    with db:
        oldest = db.execute("SELECT min(id) FROM message").get
        db.execute(
            f"{numbers} INSERT INTO message SELECT m.id - i * 256, received, size, file, envelope, events, body "
            "FROM n, message m WHERE m.id = ?",
            (copies, oldest),
        )
        db.execute(
            f"{numbers} INSERT INTO delivery SELECT d.id - i * 256, message - i * 256, destination, state, priority, "
            "due, deadline, attempts, fence, warned, wish, last_reply, sender, recipients, reverse_path "
            "FROM n, delivery d WHERE d.message = ?",
            (copies, oldest),
        )
        db.execute("UPDATE totals SET messages = messages + ?, waiting = waiting + ?", (copies, copies))
    db.close()


def test_what_starts_queues_reaches_all_workers(
    start_relay: StartRelay, paused: tuple[Sink, str], sinks: Sinks
) -> None:
    relay = start_relay(workers=2, retry={"after": ["1h"], "warn": "never", "give_up": "5d"})
    hop, bob = paused
    first = submit_to_each(relay, bob, 2)
    for queue_id in all_ids(first):
        relay.wait_until_deferred(queue_id)
    sinks.resume(hop)
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        talk.say("EHLO client.test")
        assert talk.say(f"ETRN {bob.partition('@')[2]}").startswith("253 2.0.0 ")
    hop.wait_for(bob, len(all_ids(first)))
    sinks.pause(hop)
    second = submit_to_each(relay, bob, 2)
    for queue_id in all_ids(second):
        relay.wait_until_deferred(queue_id)
    sinks.resume(hop)
    relay.mta("retry", "--all")
    hop.wait_for(bob, len(all_ids(first)) + len(all_ids(second)))
    relay.wait_until_empty()


def test_every_verb_works_on_the_queue_as_a_whole(start_relay: StartRelay, paused: tuple[Sink, str]) -> None:
    relay = start_relay(workers=2, retry={"after": ["1h"], "warn": "never", "give_up": "5d"})
    _, bob = paused
    taken = submit_to_each(relay, bob, 2)
    ids = all_ids(taken)
    for queue_id in ids:
        relay.wait_until_deferred(queue_id)
    listed = relay.queue()
    assert [one["id"] for one in listed["messages"]] == ids
    assert listed["totals"]["messages"] == listed["totals"]["recipients"] == len(ids)
    assert listed["totals"]["octets"] == sum(one["size"] for one in listed["messages"])
    assert len(relay.queue("--limit", "1")["messages"]) == 1
    assert relay.queue("--limit", "1")["totals"]["messages"] == len(ids)
    assert relay.mta("hold", "--all").stdout == f"held {len(ids)} recipients of {len(ids)} messages\n"
    assert len(relay.queue("--state", "held")["messages"]) == len(ids)
    assert relay.mta("release", "--to", bob).stdout == f"released {len(ids)} recipients of {len(ids)} messages\n"
    for number in (0, 1):
        assert relay.mta("cat", taken[number][0]).stdout.endswith("body\n")
        assert relay.story_of(taken[number][0])["ended"] is None
    relay.mta("drop", "--yes", taken[0][0])
    relay.mta("bounce", "--yes", taken[1][0])
    for number, state in ((0, "dropped"), (1, "failed")):
        wait_until(lambda: relay.story_of(taken[number][0])["ended"], "it has ended")  # noqa: B023
        assert relay.story_of(taken[number][0])["recipients"][0]["state"] == state
    left = {one["id"] for one in relay.queue()["messages"]}
    assert left.isdisjoint({taken[0][0], taken[1][0]})
    assert left.issuperset(set(ids) - {taken[0][0], taken[1][0]})


def test_a_client_has_as_many_connections_as_with_one_worker(start_relay: StartRelay) -> None:
    """However the kernel shares them out among the workers."""
    relay = start_relay(workers=2, limits={"connections": 12, "connections_per_client": 7})
    own, other = (Talk(relay.address, relay.port, source) for source in ("127.0.0.1", "127.0.0.2"))
    talks = [own, other]
    try:
        talks += [Talk(relay.address, relay.port, "127.0.0.1") for _ in range(6)]
        assert [talk.reply()[:3] for talk in talks] == ["220"] * 8
        with Talk(relay.address, relay.port, "127.0.0.1") as one_more:
            assert one_more.reply().startswith("421 4.7.0 ")
        os.kill(relay.workers()[0], signal.SIGKILL)
        wait_until(lambda: relay.output.count("started hostname=relay.test worker=0") == 2, "worker 0 is back")
        lost = sum(talk.rest(0.01) == b"" and is_closed(talk) for talk in talks if talk is not other)
        again = [Talk(relay.address, relay.port, "127.0.0.1") for _ in range(lost)]
        talks += again
        assert [talk.reply()[:3] for talk in again] == ["220"] * lost
        with Talk(relay.address, relay.port, "127.0.0.1") as one_more:
            assert one_more.reply().startswith("421 4.7.0 ")
    finally:
        for talk in talks:
            talk.close()


def clients_of(pid: int, port: int) -> set[int]:
    """The clients whom a process has at a port, by their own ports."""
    ours = f":{port:04X}"
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{words[9]}]": words[2] for words in lines if words[1].endswith(ours) and words[3] == "01"}
    found = set()
    for opened in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed just now
            if client := sockets.get(opened.readlink().name):
                found.add(int(client.partition(":")[2], 16))
    return found


def connections_of(pid: int, port: int) -> int:
    """How many clients a process has at a port."""
    return len(clients_of(pid, port))


def is_passed_on(
    where: tuple[str, int], workers: dict[int, int], begin: Callable[[socket.socket], socket.socket]
) -> bool:
    """Are clients at a port passed on? The kernel gives one who comes from the same port again to the same worker, and
    workers pass on no more than every other one. So whoever is served by two of them was passed on once.

    workers: their process ids, by number. begin: comes to the greeting, by a socket that it may have wrapped.
    """
    for _ in range(50):  # half of them are given to the one that passes nobody on
        source, served_by = 0, set()
        for _ in range(2):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # frees the port at once
            client.settimeout(15)
            client.bind(("127.0.0.1", source))
            client.connect(where)
            source = client.getsockname()[1]
            with begin(client) as spoken:
                assert spoken.recv(1000).startswith(b"220 ")
                served_by |= {number for number, pid in workers.items() if source in clients_of(pid, where[1])}
                spoken.sendall(b"NONSENSE\r\n")
                assert spoken.recv(1000).startswith(b"500 ")
        if len(served_by) == 2:
            return True
    return False


def is_refused(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_clients_that_stay_are_shared_out_equally(
    make_relay: StartRelay, dns: Dns, sink: MakeSink, scratch: Path
) -> None:
    """In clear, behind a proxy, and with TLS from the first octet; while listeners come and go, and at the end."""
    relay = make_relay(workers=2)
    hop = sink()
    dns.zone("equally.test", f"@ MX 10 mx\nmx A {hop.address}")
    plain, proxied, wrapped, added = relay.port, *(free_port(relay.address) for _ in range(3))
    papers = Papers(scratch / "papers-passed-on", relay.address, "someone")
    relay.settings["tls"] = {"certificate": str(papers.certificate), "key": str(papers.key)}
    relay.settings["listen"] += [
        {"address": f"{relay.address}:{proxied}", "tls": "none", "proxy_protocol": ["127.0.0.0/8"]},
        {"address": f"{relay.address}:{wrapped}", "tls": "implicit"},
    ]
    relay.write_configuration()
    relay.start()
    workers = relay.workers()
    context = ssl.create_default_context(cafile=str(papers.authority))

    def behind_proxy(client: socket.socket) -> socket.socket:
        client.sendall(b"PROXY TCP4 192.0.2.77 192.0.2.99 4321 25\r\n")
        return client

    with contextlib.ExitStack() as early:
        first = [early.enter_context(Talk(relay.address, plain)) for _ in range(12)]
        assert {talk.reply()[:3] for talk in first} == {"220"}
        for talk in first:
            if talk.port in clients_of(workers[1], plain):
                talk.close()
        wait_until(lambda: not connections_of(workers[1], plain), "one of them has nobody")
        assert is_passed_on((relay.address, plain), workers, lambda client: client)
        assert is_passed_on((relay.address, proxied), workers, behind_proxy)
        wrap = partial(context.wrap_socket, server_hostname=relay.address)
        assert is_passed_on((relay.address, wrapped), workers, wrap)
    assert relay.output.count("rejected client=192.0.2.77 line=NONSENSE") >= 2, "each of them knows who he is"
    wait_until(lambda: not any(connections_of(pid, plain) for pid in workers.values()), "all of them are gone")
    with contextlib.ExitStack() as stack:
        talks = []
        for number in range(20):
            talk = stack.enter_context(Talk(relay.address, plain, f"127.0.3.{1 + number // 10}"))
            assert talk.reply().startswith("220 ")
            assert talk.say("EHLO client.test").startswith("250")
            talks.append(talk)
        counts = [connections_of(pid, plain) for pid in workers.values()]
        assert sum(counts) == 20
        assert max(counts) <= 12
        for number in range(6):
            behind = stack.enter_context(Talk(relay.address, proxied))
            behind.send(f"PROXY TCP4 192.0.2.{number} 192.0.2.99 4321 25\r\n".encode())
            assert behind.reply().startswith("220 ")
            talks.append(behind)
        for _ in range(6):
            client = smtplib.SMTP_SSL(relay.address, wrapped, timeout=15, context=context)
            stack.callback(client.close)
            assert client.noop()[0] == 250
        counts = [sum(connections_of(pid, port) for port in (plain, proxied, wrapped)) for pid in workers.values()]
        assert sum(counts) == 32
        assert max(counts) <= 19

        relay.settings["listen"].append({"address": f"{relay.address}:{added}", "tls": "none"})
        relay.settings["listen"].pop(1)
        relay.write_configuration()
        relay.process.signal(signal.SIGHUP)
        wait_until(lambda: greets(relay.address, added), "the new listener greets", 10)
        fresh = [stack.enter_context(Talk(relay.address, added)) for _ in range(6)]
        assert {talk.reply()[:3] for talk in fresh} == {"220"}
        wait_until(lambda: is_refused(relay.address, proxied), "nobody listens at the old one", 10)

        for talk in talks[:20]:
            talk.send(b"MAIL FROM:<a@client.test>\r\nRCPT TO:<bob@equally.test>\r\nDATA\r\n")
            assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
            talk.send(CONTENT + b".\r\n")
            assert talk.reply().startswith("250 2.0.0 queued as ")
        hop.wait_for("bob@equally.test", 20)
        for address in ("127.0.3.1", "127.0.3.2"):
            assert len(re.findall(rf" received client={address} ", relay.output)) == 10

        os.kill(workers[1], signal.SIGSTOP)  # it takes nobody who is passed on to it: the next one does
        waiting = [stack.enter_context(Talk(relay.address, plain)) for _ in range(12)]
        os.kill(workers[1], signal.SIGKILL)
        assert [talk.reply()[:3] for talk in waiting] == ["220"] * 12

        relay.process.signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                late = stack.enter_context(Talk(relay.address, plain))
                assert late.reply()[:3] in ("220", "421", "")
        assert relay.process.wait(within=10) in ENDED
    assert "Traceback" not in relay.output


def is_closed(talk: Talk) -> bool:
    try:
        talk.send(b"NOOP\r\n")
        time.sleep(0.02)
        talk.send(b"NOOP\r\n")
    except OSError:
        return True
    return False


def test_ports_below_1024_and_the_right_user(scratch: Path, make_relay: StartRelay) -> None:
    if os.getuid():
        pytest.fail("needs root: only root has privileges to drop")
    folder = scratch / "workers-unprivileged"
    folder.mkdir(mode=0o755)
    (folder / "spool").mkdir()
    shutil.chown(folder / "spool", "nobody", "nogroup")
    user = pwd.getpwnam("nobody")
    relay = make_relay(folder=folder, options=["--uid", user.pw_uid, "--gid", user.pw_gid], workers=2)
    (folder / "names.yml").write_text("rights.test: {mailboxes: {jean: {}}}\n")
    relay.settings["listen"] = [{"address": f"{relay.address}:25", "tls": "none"}]
    relay.settings["directory"] = "names.yml"
    relay.port = 25
    relay.write_configuration()
    for file in (relay.configuration, folder / "names.yml"):
        file.chmod(0o600)  # the workers are told what root has read
    relay.start()
    for pid in (relay.process.pid, *relay.workers().values()):
        status = Path(f"/proc/{pid}/status").read_text()
        assert f"Uid:\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}\t{user.pw_uid}\n" in status
        assert f"Gid:\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}\t{user.pw_gid}\n" in status
    os.kill(relay.workers()[1], signal.SIGKILL)
    wait_until(lambda: relay.output.count("started hostname=relay.test worker=1") == 2, "worker 1 is back")
    with Talk(relay.address, relay.port) as talk:
        talk.reply()
        assert [talk.say(f"VRFY {name}@rights.test")[:3] for name in ("jean", "anne")] == ["250", "550"]
    assert relay.stop() in ENDED
