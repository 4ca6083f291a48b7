"""Postfix, from its Debian package, as a peer: an instance of its own in a scratch folder, as installed or tuned."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.peers import Papers, Peer

# What any relay of this kind is told: who it is, whom it serves, where mail goes. Everything else is as installed.
PLACE = """
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
"""

# For speed as a relay, with what is on stable storage before a 250 left as it is: many processes, each used long, many
# deliveries at once over connections that are kept, no look-ups.
TUNED = """
default_process_limit = 600
max_use = 10000
in_flow_delay = 0
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 50000
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]:{sink}
smtp_connection_reuse_time_limit = 300s
smtp_tls_connection_reuse = yes
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
local_header_rewrite_clients =
biff = no
"""

# Debian's main.cf has these two caches, too.
TLS = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:${{data_directory}}/smtp_scache
smtpd_tls_session_cache_database = btree:${{data_directory}}/smtpd_scache
"""


class Postfix(Peer):
    most_sessions = 500  # each is a process

    def __init__(self, folder: Path, sink_port: int, papers: Papers | None, tuned: bool) -> None:
        super().__init__(folder, sink_port, papers)
        self.name = "Postfix, tuned" if tuned else "Postfix"
        self._tuned = tuned
        self._etc = folder / "etc"

    def configure(self) -> None:
        for name in ("etc", "spool", "data"):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / "data", "postfix")
        self.folder.chmod(0o755)
        for name in ("postfix-files", "dynamicmaps.cf"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), self._etc)
        text = PLACE + (TUNED if self._tuned else "")
        text = text.format(folder=self.folder, sink=self.sink_port)
        if self.papers is not None:
            text += TLS.format(certificate=self.papers.certificate, key=self.papers.key)
        (self._etc / "main.cf").write_text(text)
        installed = Path("/usr/share/postfix/master.cf.dist").read_text()
        (self._etc / "master.cf").write_text("\n".join(map(self._service, installed.splitlines())) + "\n")

    def command(self) -> Sequence[str | Path]:
        return ["postfix", "-c", self._etc, "start-fg"]

    def ask_to_stop(self, process: subprocess.Popen[bytes]) -> None:
        subprocess.run(["postfix", "-c", self._etc, "stop"], capture_output=True)

    def flush(self) -> None:
        subprocess.run(["postqueue", "-c", self._etc, "-f"], capture_output=True)

    def _service(self, line: str) -> str:
        """A line of master.cf, with our port, and without chroot: the scratch folder is no place for that."""
        if self._tuned and line.startswith("#tlsproxy"):  # without which it keeps no TLS connections
            line = line.removeprefix("#")
        fields = line.split()
        if line[:1] in ("", "#", " ", "\t") or len(fields) < 8:
            return line
        if fields[:2] == ["smtp", "inet"]:
            fields[0] = f"127.0.0.1:{self.port}"
        fields[4] = "n"
        return "\t".join(fields)
