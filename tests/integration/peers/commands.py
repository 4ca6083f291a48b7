"""Clients that are commands of their own: swaks, curl, msmtp and s-nail."""

import re
import subprocess
from collections.abc import Sequence
from functools import cache
from urllib.parse import quote

from reading import with_lf

from . import clients
from .ground import tool
from .submission import ANY, HELO, Desk, Letter, Sent, Way

PATIENCE = 30  # seconds that one message may take


def run(command: Sequence[object], stdin: bytes = b"") -> Sent:
    """Run a client to its end."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, timeout=PATIENCE, check=False)
    return Sent(done.returncode, (done.stdout + done.stderr).decode(errors="replace"))


def swaks(desk: Desk, letter: Letter) -> Sent:
    """Chris Jones's SMTP test tool. Of certificates it checks who signed them, not for whom."""
    words = []
    if desk.way is not Way.PLAIN:
        words += ["--tls" if desk.way is Way.STARTTLS else "--tls-on-connect"]
        words += ["--tls-verify", "--tls-ca-path", str(desk.papers.authority)]
    if desk.mechanism:
        words += [
            "--auth",
            *([] if desk.mechanism == ANY else [desk.mechanism]),
            "--auth-user",
            desk.user,
            "--auth-password",
            desk.password,
        ]
    said = clients.swaks(desk, letter.sender, [letter.recipient], letter.content, *words)
    return Sent(said.status, said.text)


def curl(desk: Desk, letter: Letter) -> Sent:
    """It puts the dots that transparency asks for, and sends line ends as they are."""
    message = desk.folder / "curl.eml"
    message.write_bytes(letter.content)
    scheme = "smtps" if desk.way is Way.IMPLICIT else "smtp"
    command = [tool("curl", "curl"), "--disable", "--silent", "--show-error", "--verbose", "--max-time", PATIENCE]
    command += ["--url", f"{scheme}://{desk.address}:{desk.port}/{HELO}", "--upload-file", message]
    command += ["--mail-from", letter.sender, "--mail-rcpt", letter.recipient]
    if desk.way is not Way.PLAIN:
        command += ["--ssl-reqd", "--cacert", desk.papers.authority]
    if desk.mechanism == "EXTERNAL":
        command += ["--cert", desk.papers.user_certificate, "--key", desk.papers.user_key, "--user", f"{desk.user}:"]
    elif desk.mechanism:
        command += ["--user", f"{desk.user}:{desk.password}"]
    if desk.mechanism not in ("", ANY):
        command += ["--login-options", f"AUTH={desk.mechanism}"]
    return run(command)


def msmtp(desk: Desk, letter: Letter) -> Sent:
    """The small sendmail of many desktops. It reads lines as Unix ends them."""
    lines = ["account default", f"host {desk.address}", f"port {desk.port}", f"domain {HELO}", f"timeout {PATIENCE}"]
    lines += ["set_from_header off", "set_date_header off", "undisclosed_recipients off"]
    lines += [f"tls {'off' if desk.way is Way.PLAIN else 'on'}"]
    if desk.way is not Way.PLAIN:
        lines += [f"tls_starttls {'on' if desk.way is Way.STARTTLS else 'off'}"]
        lines += [f"tls_trust_file {desk.papers.authority}"]
    lines += [f"auth {'on' if desk.mechanism == ANY else desk.mechanism.lower() or 'off'}"]
    if desk.mechanism == "EXTERNAL":
        lines += [f"tls_cert_file {desk.papers.user_certificate}", f"tls_key_file {desk.papers.user_key}"]
    if desk.mechanism:
        lines += [f"user {desk.user}", f'password "{desk.password}"']
    configuration = desk.folder / "msmtprc"
    configuration.write_text("\n".join(lines) + "\n")
    configuration.chmod(0o600)
    command = [tool("msmtp", "msmtp"), f"--file={configuration}", "--debug", f"--from={letter.sender}"]
    if letter.dsn:
        command += [f"--dsn-notify={letter.dsn.notify.lower()}", f"--dsn-return={letter.dsn.returned.lower()}"]
    return run([*command, "--", letter.recipient], with_lf(letter.content))


@cache
def msmtp_binds() -> bool:
    """Does the msmtp that is here know SCRAM with channel binding (from 1.8.25 on)?

    Such a one cannot have SCRAM without it inside TLS: GNU SASL fails where it would have to write the flag "y".
    """
    told = run([tool("msmtp", "msmtp"), "--version"]).text
    [version] = re.findall(r"^msmtp version (\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, version)) >= (1, 8, 25)


def gsasl(desk: Desk, *options: str) -> Sent:
    """GNU SASL's own client, with GnuTLS: it says STARTTLS, logs in, and leaves. It binds where it can."""
    command = [tool("gsasl", "gsasl"), "--client", "--smtp", "--no-client-first", "--verbose"]
    command += ["--x509-ca-file=", f"--mechanism={desk.mechanism}", f"--authentication-id={desk.user}"]
    command += [f"--password={desk.password}", *options, desk.address, str(desk.port)]
    return run(command, b"NOOP\r\nQUIT\r\n")


def s_nail(desk: Desk, letter: Letter) -> Sent:
    """A mail reader, which sends on a message of its mailbox as it is there."""
    mailbox = desk.folder / "s-nail"
    for name in ("cur", "new", "tmp"):
        (mailbox / name).mkdir(parents=True, exist_ok=True)
    (mailbox / "cur" / "1.message:2,S").write_bytes(with_lf(letter.content))
    scheme = "smtps" if desk.way is Way.IMPLICIT else "smtp"
    who = f"{quote(desk.user, safe='')}:{quote(desk.password, safe='')}@" if desk.mechanism else ""
    settings = {"mta": f"{scheme}://{who}{desk.address}:{desk.port}", "smtp-auth": desk.mechanism.lower() or "none"}
    settings |= {"hostname": HELO, "from": letter.sender, "nosave": ""}
    if desk.way is not Way.PLAIN:
        # It knows hosts in certificates by name alone, and this one has no name that it could be reached by.
        settings |= {"tls-fingerprint-digest": "sha256", "tls-fingerprint": desk.papers.fingerprint}
    if desk.way is Way.STARTTLS:
        settings["smtp-use-starttls"] = ""
    if desk.mechanism == "EXTERNAL":
        settings["tls-config-pairs"] = f"Certificate={desk.papers.user_certificate},PrivateKey={desk.papers.user_key}"
    command = [tool("s-nail", "s-nail"), "-:/", "-v", "-v", "-Sv15-compat", "-R", "-r", letter.sender]
    command += [f"-S{name}={value}" if value else f"-S{name}" for name, value in settings.items()]
    command += ["-#", f"-YResend 1 {letter.recipient}", "-Yxit $?", "-f", f"maildir://{mailbox}"]
    return run(command)
