"""Postfix instances of our own: as a next hop with mailboxes, and as a client that relays through us."""

import contextlib
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from .ground import free_port, greets, needs_port_25, tool, wait_until

# inet_interfaces names only addresses that an interface has; where it really listens stands in master.cf.
MAIN = """compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = {hostname}
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
smtp_bind_address = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = reject_unlisted_recipient
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
biff = no
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
"""

MAILBOXES = """virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {users} }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = 1
"""

MASTER = """{listen}  inet  n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One instance. With `domain` and `users` it has mailboxes; with `relayhost` it hands all mail to another.

    folder: must be reachable by the user postfix, which pytest's own temporary folders are not.
    """

    def __init__(
        self,
        folder: Path,
        address: str,
        hostname: str,
        domain: str = "",
        users: Sequence[str] = (),
        relayhost: str = "",
    ) -> None:
        self.folder = folder
        self.address = address
        self.domain = domain
        self._postfix = tool("postfix", "postfix")
        needs_port_25(address)
        etc = folder / "etc"
        for name in ("etc", "queue", "data", "mail"):
            (folder / name).mkdir(parents=True)
        main = MAIN.format(folder=folder, hostname=hostname)
        if domain:
            inline = ", ".join(f"{{ {user}@{domain} = {user}/ }}" for user in users)
            main += MAILBOXES.format(domain=domain, folder=folder, users=inline, uid=pwd.getpwnam("postfix").pw_uid)
        if relayhost:
            main += f"relayhost = {relayhost}\n"
        (etc / "main.cf").write_text(main)
        (etc / "master.cf").write_text(MASTER.format(listen=f"{address}:25"))
        for name in ("data", "mail"):
            shutil.chown(folder / name, "postfix")

    def set(self, **settings: str) -> None:
        """Settings of main.cf, before it is started."""
        with (self.folder / "etc" / "main.cf").open("a") as main:
            main.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def listen(self, name: str, verbose: bool = False, **settings: str) -> int:
        """One more port, with settings of its own; before it is started.

        name: by which its lines in the log are known. verbose: they tell all that is said there, for `heard`.
        """
        port = free_port(self.address)
        smtpd = "smtpd -v" if verbose else "smtpd"
        with (self.folder / "etc" / "master.cf").open("a") as master:
            master.write(f"{self.address}:{port} inet n - n - - {smtpd}\n  -o syslog_name={name}\n")
            master.writelines(f"  -o {{ {key} = {value} }}\n" for key, value in settings.items())
        return port

    def heard(self, name: str) -> list[str]:
        """The commands that clients gave at one of the verbose ports of `listen`, all of them, in order."""
        return re.findall(rf"^.*? {name}/smtpd\[[0-9]+\]: < [^ ]+: (.*)$", self.log, re.MULTILINE)

    def start(self) -> None:
        self._run(self._postfix, "-c", self.folder / "etc", "start")
        wait_until(lambda: greets(self.address, 25), f"Postfix greets at {self.address}:25\n{self.log}")

    def stop(self) -> None:
        """Stop it, at once and for good."""
        self._run(self._postfix, "-c", self.folder / "etc", "abort", check=False)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def mailbox(self, user: str) -> list[bytes]:
        """The messages that a user has, as Postfix keeps them (Return-Path, Delivered-To and Received on top, LF)."""
        return [path.read_bytes() for path in sorted((self.folder / "mail" / user / "new").glob("*"))]

    def wait_for(self, user: str, count: int = 1, within: float = 20.0) -> list[bytes]:
        """The messages of a user, once there are so many."""
        wait_until(lambda: len(self.mailbox(user)) >= count, f"Postfix has {count} for {user}", within)
        return self.mailbox(user)

    def sendmail(self, sender: str, recipients: Sequence[str], content: bytes) -> None:
        """Hand it a message as its own users do. content: LF at the end of lines."""
        self._run(
            tool("sendmail", "postfix"), "-C", self.folder / "etc", "-i", "-f", sender, "--", *recipients, stdin=content
        )

    def queue_is_empty(self) -> bool:
        names = ("maildrop", "incoming", "active", "deferred")
        return not any(path.is_file() for name in names for path in (self.folder / "queue" / name).rglob("*"))

    def _run(self, *command: str | Path, stdin: bytes = b"", check: bool = True) -> None:
        done = subprocess.run(
            [str(word) for word in command], input=stdin, capture_output=True, timeout=30, check=False
        )
        if check and done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")
            pytest.fail(f"{command[0]} ended with status {done.returncode}: {said}{self.log}")


@contextlib.contextmanager
def running_postfix(postfix: Postfix) -> Iterator[Postfix]:
    """The instance, started, and stopped at the end."""
    try:
        postfix.start()
        yield postfix
    finally:
        postfix.stop()
