"""Examination: all checks, side by side, each in a thread of its own, and an end to them whatever the world does."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final, NamedTuple

from cryptography.x509 import Certificate

from mta.config.model import Config
from mta.config.units import SocketAddress
from mta.net.certificates import TlsProblem, load_certificates
from mta.operating.doctor import certificate, dmarc, keys, machine, names, relaying, servers, spf, transport
from mta.operating.doctor.exchange import Host, Relay, is_here, judge_mx
from mta.operating.doctor.finding import Finding, Teller, quoted, to_json
from mta.operating.doctor.outside import Outside, outside_of
from mta.operating.doctor.spf_record import is_spf
from mta.policy.exchangers import Answer, Exchanger, Found, is_host_name
from mta.policy.idn import in_a_labels
from mta.policy.routing import Via

LIMIT: Final = 25.0  # seconds for all of it
MOST_DOMAINS: Final = 5
_LOOK: Final = 0.2  # seconds between two questions whether to go on
_SMTP: Final = 25
_MOST_HOSTS: Final = 10  # of MX records that are looked up
_ELSEWHERE: Final = "somebody@elsewhere.example"
_SUFFIX_LABELS: Final = 2  # a host name with more of them stands in a domain


class Request(NamedTuple):
    """What is asked for. domains: () for those of the configuration. selectors: of DKIM keys. addresses: the public
    ones that mail leaves from, () for those that are found. connect: a domain whose port 25 is tried; "" for none."""

    domains: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    connect: str = ""


NOTHING_MORE: Final = Request()


class Progress(NamedTuple):
    """A check has ended. name: which one."""

    name: str
    done: int
    of: int


Check = tuple[str, Callable[[], Iterable[Finding]]]


def domains_of(config: Config) -> tuple[str, ...]:
    """The domains that this relay is for: relay.domains, as far as they are names; else the one of its host name."""
    exact = tuple(in_a_labels(domain) for domain in config.relay.domains if not domain.startswith("."))
    if exact:
        return exact
    labels = config.hostname.lower().split(".")
    return (".".join(labels[1:] if len(labels) > _SUFFIX_LABELS else labels),)


def domain_in_ascii(text: str) -> str | None:
    """A domain as the DNS has it; None for what is none."""
    domain = in_a_labels(text.strip().lower()).removesuffix(".")
    return domain if "." in domain and is_host_name(domain) else None


def examined(
    config: Config, domain: str = "", go_on: Callable[[], None] = lambda: None, limit: float = LIMIT
) -> dict[str, Any]:
    """What `mta doctor --json` prints, for the console and the HTTP API. It blocks, for up to `limit` seconds.

    domain: "" for those of the configuration. Raises `ValueError`, with a sentence, for what is none. go_on: as for
    `examine`.
    """
    request = NOTHING_MORE
    if domain:
        name = domain_in_ascii(domain)
        if name is None:
            raise ValueError(f"{quoted(domain)} is not a domain such as example.org")
        request = Request((name,))
    return to_json(
        request.domains or domains_of(config), examine(config, outside_of(config), request, limit=limit, go_on=go_on)
    )


def examine(
    config: Config,
    outside: Outside,
    request: Request = NOTHING_MORE,
    tell: Callable[[Progress], None] = lambda _: None,
    limit: float = LIMIT,
    go_on: Callable[[], None] = lambda: None,
) -> list[Finding]:
    """All findings, in the order of the checks. It takes up to `limit` seconds; what is not done by then is unknown.

    tell: is told of each check that has ended, in the caller's thread. go_on: is called there now and then; what it
    raises ends the examination.
    """
    checks = _Examination(config, outside, request).checks()
    ended: SimpleQueue[tuple[int, list[Finding]]] = SimpleQueue()
    for number, check in enumerate(checks):
        # Daemons: a thread that waits for somebody slow must not keep the command from ending.
        Thread(target=_run, args=(number, check, ended), daemon=True).start()
    found: dict[int, list[Finding]] = {}
    until = time.monotonic() + limit
    while len(found) < len(checks) and (left := until - time.monotonic()) > 0:
        go_on()
        try:
            number, findings = ended.get(timeout=min(left, _LOOK))
        except Empty:
            continue
        found[number] = findings
        tell(Progress(checks[number][0], len(found), len(checks)))
    return [finding for number, check in enumerate(checks) for finding in found.get(number, _late(check, limit))]


def _run(number: int, check: Check, ended: SimpleQueue[tuple[int, list[Finding]]]) -> None:
    try:
        findings = list(check[1]())
    except Exception as error:  # one check that has a bug must not take the others along
        what = f"{type(error).__name__}: {error}"
        findings = [Teller(check[0], "").unknown(f"the check itself has failed ({what})", "report this")]
    ended.put((number, findings))


def _late(check: Check, limit: float) -> list[Finding]:
    return [Teller(check[0], "").unknown(f"no answer within {limit:g} s", "try again; see whether the DNS is slow")]


class _Examination:
    """What the checks share. They run at the same time: what is found here twice is found equal, in the DNS's cache."""

    def __init__(self, config: Config, outside: Outside, request: Request) -> None:
        self._config = config
        self._outside = outside
        self._request = request
        self._dns = outside.dns
        self._hostname = config.hostname.lower()
        self._all_domains = request.domains or domains_of(config)
        self._domains = self._all_domains[:MOST_DOMAINS]

    def checks(self) -> list[Check]:
        """All of them, by name."""
        of_host: list[Check] = [
            ("addresses", lambda: names.judge_own(self._own)),
            ("ptr", self._ptr),
            ("helo", lambda: names.judge_helo(self._hostname, self._dns.addresses(self._hostname), self._own)),
            ("spf", self._spf_of_helo),
        ]
        of_domains: list[Check] = [check for domain in self._domains for check in self._of_domain(domain)]
        of_machine: list[Check] = [
            ("certificate", self._certificates),
            ("open relay", lambda: relaying.judge_relaying(self._config)),
            ("port 25 out", self._port_25),
            ("port 25 in", lambda: [servers.port_25_in(self._outer_listeners())]),
            *[("name server", lambda server=server: self._server(server)) for server in self._dns.servers],
            ("dnssec", lambda: [servers.judge_validation(self._dns.start_of_authority("."))]),
            ("clock", lambda: [machine.judge_clock(machine.read_clock())]),
            ("disk", self._disk),
            ("descriptors", self._descriptors),
        ]
        return [*of_host, *of_domains, *of_machine, *self._left_out()]

    def _of_domain(self, domain: str) -> list[Check]:
        return [
            ("mx", lambda: self._mx(domain)),
            ("spf", lambda: self._spf(domain)),
            ("dkim", lambda: self._dkim(domain)),
            ("dmarc", lambda: dmarc.examine_dmarc(domain, self._dns)),
            ("mta-sts", lambda: self._sts(domain)),
            ("tlsrpt", lambda: [transport.judge_reports(domain, self._dns.texts(f"_smtp._tls.{domain}"))]),
            ("tlsa", lambda: self._tlsa(domain)),
            ("mailboxes", lambda: relaying.judge_mailboxes(self._config, domain)),
        ]

    def _left_out(self) -> list[Check]:
        others = self._all_domains[MOST_DOMAINS:]
        if not others:
            return []
        text = f"{len(others)} more of relay.domains were not examined"
        return [("domains", lambda: [Teller("domains", "").note(text, f"name one: mta doctor {others[0]}")])]

    @cached_property
    def _own(self) -> names.Own:
        bound = [one.address.host for one in self._config.listen if one.address.host]
        local = [*self._outside.sources(), *(one for one in bound if names.is_public(one))]
        return names.own_addresses(self._request.addresses, local, self._dns.addresses(self._hostname))

    def _ptr(self) -> list[Finding]:
        return [self._ptr_of(address) for address in self._own.public]

    def _ptr_of(self, address: str) -> Finding:
        answer = self._dns.names(address)
        forward = {name: self._dns.addresses(name) for name in answer.records[: names.MOST_NAMES]}
        return names.judge_ptr(address, self._hostname, answer, forward)

    def _spf_of_helo(self) -> list[Finding]:
        """Receivers look at the name in HELO where the reverse-path is null, as in bounces (RFC 7208 2.4)."""
        if self._hostname in self._domains or "." not in self._hostname:
            return []
        texts = self._dns.texts(self._hostname)
        if texts.found is not Found.FAILED and not any(map(is_spf, texts.records)):
            return [
                Teller("spf", self._hostname).note(
                    "there is no SPF record for the name in HELO, by which receivers judge bounces",
                    "publish:",
                    f'{self._hostname}. TXT "v=spf1 a -all"',
                )
            ]
        return spf.examine_spf(self._hostname, self._dns, self._own.public, self._hostname)

    def _mx(self, domain: str) -> list[Finding]:
        answer = self._exchangers(domain)
        asked = dict.fromkeys([domain, *(one.host for one in answer.records if one.host)])
        hosts = {host: Host(self._dns.addresses(host), self._dns.alias(host)) for host in asked}
        return judge_mx(domain, answer, hosts, self._relay(domain))

    def _spf(self, domain: str) -> list[Finding]:
        smarthost = self._smarthost(f"postmaster@{domain}")
        if not smarthost:
            return spf.examine_spf(domain, self._dns, self._own.public, self._hostname)
        return [
            *spf.examine_spf(domain, self._dns, (), self._hostname),
            Teller("spf", domain).unknown(
                f"its mail leaves through {smarthost}, whose addresses are not known here",
                "include what its operator says in the SPF record",
            ),
        ]

    def _dkim(self, domain: str) -> list[Finding]:
        if not self._request.selectors:
            return [keys.not_asked(domain)]
        return [
            keys.judge_key(domain, selector, self._dns.texts(f"{selector}._domainkey.{domain}"))
            for selector in self._request.selectors
        ]

    def _sts(self, domain: str) -> list[Finding]:
        texts = self._dns.texts(f"_mta-sts.{domain}")
        fetched, ahead = self._outside.policy(domain) if texts.records else (transport.Fetched(), None)
        hosts = [one.host for one in self._exchangers(domain).records if one.host]
        found = transport.judge_sts(domain, texts, fetched, hosts)
        other = machine.judge_other_clock(ahead, f"mta-sts.{domain}") if ahead is not None else None
        return [*found, other] if other is not None else found

    def _tlsa(self, domain: str) -> list[Finding]:
        relay = self._relay(domain)
        hosts = [one.host for one in self._exchangers(domain).records if one.host]
        here = [host for host in hosts if is_here(host, self._dns.addresses(host), relay)]
        chain = self._chain()
        return [
            finding
            for host in here
            for finding in transport.judge_tlsa(host, self._dns.associations(f"_25._tcp.{host}"), chain)
        ]

    def _certificates(self) -> list[Finding]:
        tls = self._config.tls
        if tls.certificate is None:
            return [
                Teller("certificate", "").warning(
                    "there is none, so mail comes in and passwords would go in the clear",
                    "get one for this host, and name it in tls (certbot, lego, acme.sh)",
                )
            ]
        of_domains = [one.host for domain in self._domains for one in self._exchangers(domain).records if one.host]
        relay = self._relay(self._domains[0])
        here = [host for host in of_domains if is_here(host, self._dns.addresses(host), relay)]
        files = [(tls.certificate, tuple(dict.fromkeys([self._hostname, *here])))]
        files += [(one.certificate, (name,)) for name, one in tls.names.items()]
        found = []
        now = time.time()
        for file, hosts in files:
            try:
                chain = load_certificates(file)
            except TlsProblem as error:
                found.append(Teller("certificate", str(file)).problem(str(error), "see mta check"))
                continue
            others = [host for host in hosts if host == hosts[0] or host not in tls.names]
            distrust = certificate.distrust_of(chain, self._outside.trust, now)
            found += certificate.judge_certificate(str(file), chain, others, distrust, now)
        return found

    def _chain(self) -> Sequence[Certificate]:
        """The certificate that is shown to those who ask for no other; () where it is not there."""
        try:
            return load_certificates(self._config.tls.certificate) if self._config.tls.certificate else ()
        except TlsProblem:
            return ()

    def _port_25(self) -> list[Finding]:
        domain = self._request.connect
        if not domain:
            return [servers.not_tried(self._smarthost(f"postmaster@{self._domains[0]}"))]
        exchangers = self._exchangers(domain).records or (Exchanger(0, domain),)
        found: dict[bool, servers.Reached] = {}
        for host in [one.host for one in exchangers if one.host]:
            for address in self._dns.addresses(host).records:
                family = ":" in address
                if family not in found:
                    found[family] = self._outside.greeting(host, address)
        if not found:
            text = f"no exchanger of {domain} has an address"
            return [Teller("port 25 out", "").unknown(text, "name another domain, or see what the name servers say")]
        return servers.judge_port_25(domain, list(found.values()))

    def _outer_listeners(self) -> list[str]:
        """Those on port 25 of an address that is not loopback's, and those whose address is another's to say."""
        return [str(one.address) for one in self._config.listen if _may_be_outer(one.address)]

    def _server(self, server: str) -> list[Finding]:
        return [servers.judge_server(server, *self._outside.ask_server(server, self._domains[0]))]

    def _disk(self) -> list[Finding]:
        try:
            return machine.judge_disk(self._config.spool, machine.measure_disk(self._config.spool))
        except OSError as error:
            text = f"it cannot be looked at: {(error.strerror or str(error)).lower()}"
            return [Teller("disk", str(self._config.spool)).unknown(text, "run this as root or as the relay's user")]

    def _descriptors(self) -> list[Finding]:
        return [machine.judge_descriptors(machine.descriptor_limit(), self._config.limits.connections)]

    def _exchangers(self, domain: str) -> Answer[Exchanger]:
        answer = self._dns.exchangers(domain)
        return answer._replace(records=answer.records[:_MOST_HOSTS])

    def _relay(self, domain: str) -> Relay:
        takes = self._config.access().judge(False, f"postmaster@{domain}").allowed
        hop = self._config.routing().decide("", f"postmaster@{domain}").hop
        return Relay(self._hostname, self._own, takes, by_mx=hop is not None and hop.via is Via.MX)

    def _smarthost(self, sender: str) -> str:
        """Where mail of a sender for the world goes; "" where that is by MX, or nowhere."""
        hop = self._config.routing().decide(sender, _ELSEWHERE).hop
        return "" if hop is None or hop.via in (Via.MX, Via.DISCARD) else hop.destination


def _may_be_outer(address: SocketAddress) -> bool:
    if not address.host:
        return not address.path
    return address.port == _SMTP and not ip_address(address.host).is_loopback
