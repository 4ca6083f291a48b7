"""A small authoritative name server for tests: UDP and TCP, in threads, with the zones of `MemoryResolver`."""

import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from mta.dns.memory import Name


class DnsServer:
    """Answers from `zones`, which may be changed at any time, as may all attributes.

    failures: names answered with SERVFAIL, or (name, "MX") and so on for one type. silent: names that get no
    answer, in the same forms. referrals: names answered as by a server that is not responsible. lean: the target of
    an alias is left to whoever asks. delay: seconds before an answer. asked: how often, by (type, name);
    over_tcp: how many of them by TCP. most_at_once: the most questions that were open together. others: records of
    further types, by (name, type), as a zone file has them. authentic: whoever asks for the AD bit gets it.
    """

    def __init__(self, zones: Mapping[str, Name], address: str = "127.0.0.1", port: int = 0) -> None:
        self.zones = dict(zones)
        self.failures: set[str | tuple[str, str]] = set()
        self.silent: set[str | tuple[str, str]] = set()
        self.referrals: set[str] = set()
        self.others: dict[tuple[str, str], list[str]] = {}
        self.authentic = False
        self.lean = False
        self.ttl = 300
        self.negative_ttl = 300
        self.delay = 0.0
        self.asked: Counter[tuple[str, str]] = Counter()
        self.over_tcp = 0
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        self._servers = self._bind(address, port)
        self.address, self.port = self._servers[0].server_address[:2]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def __str__(self) -> str:
        """As a name server of the configuration."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    def stop(self) -> None:
        """Stop serving and close both sockets."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _bind(self, address: str, port: int) -> list[socketserver.BaseServer]:
        outer = self

        class Udp(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                octets, sock = self.request
                reply = outer._reply(octets, tcp=False)
                if reply:
                    sock.sendto(reply, self.client_address)

        class Tcp(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                size = self.rfile.read(2)
                if len(size) == 2:
                    reply = outer._reply(self.rfile.read(int.from_bytes(size, "big")), tcp=True)
                    if reply:
                        self.wfile.write(len(reply).to_bytes(2, "big") + reply)

        for _ in range(20):
            udp = socketserver.ThreadingUDPServer((address, port), Udp)
            udp.daemon_threads, udp.block_on_close = True, False
            try:
                tcp = _ReusableTCPServer((address, udp.server_address[1]), Tcp)
            except OSError:
                udp.server_close()
                continue
            return [udp, tcp]
        raise OSError(f"no port is free for UDP and TCP on {address}")

    def _reply(self, octets: bytes, tcp: bool) -> bytes:
        try:
            question = dns.message.from_wire(octets)
        except dns.exception.DNSException:
            return b""
        with self._lock:
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
        time.sleep(self.delay)
        with self._lock:
            self._open -= 1
            return self._answer(question, tcp)

    def _answer(self, question: Any, tcp: bool) -> bytes:
        asked = question.question[0]
        kind = dns.rdatatype.to_text(asked.rdtype)
        name = asked.name.to_text(omit_final_dot=True).lower()
        self.asked[kind, name] += 1
        self.over_tcp += tcp
        if self._is_in(self.silent, name, kind):
            return b""
        reply = dns.message.make_response(question)
        if name in self.referrals:
            reply.authority.append(dns.rrset.from_text(f"{name}.", 300, "IN", "NS", "ns.elsewhere.example."))
        elif self._is_in(self.failures, name, kind):
            reply.set_rcode(dns.rcode.SERVFAIL)
        else:
            reply.flags |= dns.flags.AA
            if self.authentic and question.flags & dns.flags.AD:
                reply.flags |= dns.flags.AD
            self._fill(reply, name, kind)
        largest = 65535 if tcp else max(question.payload, 512)
        try:
            return reply.to_wire(max_size=largest)
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire(max_size=largest)

    def _fill(self, reply: Any, name: str, kind: str) -> None:
        for _ in range(20):
            entry = self.zones.get(name)
            if entry is None or not entry.alias or kind == "CNAME":
                break
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", "CNAME", f"{entry.alias}."))
            if self.lean:
                return
            name = entry.alias.lower()
            if self._is_in(self.failures, name, kind):
                reply.set_rcode(dns.rcode.SERVFAIL)
                return
        further = self.others.get((name, kind), [])
        known = {*self.zones, *(other for other, _ in self.others)}
        if name not in known and not any(other.endswith(f".{name}") for other in known):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        entry = entry or Name()
        texts = {
            "MX": [f"{mx.preference} {mx.host}." for mx in entry.mx],
            "A": entry.a,
            "AAAA": entry.aaaa,
            "CNAME": [f"{entry.alias}."] if entry.alias else [],
        }.get(kind, further)
        if texts:
            reply.answer.append(dns.rrset.from_text(f"{name}.", self.ttl, "IN", kind, *texts))
        else:
            soa = f"ns.invalid. nobody.invalid. 1 3600 600 86400 {self.negative_ttl}"
            reply.authority.append(dns.rrset.from_text(".", 86400, "IN", "SOA", soa))

    @staticmethod
    def _is_in(names: set[str | tuple[str, str]] | set[str], name: str, kind: str) -> bool:
        return name in names or (name, kind) in names


class _ReusableTCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True


@contextmanager
def serving(zones: Mapping[str, Name], address: str = "127.0.0.1", port: int = 0) -> Iterator[DnsServer]:
    """A server for the time of a `with` block."""
    server = DnsServer(zones, address, port)
    try:
        yield server
    finally:
        server.stop()
