"""The Debian package: its scripts and its files, at once; and, among the long tests, its whole life in a clean root.

There it is installed, started as its unit says, upgraded with mail in the queue, removed and purged. systemd is not
there; what it would do (start, stop) is done here, by the unit's words.
"""

import hashlib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from building import DEBIAN, PYTHON, make_root, run, tool

INSIDE = f"python3,{PYTHON},debconf,systemd-standalone-sysusers,init-system-helpers,libgcc-s1,ca-certificates"


@pytest.mark.parametrize("script", ["postinst", "prerm", "postrm"])
def test_a_script_is_one_that_debians_shell_can_read(script: str) -> None:
    run("sh", "-n", DEBIAN / script)
    assert (DEBIAN / script).read_text().startswith("#!/bin/sh\n")


@pytest.mark.parametrize("left", ["", "queued", "dropped", "aside"])
def test_a_purge_asks_where_there_is_mail_whatever_is_configured_by_then(tmp_path: Path, left: str) -> None:
    """The script, with other folders than the system's, and a configuration whose queue is elsewhere."""
    home, program = tmp_path / "lib", tmp_path / "bin" / "mta"
    (home / "spool").mkdir(parents=True)
    (tmp_path / "mta.yml").write_text("spool: elsewhere\n")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from mta.cli import main; main()" "$@"\n')
    program.chmod(0o755)
    if left == "queued":
        _queue_a_message(tmp_path, home / "spool")
    elif left:
        (home / "spool" / left.replace("dropped", "drop")).mkdir()
        (home / "spool" / left.replace("dropped", "drop") / "mail-0").touch()
    script = (DEBIAN / "prerm").read_text().replace("/var/lib/mta", str(home)).replace("/etc/mta", str(tmp_path))
    script = script.replace("/usr/lib/mta", str(tmp_path / "nowhere")).replace(
        "/run/systemd", str(tmp_path / "nowhere")
    )
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "prerm").write_text(script)
    run("sh", tmp_path / "prerm", "remove", PATH=f"{program.parent}:{os.environ['PATH']}")
    assert (home / "removed-empty").exists() == (left == "")


def _queue_a_message(folder: Path, spool: Path) -> None:
    port, hop = free_port(), free_port()
    file = folder / "filling.yml"
    file.write_text(
        f"spool: {spool}\nlisten: [{{address: 127.0.0.1:{port}}}]\nrelay: {{networks: [127.0.0.1/32]}}\n"
        f'routes: [{{to: "*", via: "smtp://127.0.0.1:{hop}"}}]\n'
    )
    code = "from mta.cli import main; main()"
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen((sys.executable, "-c", code, "start", "--config", file), stdout=log, stderr=log) as relay,
    ):
        try:
            wait_until(lambda: listens(port) or relay.poll() is not None, folder / "log")
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.sendmail("a@example.org", ["b@example.net"], "Subject: x\r\n\r\nbody\r\n")
        finally:
            relay.terminate()
            relay.wait(30)


def test_its_configuration_is_good_and_serves_this_machine_alone(tmp_path: Path) -> None:
    text = (DEBIAN / "mta.yml").read_text(encoding="utf-8")
    (tmp_path / "mta.yml").write_text(text)
    said = run(sys.executable, "-c", "from mta.cli import main; main()", "check", "--config", tmp_path / "mta.yml")
    assert re.search(r"listens on 127\.0\.0\.1:25, its queue is in /var/lib/mta/spool$", said.strip())
    assert "$schema=/usr/share/mta/mta.schema.json" in text.splitlines()[0]


def test_what_the_system_looks_for_is_at_its_place(tmp_path: Path) -> None:
    code = "import build, pathlib, sys; build.install_system(pathlib.Path(sys.argv[1]))"
    run(sys.executable, "-c", code, tmp_path, PYTHONPATH=str(DEBIAN))
    for name in ("usr/sbin/sendmail", "usr/bin/mailq", "usr/bin/newaliases"):
        assert os.access(tmp_path / name, os.X_OK)
        run("sh", "-n", tmp_path / name)
    assert (tmp_path / "usr/lib/sendmail").resolve() == tmp_path / "usr/sbin/sendmail"
    unit = (tmp_path / "lib/systemd/system/mta.service").read_text()
    assert unit.startswith("[Unit]\n")
    assert "ExecStart=/usr/lib/mta/bin/mta start --config /etc/mta/mta.yml\n" in unit
    assert "/opt/" not in unit
    assert re.search(r"^u mta ", (tmp_path / "usr/lib/sysusers.d/mta.conf").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def clean_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian with what the package depends on, and nothing else."""
    return make_root(tmp_path_factory.mktemp("root"), INSIDE)


class Inside:
    """The clean root, and what is done in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port, self.hop = free_port(), free_port()

    def run(self, *words: str) -> str:
        mounted = f"--mount-proc={self.root / 'proc'}"
        inside = ("unshare", "--mount", "--pid", "--fork", mounted, "chroot", self.root)
        return run(
            *inside, *words, DEBIAN_FRONTEND="noninteractive", HOME="/root", PATH="/usr/sbin:/usr/bin:/sbin:/bin"
        )

    def install(self, package: Path) -> str:
        shutil.copy(package, self.root / "package.deb")
        return self.run("dpkg", "--install", "/package.deb")

    def configure(self) -> None:
        """Make the configuration another one, as an operator does: its port, and where everything goes."""
        file = self.root / "etc/mta/mta.yml"
        text = file.read_text().replace("127.0.0.1:25", f"127.0.0.1:{self.port}")
        routes = f'routes: [{{to: "*", via: "smtp://127.0.0.1:{self.hop}", tls: none}}]\n'
        file.write_text(f"{text}\nhostname: deb.example.org\nadmin: {{listen: null}}\n{routes}")

    @contextmanager
    def relay(self) -> Iterator[None]:
        """The relay, as systemd would start and stop it: the unit's command, as the unit's user."""
        unit = (self.root / "lib/systemd/system/mta.service").read_text()
        said = dict(re.findall(r"^(ExecStart|User|Group)=(.*)$", unit, re.MULTILINE))
        command = ["chroot", f"--userspec={said['User']}:{said['Group']}", str(self.root), *said["ExecStart"].split()]
        log = self.root.parent / "log"
        with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
            try:
                wait_until(lambda: listens(self.port) or process.poll() is not None, log)
                assert process.poll() is None, log.read_text()
                yield
            finally:
                process.terminate()
                process.wait(30)

    def submit(self, subject: str) -> str:
        """Send a message as a program of the machine does; its queue id."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=20) as client:
            client.ehlo("printer.example.org")
            client.mail("printer@example.org")
            client.rcpt("admin@example.net")
            code, said = client.data(f"Subject: {subject}\r\n\r\nHello.\r\n")
        assert code == 250, said
        return said.decode().split()[-1]

    def send_as_anybody(self, subject: str) -> None:
        """Send a message as a user without rights does, whether the relay is there or not."""
        letter = f"Subject: {subject}\\n\\nHello.\\n"
        user = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
        self.run("sh", "-c", f"cd / && printf '{letter}' | {user} /usr/sbin/sendmail -i admin@example.net")

    def queued(self) -> int:
        found = re.search(r'"totals":\{"messages":(\d+)', self.run("mta", "queue", "--json", "--limit", "0"))
        assert found is not None
        return int(found[1])

    def exists(self, path: str) -> bool:
        return (self.root / path).exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(done: Any, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


class Keeper:
    """A next hop that keeps the subjects of what it gets."""

    def __init__(self) -> None:
        self.subjects: Queue[str] = Queue()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.subjects.put(re.search(rb"Subject: (.*)\r\n", envelope.content)[1].decode())
        return "250 2.0.0 ok"


@pytest.mark.soak
def test_the_same_commit_gives_the_same_package(package: Path, tmp_path: Path) -> None:
    again = Path(run(sys.executable, DEBIAN / "build.py", "--output", tmp_path).strip())
    digests = {hashlib.sha256(one.read_bytes()).hexdigest() for one in (package, again)}
    assert len(digests) == 1


@pytest.mark.soak
def test_lintian_finds_nothing_wrong(package: Path) -> None:
    said = run(tool("lintian", "lintian"), "--allow-root", "--fail-on", "error,warning", package)
    assert not re.search(r"^[EW]:", said, re.MULTILINE), said


@pytest.mark.soak
def test_its_life_from_installation_to_purge(package: Path, upgrade: Path, clean_root: Path) -> None:
    here, keeper = Inside(clean_root), Keeper()
    here.install(package)
    owner = here.run("stat", "-c", "%U %G %a", "/var/lib/mta/spool").split()
    assert owner[:2] == ["mta", "mta"]
    assert not int(owner[2], 8) & 0o066
    assert here.exists(f"usr/lib/mta/lib/{PYTHON}/site-packages/twisted/plugins/dropin.cache")
    assert "no mistakes" in here.run("mta", "check")
    here.configure()

    # Its destination is down; then comes an upgrade.
    with here.relay():
        first = here.submit("before the upgrade")
        assert here.queued() == 1
    here.install(upgrade)
    assert "Version: 1:" in here.run("dpkg", "--status", "mta")
    assert "deb.example.org" in (clean_root / "etc/mta/mta.yml").read_text(), "what an operator wrote stays"
    assert here.queued() == 1
    here.send_as_anybody("while it was not there")
    hop = Controller(keeper, hostname="127.0.0.1", port=here.hop)
    with here.relay():
        hop.start()
        try:
            here.run("mta", "retry", "--all")
            got = {keeper.subjects.get(timeout=60) for _ in range(2)}
            assert got == {"before the upgrade", "while it was not there"}
        finally:
            hop.stop()
        wait_until(lambda: here.queued() == 0, clean_root.parent / "log")
        assert "delivered to admin@example.net" in here.run("mta", "show", first)
        here.submit("before the purge")

    # Removed, nothing of the program is left; mail stays, also when the rest is purged.
    here.run("dpkg", "--remove", "mta")
    assert not here.exists("usr/lib/mta")
    assert here.exists("etc/mta/mta.yml")
    said = here.run("dpkg", "--purge", "mta")
    assert "mail may still be in /var/lib/mta" in said
    assert not here.exists("etc/mta")
    here.install(package)
    assert here.queued() == 1

    # Without mail nobody is asked, and nothing is left.
    here.run("mta", "drop", "--all", "--yes")
    here.run("dpkg", "--purge", "mta")
    assert not here.exists("var/lib/mta")
    assert not here.exists("usr/lib/mta")

    # With the question answered beforehand mail goes, too.
    here.install(package)
    here.configure()
    with here.relay():
        here.submit("not wanted")
    here.run("sh", "-c", "echo mta mta/remove-queue boolean true | debconf-set-selections")
    here.run("dpkg", "--purge", "mta")
    assert not here.exists("var/lib/mta")
    with pytest.raises(Empty):
        keeper.subjects.get_nowait()
