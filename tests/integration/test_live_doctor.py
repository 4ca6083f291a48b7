"""`mta doctor` on zones that a real name server has, good ones and broken ones, with a policy over real HTTPS."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate
from peers.ground import Loopback
from peers.knot import Dns
from peers.sinks import MakeSink

from mta.config.load import load
from mta.dns.inquirer import Inquirer
from mta.operating.doctor.examination import LIMIT, Progress, Request, examine
from mta.operating.doctor.finding import Finding, Level
from mta.operating.doctor.outside import Outside

OURS = "11.1.2.3"  # public, and never connected to
POLICY = b"version: STSv1\nmode: enforce\nmx: mail.ready.test\nmax_age: 604800\n"
MTA = Path(sys.executable).with_name("mta")


class Site(ThreadingHTTPServer):
    """HTTPS with one answer. wanted: the hosts and paths that were asked for."""

    def __init__(self, address: str, authority: trustme.CA) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.wanted.append(f"{self.headers['Host']}{self.path}")
                self.send_response(site.status)
                self.send_header("Content-Type", "text/plain")
                self.end_headers()
                self.wfile.write(site.policy)

            def log_message(self, *args: object) -> None:
                pass

        super().__init__((address, 0), Handler)
        site = self
        self.status, self.policy = 200, POLICY
        self.wanted: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("mta-sts.ready.test", "mta-sts.broken.test").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not like the certificate."""


class Ground(NamedTuple):
    """A configuration, the DNS and the site."""

    file: Path
    dns: Dns
    site: Site
    authority: Path
    tlsa: str


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, dns: Dns, loopback: Loopback) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("doctor")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    leaf = authority.issue_cert("mail.ready.test")
    leaf.private_key_and_cert_chain_pem.write_to_path(folder / "mail.pem")
    key = load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_key()
    tlsa = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    (folder / "spool").mkdir(mode=0o700)
    (folder / "directory.yml").write_text(
        "ready.test: {mailboxes: {anne: {}}, aliases: {postmaster: [anne@ready.test], abuse: [anne@ready.test]}}\n"
        "broken.test: {mailboxes: {anne: {}}}\n"
    )
    configuration = {
        "hostname": "mail.ready.test",
        "spool": "spool",
        "relay": {"domains": ["ready.test", "broken.test"]},
        "routes": [{"to": "ready.test", "via": "lmtp://127.0.0.1"}],
        "tls": {"certificate": "mail.pem", "key": "mail.pem"},
        "directory": "directory.yml",
        "dns": {"nameservers": [dns.nameserver], "timeout": "2s"},
    }
    (folder / "mta.yml").write_text(yaml.safe_dump(configuration))
    site = Site(loopback.address(), authority)
    thread = threading.Thread(target=site.serve_forever, args=(0.02,))
    thread.start()
    _publish(dns, site, tlsa)
    yield Ground(folder / "mta.yml", dns, site, folder / "ca.pem", tlsa)
    site.shutdown()
    site.server_close()
    thread.join()


def _publish(dns: Dns, site: Site, tlsa: str) -> None:
    key = rsa.generate_private_key(65537, 2048).public_key()
    text = b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    host = site.server_address[0]
    dns.zone("1.11.in-addr.arpa", "3.2 PTR mail.ready.test.\n4.2 PTR lost.broken.test.")
    dns.zone(
        "ready.test",
        f'@ MX 10 mail\n@ TXT "v=spf1 mx -all"\nmail A {OURS}\nmail TXT "v=spf1 a -all"\n'
        f's1._domainkey TXT "v=DKIM1; k=rsa; p={text[:200]}" "{text[200:]}"\n'
        '_dmarc TXT "v=DMARC1; p=reject; rua=mailto:postmaster@ready.test"\n'
        '_mta-sts TXT "v=STSv1; id=1"\n_smtp._tls TXT "v=TLSRPTv1; rua=mailto:postmaster@ready.test"\n'
        f"mta-sts A {host}\n_25._tcp.mail TLSA 3 1 1 {tlsa}",
    )
    dns.zone(
        "broken.test",
        "@ MX 10 alias\nalias CNAME real\nreal A 192.168.0.9\nlost A 11.9.9.9\n"
        '@ TXT "v=spf1 include:one.broken.test ?all"\none TXT "v=spf1 include:broken.test"\n'
        's1._domainkey TXT "v=DKIM1; p="\n_dmarc TXT "v=DMARC1; p=\\027[2J"\n'
        f'_mta-sts TXT "v=STSv1; id=1"\nmta-sts A {host}\n'
        '_smtp._tls TXT "v=TLSRPTv1; rua=nobody"\n',
    )


def examined(ground: Ground, *domains: str, **more: str) -> dict[str, list[Finding]]:
    """The findings by check."""
    inquirer = Inquirer([ground.dns.nameserver], 2.0, time.time)
    outside = Outside(inquirer, ground.authority, https_port=ground.site.server_address[1])
    request = Request(domains, ("s1",), more.pop("addresses", OURS).split(), **more)  # type: ignore[arg-type]
    by_check: dict[str, list[Finding]] = {}
    for finding in examine(load(ground.file), outside, request):
        by_check.setdefault(finding.check, []).append(finding)
    return by_check


def test_a_domain_that_is_ready(ground: Ground) -> None:
    ground.site.policy, ground.site.status = POLICY, 200
    found = examined(ground, "ready.test")
    as_it_should_be = [
        "addresses",
        "ptr",
        "helo",
        "mx",
        "spf",
        "dkim",
        "dmarc",
        "mta-sts",
        "tlsrpt",
        "certificate",
        "mailboxes",
    ]
    for check in as_it_should_be:
        assert [one.level for one in found[check]] == [Level.OK] * len(found[check]), found[check]
    assert len(found["spf"]) == 4  # the record and the address, of the domain and of the name in HELO
    assert [one.level for one in found["tlsa"]] == [Level.UNKNOWN]  # knot does not validate
    assert "matches TLSA 3 1 1" in found["tlsa"][0].seen
    assert [one.level for one in found["open relay"]] == [Level.OK]
    assert [one.level for one in found["name server"]] == [Level.OK]
    assert ground.site.wanted[-1] == "mta-sts.ready.test/.well-known/mta-sts.txt"
    assert found["port 25 out"][0].level is Level.UNKNOWN
    assert "itself has failed" not in str(found)


def test_a_domain_that_is_not(ground: Ground) -> None:
    ground.site.policy, ground.site.status = b"<html>", 404
    found = examined(ground, "broken.test", addresses="11.1.2.4")
    for check in ["ptr", "mx", "dkim", "dmarc", "mta-sts", "tlsrpt"]:
        assert found[check][0].level is Level.PROBLEM, found[check]
    assert "lost.broken.test, which does not lead back" in found["ptr"][0].seen
    assert "alias (CNAME) of real.broken.test" in found["mx"][0].seen
    assert "192.168.0.9, which nobody outside" in found["mx"][1].seen
    assert [one.about for one in found["spf"] if "includes itself" in one.seen] == ["broken.test"]
    assert "revoked" in found["dkim"][0].seen
    assert "abuse@broken.test is refused: 550 5.1.1" in found["mailboxes"][0].seen
    assert r"\x1b[2J" in found["dmarc"][0].seen
    assert "status 404" in found["mta-sts"][0].seen
    assert "\x1b" not in str([finding for several in found.values() for finding in several])


def test_a_policy_whose_certificate_nobody_trusts(ground: Ground) -> None:
    inquirer = Inquirer([ground.dns.nameserver], 2.0, time.time)
    fetched, _ = Outside(inquirer, https_port=ground.site.server_address[1]).policy("ready.test")
    assert fetched.why.startswith("its certificate is not good: ")


def test_port_25_of_others(ground: Ground, sink: MakeSink) -> None:
    host = sink("mx.reach.test")
    ground.dns.zone("reach.test", f"@ MX 10 mx\nmx A {host.address}")
    (finding,) = examined(ground, "ready.test", connect="reach.test")["port 25 out"]
    assert (finding.level, finding.about) == (Level.OK, "IPv4")
    assert f"mx.reach.test [{host.address}]" in finding.seen


def test_it_ends_in_time_with_what_it_has(ground: Ground) -> None:
    """A name server that takes the questions and never answers."""
    steps: list[Progress] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        nameserver = f"127.0.0.1:{silent.getsockname()[1]}"
        outside = Outside(Inquirer([nameserver], 3.0, time.time))
        began = time.monotonic()
        found = examine(load(ground.file), outside, Request(("ready.test",)), steps.append, limit=0.5)
        assert time.monotonic() - began < 2.5
    late = {one.check for one in found if "no answer within 0.5 s" in one.seen}
    assert {"mx", "spf", "dmarc", "name server", "dnssec"} <= late
    assert {"clock", "descriptors", "open relay"} <= {step.name for step in steps}
    assert LIMIT < 30


def test_the_command(ground: Ground) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [MTA, "doctor", "--config", ground.file, "--address", OURS, "--selector", "s1", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)

    broken = run("broken.test")
    assert broken.returncode == 1
    assert broken.stderr == ""
    lines = broken.stdout.splitlines()
    assert any(line.startswith("problem  mx broken.test: ") for line in lines)
    assert "    broken.test. MX 10 mail.ready.test." in lines
    assert " problems, " in lines[-1]
    assert "\x1b" not in broken.stdout
    as_json = json.loads(run("ready.test", "--json").stdout)
    assert as_json["domains"] == ["ready.test"]
    assert {"check": "ptr", "about": OURS, "level": "ok"}.items() <= as_json["findings"][1].items()
    assert as_json["totals"]["ok"] == sum(one["level"] == "ok" for one in as_json["findings"])
