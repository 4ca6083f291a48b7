"""Dovecot as a mail store behind the relay: LMTP over TCP and over a Unix socket, maildirs below a folder of ours."""

import contextlib
import pwd
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .ground import Process, free_port, greets, running, tool, wait_until

CONFIGURATION = """
protocols = lmtp
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
instance_name = {name}
listen = {address}
ssl = no
auth_mechanisms = plain
mail_location = maildir:~/Maildir
mail_uid = {uid}
mail_gid = {gid}
first_valid_uid = 1
first_valid_gid = 1
default_vsz_limit = 0
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service lmtp {{
  inet_listener lmtp {{
    address = {address}
    port = {port}
  }}
  unix_listener {socket} {{
    mode = 0666
  }}
}}
lmtp_save_to_detail_mailbox = no
"""


class Dovecot:
    """A running dovecot. `users` are whole addresses; whoever is not among them gets 550 5.1.1 at RCPT.

    folder: must be reachable by ordinary users, which pytest's own temporary folders are not, and have a short name.
    """

    def __init__(self, folder: Path, address: str, users: Sequence[str]) -> None:
        command = tool("dovecot", "dovecot-core")
        if not Path("/usr/lib/dovecot/lmtp").exists():
            pytest.fail("needs the Debian package dovecot-lmtpd: /usr/lib/dovecot/lmtp not found")
        self.folder = folder
        self.address = address
        self.port = free_port(address)
        self.socket = folder / "lmtp.sock"
        owner = pwd.getpwnam("mail")
        (folder / "mail").mkdir(parents=True)
        shutil.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
        (folder / "users").write_text("".join(f"{user}:{{PLAIN}}x\n" for user in users))
        (folder / "users").chmod(0o644)
        (folder / "dovecot.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                name=folder.name,
                address=address,
                port=self.port,
                socket=self.socket,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
            )
        )
        self.process = Process("dovecot", [command, "-F", "-c", folder / "dovecot.conf"], folder)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mailbox(self, user: str) -> list[bytes]:
        """The messages that a user has, as Dovecot keeps them (Return-Path, Delivered-To and Received on top, LF)."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / user / "Maildir" / "new").glob("*"))]

    def wait_for(self, user: str, count: int = 1, within: float = 20.0) -> list[bytes]:
        """The messages of a user, once there are so many."""
        wait_until(lambda: len(self.mailbox(user)) >= count, f"Dovecot has {count} for {user}", within)
        return self.mailbox(user)

    def greets_at_socket(self) -> bool:
        """Does LMTP answer at the Unix socket?"""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self.socket))
            return connection.recv(512).startswith(b"220")
        return False


@contextlib.contextmanager
def running_dovecot(dovecot: Dovecot) -> Iterator[Dovecot]:
    """The instance, started, and stopped at the end."""
    with running(dovecot.process):
        where = f"{dovecot.address}:{dovecot.port}"
        try:
            wait_until(lambda: greets(dovecot.address, dovecot.port), f"Dovecot greets at {where}")
            wait_until(dovecot.greets_at_socket, f"Dovecot greets at {dovecot.socket}")
        except pytest.fail.Exception as trouble:
            pytest.fail(f"{trouble}\n{dovecot.process.output}{dovecot.log}")
        yield dovecot
