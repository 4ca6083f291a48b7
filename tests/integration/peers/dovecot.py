"""Dovecot in the language of its version: as a mail store behind the relay, over LMTP, and as a keeper of accounts."""

import contextlib
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from .ground import Process, free_port, greets, running, tool, wait_until

_COMMON = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
instance_name = {folder.name}
ssl = no
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {uid}
mail_gid = {gid}
"""
_OF_2_3 = """
default_vsz_limit = 0
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
"""
_OF_2_4 = """
default_vsz_limit = unlimited
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = ~/Maildir
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb static {{
  fields {{
    uid = {uid}
    gid = {gid}
    home = {folder}/mail/%{{user}}
  }}
}}
"""
# Which language a file is in stands at its top, from 2.4 on.
_VERSIONS = """
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
"""
_LMTP = """
protocols = lmtp
listen = {address}
auth_mechanisms = plain
service lmtp {{
  inet_listener lmtp {{
    port = {port}
  }}
  unix_listener {socket} {{
    mode = 0666
  }}
}}
lmtp_save_to_detail_mailbox = no
"""
_ACCOUNTS = """
protocols =
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
# It slows guessing by itself, which the tests have no time for.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""


@cache
def is_2_4() -> bool:
    """Does the Dovecot of this machine want the language that came with 2.4?"""
    told = subprocess.run([tool("dovecot", "dovecot-core"), "--version"], capture_output=True, text=True, check=True)
    major, minor = told.stdout.split(".")[:2]
    return (int(major), int(minor)) >= (2, 4)


def _prepared(name: str, folder: Path, owner: str, users: Mapping[str, str], service: str) -> Process:
    """A Dovecot that has its files. users: passwords by names. owner: of the mail, a user of the system."""
    command = tool("dovecot", "dovecot-core")
    (folder / "users").write_text("".join(f"{user}:{{PLAIN}}{password}\n" for user, password in users.items()))
    (folder / "users").chmod(0o644)
    one = pwd.getpwnam(owner)
    general = (_VERSIONS + _COMMON + _OF_2_4) if is_2_4() else (_COMMON + _OF_2_3)
    text = general.format(folder=folder, uid=one.pw_uid, gid=one.pw_gid) + service
    (folder / "dovecot.conf").write_text(text)
    return Process(name, [command, "-F", "-c", folder / "dovecot.conf"], folder)


class Dovecot:
    """A running dovecot. `users` are whole addresses; whoever is not among them gets 550 5.1.1 at RCPT.

    folder: must be reachable by ordinary users, which pytest's own temporary folders are not, and have a short name.
    """

    def __init__(self, folder: Path, address: str, users: Sequence[str]) -> None:
        if not Path("/usr/lib/dovecot/lmtp").exists():
            pytest.fail("needs the Debian package dovecot-lmtpd: /usr/lib/dovecot/lmtp not found")
        self.folder = folder
        self.address = address
        self.port = free_port(address)
        self.socket = folder / "lmtp.sock"
        (folder / "mail").mkdir(parents=True)
        shutil.chown(folder / "mail", "mail", "mail")
        service = _LMTP.format(address=address, port=self.port, socket=self.socket)
        self.process = _prepared("dovecot", folder, "mail", dict.fromkeys(users, "x"), service)

    @property
    def log(self) -> str:
        path = self.folder / "dovecot.log"
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


class Accounts:
    """A Dovecot that has no mail, and only says who may log in: to Postfix, and to us. socket: where it is asked.

    folder: there already, and with a short name. users: passwords by names.
    """

    def __init__(self, folder: Path, users: Mapping[str, str], mechanisms: Sequence[str]) -> None:
        self.socket = folder / "auth"
        service = _ACCOUNTS.format(socket=self.socket, mechanisms=" ".join(mechanisms))
        self.process = _prepared("accounts", folder, "nobody", users, service)


@contextlib.contextmanager
def running_accounts(accounts: Accounts) -> Iterator[Accounts]:
    """It, started, and stopped at the end."""
    with running(accounts.process):
        try:
            wait_until(accounts.socket.exists, "Dovecot serves accounts")
        except pytest.fail.Exception as trouble:
            pytest.fail(f"{trouble}\n{accounts.process.output}")
        yield accounts
