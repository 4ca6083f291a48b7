"""Programs of this machine that send mail as users who have no rights here: to a relay that runs, and to one that does
not. The relay runs as a third user, who may read nothing of theirs but what they hand it.

Real programs run as root here, since another user may have no way to this Python; an ordinary user is played."""

import os
import pwd
import shlex
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from peers.daemon import PROGRAMS, Relay, StartRelay
from peers.ground import Process, tool, wait_until
from peers.sinks import MakeSink, Sink

from mta.smtp.asking import Mail
from mta.smtp.batch import batch
from mta.spool.drop import DropFolder, leave

NOBODY = pwd.getpwnam("nobody")

HOP_THAT_IS_DOWN = "127.0.0.1:9"
BECOME_NOBODY = f"""
import os, sys
import encodings.idna, email.charset, email.base64mime, email.quoprimime
import mta.cli.sendmail, mta.cli.program, mta.cli.queue
os.setgroups([]); os.setgid({NOBODY.pw_gid}); os.setuid({NOBODY.pw_uid})
sys.exit(mta.cli.sendmail.run(sys.argv[1:]))
"""

PATCH = """\
From 1111111111111111111111111111111111111111 Mon Sep 17 00:00:00 2001
From: Ann Other <ann@sender.test>
Date: Mon, 1 Jan 2024 00:00:00 +0000
Subject: [PATCH] git says

---
 x | 1 +
--
2.39.5

"""


class Office:
    """A relay, a next hop behind it, and a `sendmail` that knows where it is."""

    def __init__(self, folder: Path, relay: Relay, hop: Sink) -> None:
        self.folder = folder
        self.relay = relay
        self.hop = hop
        self.drop = relay.spool / "drop"
        (folder / "bin").mkdir()
        for name in ("sendmail", "mailq"):
            (folder / "bin" / name).symlink_to(PROGRAMS / "mta")
        self.sendmail = folder / "sendmail"
        self.sendmail.write_text(
            f'#!/bin/sh\nexec {shlex.quote(str(folder))}/bin/sendmail --config {relay.configuration} "$@"\n'
        )
        self.sendmail.chmod(0o755)

    def send_by_all(self, name: str) -> None:
        """Have each program send to somebody of its own, all at once."""
        with ThreadPoolExecutor() as threads:
            running = [threads.submit(send, self, f"{name}{n}@there.test") for n, send in enumerate(SENDING)]
        for one in running:
            one.result()

    @property
    def left(self) -> list[Path]:
        """The messages in the drop folder."""
        return list(self.drop.glob("mail-*"))

    def as_nobody(self, *words: str | Path, stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """`sendmail …`, as a user who may do nothing here."""
        command = [sys.executable, "-c", BECOME_NOBODY, "--config", str(self.relay.configuration), *map(str, words)]
        return self.run(command, stdin, status)

    def run(self, command: Sequence[str | Path], stdin: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command. status: what it must end with."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done


@pytest.fixture
def office(scratch: Path, make_relay: StartRelay, sink: MakeSink) -> Iterator[Office]:
    if os.getuid():
        pytest.fail("this test plays several users, which needs root")
    folder = Path(tempfile.mkdtemp(dir=scratch))
    folder.chmod(0o755)
    daemon = pwd.getpwnam("daemon")
    (folder / "spool").mkdir()
    os.chown(folder / "spool", daemon.pw_uid, daemon.pw_gid)
    hop = sink("hop.test")
    relay = make_relay(
        folder=folder,
        options=["--uid", str(daemon.pw_uid), "--gid", str(daemon.pw_gid)],
        relay={"networks": ["127.0.0.0/8"]},
        retry={"after": ["1h"], "warn": "never", "give_up": "5d"},
        routes=[
            {"to": "closed.test", "via": "550 5.1.1 there is nobody of that name"},
            {"to": "busy.test", "via": "450 4.2.1 come back later"},
            {"to": "busy.hop", "via": f"smtp://{HOP_THAT_IS_DOWN}"},
            {"to": "*", "via": f"smtp://{hop.address}:25"},
        ],
    )
    yield Office(folder, relay, hop)


def with_sendmail(office: Office, to: str) -> None:
    text = f"To: bob@there.test\nBcc: {to}\nSubject: sendmail says\n\nbody\n"
    office.as_nobody("-t", "-i", stdin=text)


def with_s_nail(office: Office, to: str) -> None:
    words = ("-S", "v15-compat", "-S", f"mta=file://{office.sendmail}", "-s", "s-nail says", to)
    office.run([tool("s-nail", "s-nail"), "-n", *words], stdin="body\n")


def with_git(office: Office, to: str) -> None:
    (office.folder / "0001.patch").write_text(PATCH)
    # It wants to know who commits, whatever it is told of who writes.
    (office.folder / ".gitconfig").write_text("[user]\n\tname = Ann\n\temail = ann@sender.test\n")
    words = (f"--sendmail-cmd={office.sendmail}", f"--to={to}", "--confirm=never", "--suppress-cc=all")
    git = ["env", f"HOME={office.folder}", tool("git", "git")]
    office.run([*git, "send-email", "--from=ann@sender.test", *words, office.folder / "0001.patch"])


def with_cron(office: Office, to: str) -> None:
    """The real cron, in a world of its own: our sendmail stands where cron looks for one, and it has just booted."""
    table = office.folder / "crontab"
    table.write_text(f"MAILTO={to}\n@reboot echo cron says\n")
    script = (
        "mount -t tmpfs tmpfs /var/spool/cron/crontabs && mount -t tmpfs tmpfs /run && "
        f"mount --bind {office.sendmail} /usr/sbin/sendmail && "
        f"install -m 600 {table} /var/spool/cron/crontabs/root && exec cron -f"
    )
    words = [tool("unshare", "util-linux"), "--mount", "--propagation", "private", "sh", "-c", script]
    tool("cron", "cron")
    cron = Process("cron", words, office.folder)
    cron.start()
    try:
        wait_until(
            lambda: office.hop.messages_for(to) or any(to.encode() in one.read_bytes() for one in office.left),
            "cron sends mail",
        )
    finally:
        cron.stop()
        cron.forget()


SENDING = (with_sendmail, with_s_nail, with_git, with_cron)


def test_programs_send_whether_the_relay_runs_or_not(office: Office) -> None:
    relay, hop = office.relay, office.hop
    relay.start()
    office.send_by_all("up")
    for number in range(len(SENDING)):
        [one] = hop.wait_for(f"up{number}@there.test")
        assert b"says" in one.content
        assert b"bcc" not in one.content.lower()
        assert b" with ESMTP id " in one.content
    relay.stop()

    office.send_by_all("down")
    left = [path.stat() for path in office.left]
    assert sorted(one.st_uid for one in left) == [0, 0, 0, NOBODY.pw_uid]
    assert {stat.S_IMODE(one.st_mode) & 0o037 for one in left} == {0}  # what stands for the group is the relay's entry

    relay.start()
    for number in range(len(SENDING)):
        [one] = hop.wait_for(f"down{number}@there.test")
        whose = b"0, root" if number else b"%d, nobody" % NOBODY.pw_uid
        assert b"Received: by relay.test (from uid %b)" % whose in one.content
        assert b"says" in one.content
    wait_until(lambda: not office.left, "the drop folder is empty")


def test_exit_status_and_words_tell_what_became_of_it(office: Office) -> None:
    def send(*words: str, stdin: str = "Subject: x\n\nbody\n", status: int = 0) -> str:
        return office.as_nobody(*words, stdin=stdin, status=status).stderr

    relay, drop = office.relay, office.drop
    relay.start()
    refused = send("-v", "bob@there.test", "x@closed.test", status=os.EX_NOUSER)
    assert "bob@there.test at" in refused
    assert "250 2.0.0 queued as" in refused
    assert "x@closed.test is refused: 550 5.1.1 there is nobody of that name" in refused
    assert "it goes to the other recipients" in refused
    office.hop.wait_for("bob@there.test")
    assert send("-bp", status=os.EX_NOPERM).startswith("sendmail: the queue in")
    assert "0 messages" in subprocess.run([office.sendmail, "-bp"], capture_output=True, text=True, check=True).stdout

    said = office.as_nobody("-bs", stdin="EHLO me\r\nNOOP\r\nQUIT\r\n").stdout
    assert said.startswith("220 relay.test")
    assert said.rstrip().splitlines()[-1].startswith("221 ")

    # A recipient that is refused for now waits in the drop folder, while the others get theirs.
    send("carol@there.test", "x@busy.test")
    office.hop.wait_for("carol@there.test")
    [left] = office.left
    assert b"RCPT TO:<x@busy.test>" in left.read_bytes()
    assert b"carol" not in left.read_bytes()

    relay.stop()
    drop.chmod(0o700)
    assert "Permission denied" in send("bob@there.test", status=os.EX_CANTCREAT)


def test_killed_while_it_takes_mail_up_it_loses_none(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most one extra copy for each kill: a file whose mail was stored, and which was not yet removed."""
    relay, drop, count, kills = office.relay, office.drop, 60, 1
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of what is left, in this process
    assert not DropFolder(relay.spool).prepare()
    for number in range(count):
        content = b"Subject: %d\r\n\r\nbody\r\n" % number
        mail = Mail("a@sender.test", [f"{number}@busy.hop"], len(content), False, True, partial(iter, (content,)))
        leave(drop, batch("client.test", mail))
    relay.process.start()
    wait_until(lambda: len(office.left) < 50, "some are taken up", pause=0.005)
    relay.kill()
    assert office.left, "it was too quick to be killed at it"
    relay.start()
    wait_until(lambda: not office.left, "all are taken up")
    listed = Counter(
        one["recipients"][0]["address"] for one in relay.queue("--limit", "1000")["messages"] if one["sender"]
    )
    assert set(listed) == {f"{number}@busy.hop" for number in range(count)}
    assert listed.total() <= count + kills
