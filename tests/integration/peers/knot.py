"""Knot DNS, authoritative for what the tests say, on a port of its own."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest

from .ground import Process, free_port, running, tool, wait_until

HEAD = """$ORIGIN {origin}.
$TTL 60
@ IN SOA ns.{origin}. hostmaster.{origin}. {serial} 3600 600 86400 1
@ IN NS ns.{origin}.
ns.{origin}. IN A {address}
"""


class Dns:
    """A running knotd. Names below "test" that no zone knows do not exist (NXDOMAIN); other names are refused."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.port = free_port(address)
        self.zones = ["test"]
        self._serial = 0
        self._control = tool("knotc", "knot")
        self.process = Process("knot", [tool("knotd", "knot"), "-c", folder / "knot.conf"], folder)
        self._write_zone("test", "")
        self._write_configuration()

    @property
    def nameserver(self) -> str:
        """For `dns: {nameservers: [...]}`."""
        return f"{self.address}:{self.port}"

    def zone(self, origin: str, records: str) -> None:
        """Serve a zone, from now on: its records in the usual text, names relative to the origin, SOA and NS given.

        A zone that is served already is replaced.
        """
        self._write_zone(origin, records)
        if origin not in self.zones:
            self.zones.append(origin)
            self._write_configuration()
            self._knotc("reload")
        else:
            self._knotc("zone-reload", origin)
        wait_until(lambda: self._serial_of(origin) == self._serial, f"knot serves the zone {origin}")

    def broken_zone(self, origin: str) -> None:
        """A zone that knot is responsible for but cannot load: whatever is asked of it ends in SERVFAIL."""
        (self.folder / f"{origin}.zone").write_text("this is no zone\n")
        if origin in self.zones:
            return
        self.zones.append(origin)
        self._write_configuration()
        with contextlib.suppress(pytest.fail.Exception):
            self._knotc("reload")
        wait_until(lambda: self.ask(origin, "MX").rcode() == dns.rcode.SERVFAIL, f"knot fails for {origin}")

    def ask(self, name: str, kind: str) -> dns.message.Message:
        """What knot answers; an empty message with SERVFAIL where it does not answer at all."""
        question = dns.message.make_query(name, kind)
        try:
            return dns.query.udp(question, self.address, timeout=0.5, port=self.port)
        except (dns.exception.Timeout, OSError):
            silence = dns.message.make_response(question)
            silence.set_rcode(dns.rcode.NOTIMP)
            return silence

    def _serial_of(self, origin: str) -> int:
        return next((record[0].serial for record in self.ask(origin, "SOA").answer), -1)

    def _write_zone(self, origin: str, records: str) -> None:
        self._serial += 1
        head = HEAD.format(origin=origin, serial=self._serial, address=self.address)
        (self.folder / f"{origin}.zone").write_text(f"{head}{records}\n")

    def _write_configuration(self) -> None:
        zones = "".join(f"  - domain: {origin}.\n    file: {origin}.zone\n" for origin in self.zones)
        (self.folder / "knot.conf").write_text(
            f"server:\n  rundir: {self.folder}\n  listen: {self.address}@{self.port}\n"
            "  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n"
            f"control:\n  listen: knot.sock\n  timeout: 10\n"
            f"log:\n  - target: stderr\n    any: info\n"
            f"database:\n  storage: {self.folder}\n"
            f"template:\n  - id: default\n    storage: {self.folder}\n"
            "    zonefile-sync: -1\n    journal-content: none\n"
            f"zone:\n{zones}"
        )

    def _knotc(self, *words: str) -> None:
        command = [self._control, "-c", str(self.folder / "knot.conf"), "-b", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, check=False)
        if done.returncode:
            pytest.fail(f"knotc {' '.join(words)}: {done.stdout}{done.stderr}")


@contextlib.contextmanager
def serving(folder: Path, address: str) -> Iterator[Dns]:
    """Knot with the zone "test" and nothing else yet."""
    dns_server = Dns(folder, address)
    with running(dns_server.process):
        wait_until(lambda: dns_server._serial_of("test") == 1, "knot serves the zone test")
        yield dns_server
