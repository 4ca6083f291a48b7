"""`mta restart` and SIGUSR2: the program begins anew in its own process, and no client is refused meanwhile."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from peers.clients import Talk, submit
from peers.daemon import PROGRAMS, Relay, StartRelay, twistd
from peers.ground import Loopback, Process, free_port, greets, wait_until
from peers.load import load
from peers.sinks import MakeSink, Sink
from peers.web import Admin

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
SUBJECT = re.compile(rb"^Subject: (\S+)\r$", re.MULTILINE)


def by(hop: Sink) -> list[dict[str, str]]:
    return [{"to": "*", "via": f"smtp://{hop.address}:25"}]


def started(relay: Relay) -> int:
    """How often all of it has begun."""
    return len(
        re.findall(r" started hostname=\S+( workers=\d+)? queued=| started hostname=\S+ workers=\d", relay.output)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_nobody_is_refused_and_no_mail_is_lost_under_load(
    make_relay: StartRelay, sink: MakeSink, loopback: Loopback, workers: int, tmp_path: Path
) -> None:
    """Over TCP, a Unix socket and HTTP, with a transaction under way that ends well, and an idle session that is told."""
    hop = sink()
    relay = make_relay(routes=by(hop), workers=workers)
    admin = Admin(f"{relay.address}:{free_port(relay.address)}", None)
    door = tmp_path / "door"
    relay.settings["listen"].append({"address": f"unix:{door}", "tls": "none"})
    relay.settings["admin"] = {"listen": admin.where}
    relay.write_configuration()
    relay.start()
    pid, door_is = relay.process.pid, door.stat().st_ino
    with load(relay.address, relay.port, "bob@anew.test", clients=3) as sending:
        with Talk(relay.address, relay.port) as idle, Talk(relay.address, relay.port) as busy:
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
        wait_until(lambda: len(sending.sent) > before + 10, "clients are served")
    assert sending.refused == []
    assert not [one for one in sending.cut if " 421," not in one and "(421," not in one]
    assert relay.process.pid == pid
    assert relay.process.is_alive
    assert admin.ask("GET", "/readyz").status == 200
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(door))
        assert client.recv(100).startswith(b"220 relay.test")
    assert door.stat().st_ino == door_is
    relay.wait_until_empty()
    assert Counter(SUBJECT.findall(one.content)[0].decode() for one in hop.taken) == Counter([*sending.sent, "busy"])
    assert relay.stop() in (0, -signal.SIGTERM)
    assert not door.exists()
    assert not door.with_name("door.lock").is_symlink()
    assert not (relay.spool / "control").exists()
