"""Postfix and Exim as clients: what their users hand them, they relay through us, with TLS and a login."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from reading import with_lf

from .commands import run
from .ground import tool, wait_until
from .postfix import Postfix
from .submission import ANY, HELO, SERVER, Desk, Letter, Papers, Sent, Way

EXIM = Path(__file__).parents[2] / ".peers" / "exim" / "usr" / "sbin" / "exim4"

# It tries once. What it has to say about that to a sender goes where all goes that is not for a desk.
POSTFIX_MAIN = """smtp_sasl_security_options =
smtp_tls_CAfile = {authority}
smtp_tls_secure_cert_match = {server}
transport_maps = inline:{{ {transports} }}
default_transport = discard
maximal_queue_lifetime = 0
"""


class RelayingPostfix(Postfix):
    """One instance with a transport for each desk. Which one a letter takes follows from its recipient's domain."""

    def __init__(self, folder: Path, address: str, desks: Sequence[Desk], papers: Papers) -> None:
        super().__init__(folder, address, HELO)
        transports = ", ".join(f"{{ {domain_of(desk)} = {_name(desk)}:{_next_hop(desk)} }}" for desk in desks)
        with (folder / "etc" / "main.cf").open("a") as main:
            main.write(POSTFIX_MAIN.format(transports=transports, authority=papers.authority, server=SERVER))
        with (folder / "etc" / "master.cf").open("a") as master:
            for desk in desks:
                master.write(f"{_name(desk)} unix - - n - - smtp\n")
                for setting in _settings(desk):
                    master.write(f"  -o {{ {setting} }}\n")

    def send(self, desk: Desk, letter: Letter) -> Sent:
        """Hand it a letter, and wait until it has handed that on or given up on it for now."""
        assert letter.recipient.endswith(f"@{domain_of(desk)}"), letter.recipient
        before = len(self.log)
        words = [tool("sendmail", "postfix"), "-C", self.folder / "etc", "-i", "-f", letter.sender]
        if letter.dsn:
            words += ["-N", letter.dsn.notify.lower(), "-R", letter.dsn.returned.lower(), "-V", letter.dsn.envelope_id]
        said = run([*words, "--", letter.recipient], with_lf(letter.content))
        if said.status:
            return said

        def ended() -> list[str]:
            return [line for line in self.log[before:].splitlines() if f"to=<{letter.recipient}>" in line]

        lines = wait_until(ended, f"Postfix tries {letter.recipient}")
        return Sent(0 if "status=sent" in lines[-1] else 1, self.log[before:])


def domain_of(desk: Desk) -> str:
    """The domain whose mail takes the transport of this desk."""
    return f"{_name(desk)}.test"


def _name(desk: Desk) -> str:
    words = [desk.mechanism, desk.user.partition("@")[0]] if desk.mechanism else ["nobody"]
    return "-".join([desk.way, *words]).lower()


def _next_hop(desk: Desk) -> str:
    return f"[{desk.address}]:{desk.port}"


def _settings(desk: Desk) -> list[str]:
    return [
        f"smtp_tls_security_level = {'none' if desk.way is Way.PLAIN else 'secure'}",
        f"smtp_tls_wrappermode = {'yes' if desk.way is Way.IMPLICIT else 'no'}",
        f"smtp_sasl_auth_enable = {'yes' if desk.mechanism else 'no'}",
        f"smtp_sasl_mechanism_filter = {'static:all' if desk.mechanism == ANY else desk.mechanism.lower()}",
        f"smtp_sasl_password_maps = inline:{{ {{ {_next_hop(desk)} = {desk.user}:{desk.password} }} }}",
    ]


EXIM_CONFIGURATION = """exim_path = {exim}
primary_hostname = {helo}
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
keep_environment =
exim_user = mail
exim_group = mail
trusted_users = root
tls_advertise_hosts =
local_interfaces = 127.0.0.1
qualify_domain = {helo}
begin routers
onward:
  driver = manualroute
  route_list = * {desk.address} byname
  self = send
  transport = onward
begin transports
onward:
  driver = smtp
  port = {desk.port}
  helo_data = {helo}
  hosts_try_fastopen =
  hosts_try_dane =
  {connection}
begin retry
* * F,1h,1h
begin authenticators
{authenticator}
"""

EXIM_AUTHENTICATORS = {
    "PLAIN": "driver = plaintext\n  client_send = ^{desk.user}^{desk.password}",
    "LOGIN": "driver = plaintext\n  client_send = : {desk.user} : {desk.password}",
    "CRAM-MD5": "driver = cram_md5\n  client_name = {desk.user}\n  client_secret = {desk.password}",
    "EXTERNAL": "driver = external\n  client_send = {desk.user}",
}


def exim(desk: Desk, letter: Letter) -> Sent:
    """Exim, which delivers at once and in the foreground what it is handed."""
    if not EXIM.exists():
        pytest.fail("needs the Debian package exim4-daemon-light, unpacked (tests/install-peers does that)")
    folder = desk.folder / "exim"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    configuration = folder / "exim.conf"
    configuration.write_text(_exim_configuration(desk, folder))
    configuration.chmod(0o644)
    said = run(
        [EXIM, "-C", configuration, "-odf", "-oi", "-f", letter.sender, "--", letter.recipient],
        with_lf(letter.content),
    )
    log = folder / "mainlog"  # once it has given up its privileges, it writes to standard error instead
    text = said.text + (log.read_text(errors="replace") if log.exists() else "")
    return Sent(0 if f"=> {letter.recipient} " in text else 1, text)


def _exim_configuration(desk: Desk, folder: Path) -> str:
    papers, mechanism = desk.papers, desk.mechanism
    connection = ["hosts_avoid_tls = *"]
    if desk.way is not Way.PLAIN:
        connection = ["hosts_require_tls = *", "tls_verify_hosts = *", "tls_verify_cert_hostnames = *"]
        connection += [f"tls_verify_certificates = {papers.authority}"]
    if desk.way is Way.IMPLICIT:
        connection += ["protocol = smtps"]
    if mechanism == "EXTERNAL":
        connection += [f"tls_certificate = {papers.user_certificate}", f"tls_privatekey = {papers.user_key}"]
    authenticator = ""
    if mechanism:
        connection += ["hosts_require_auth = *"]
        login = EXIM_AUTHENTICATORS[mechanism].format(desk=desk)
        authenticator = f"login:\n  public_name = {mechanism}\n  {login}"
    return EXIM_CONFIGURATION.format(
        exim=EXIM,
        helo=HELO,
        folder=folder,
        desk=desk,
        connection="\n  ".join(connection),
        authenticator=authenticator,
    )
