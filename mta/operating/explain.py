"""Explain: what would become of a mail, and why, as a value. Nothing is sent, and nothing is written down.

Nothing is decided here either: the commands are read as a session reads them, `policy/admission.py` answers them as it
answers clients, `transports/search.py` finds the hosts as it does for a delivery. Here their reasons are gathered.
`explained.py` puts them into words and JSON.
"""

from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Final, NamedTuple

from mta.config.model import Config
from mta.config.model import Listener as ListenerEntry
from mta.inbound.manners import DAY, Standing
from mta.message.envelope import Recipient
from mta.operating.asking import Question, bare
from mta.parts import manners
from mta.policy.access import in_networks
from mta.policy.addressing import Addressed, Addressing, Expanded, Forwarding
from mta.policy.admission import Admission
from mta.policy.pattern import Kind, Pattern
from mta.policy.retry import RetryPolicy, tries, warning
from mta.policy.routing import Decision, Hop, Via, destination_of
from mta.policy.security import protection
from mta.smtp import replies
from mta.smtp.command import Mail, Rcpt
from mta.smtp.parser import parse_command
from mta.smtp.reply import Reply
from mta.spool.listing import Outlook
from mta.transports.search import Finder, Search

MOST_SEARCHED: Final = 10  # destinations whose hosts are looked up for one explanation
MOST_NAMES: Final = 20  # entries of the directory that are told of
MOST_TRIES: Final = 100  # that are listed

# The ends that are foreseen; a mail that is tried ends as the hosts say.
TRIED, DISCARDED, FAILED, DEFERRED = "tried", "discarded", "failed", "deferred"


class Step(NamedTuple):
    """One thing that was decided. what: about what. where: the file and the line that says so; "" for a default."""

    what: str
    text: str
    where: str = ""


class Host(NamedTuple):
    """A host to try, with its addresses in their order. name: "" where only an address is known. port: 0 for a Unix
    socket, whose path is the address."""

    name: str
    addresses: tuple[str, ...]
    port: int


class NextHop(NamedTuple):
    """How a hop is reached. hosts: in an order in which they may be tried; those of one preference change places.

    found: how they were found. left_out: hosts and addresses that are not tried, and why. failure: why there is none.
    searched: False where that many destinations had been looked up already, so that nothing is known of hosts.
    tls, login, eight_bit: what is done there, and what says so. outlook: how it stands in the queue; None if unknown.
    """

    destination: str
    via: str
    searched: bool
    hosts: tuple[Host, ...]
    found: str
    left_out: tuple[str, ...]
    failure: Reply | None
    tls: Step
    login: Step | None
    eight_bit: Step
    outlook: Outlook | None


class Way(NamedTuple):
    """Recipients who go one way together. reverse_path: whom they get it from. route: what says so.

    end: one of the words above; reply: why it is not tried, None else. hop: None where nothing is sent.
    """

    recipients: tuple[Recipient, ...]
    reverse_path: str
    route: Step
    end: str
    reply: Reply | None
    hop: NextHop | None


class Schedule(NamedTuple):
    """When it is tried, in seconds since 1970, if no try succeeds: the first ones, each wait as short as it can be.

    all_of_them: there are no more. warned: when its sender is told; None for never. given_up: when it bounces.
    """

    tries: tuple[float, ...]
    all_of_them: bool
    warned: float | None
    given_up: float


class Explanation(NamedTuple):
    """What would become of a mail. command: the one that the reply is to: MAIL, where it comes to nothing, or RCPT.

    steps: in the order in which they were taken. expanded: what kind of name the recipient is. message_size: octets, 0
    for any; recipients: of one message. schedule: None where nothing is to be tried.
    """

    question: Question
    listener: str
    at: float
    command: str
    reply: Reply
    steps: tuple[Step, ...]
    expanded: Expanded
    ways: tuple[Way, ...]
    message_size: int
    recipients: int
    schedule: Schedule | None

    @property
    def is_accepted(self) -> bool:
        """Would it be taken?"""
        return self.reply.is_positive


Look = Callable[[str], Outlook]
"""How things stand with a destination in the queue."""


class Explainer:
    """Answers questions about a configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._access = config.access()
        self._addressing = Addressing(config.directory(), config.routing(), config.postmaster)
        self._admission = Admission(config.hostname, config.postmaster, self._access, self._addressing)
        self._retry = config.retry_policy()

    async def explain(self, question: Question, finder: Finder, now: float, look: Look | None = None) -> Explanation:
        """What would become of such a mail at `now`, in seconds since 1970.

        finder: asks the DNS, as the relay's own does (`mta.parts.finder`). look: None where the queue is out of reach.
        """
        config = self._config
        entry = config.listen[question.listener]
        steps: list[Step] = []
        command, addressed = self._hand_over(question, entry, now, steps)
        ways: tuple[Way, ...] = ()
        if isinstance(addressed, Reply):
            reply, expanded = addressed, Expanded.NOT
        else:
            reply, expanded = addressed.reply or replies.RECIPIENT_OK, addressed.expanded
            ways = await self._ways(addressed.forwardings, finder, look)
            if not addressed.forwardings:
                decision = self._addressing.decide(question.sender, addressed.recipient.address)
                where = self._place_of(decision) if decision.refusal == reply else ""
                steps.append(Step("why", addressed.why, where))
        is_tried = any(way.end in (TRIED, DEFERRED) for way in ways)
        return Explanation(
            question,
            str(entry.address),
            now,
            command,
            reply,
            tuple(steps),
            expanded,
            ways,
            config.limits.message_size,
            config.limits.recipients,
            schedule(self._retry, now) if is_tried else None,
        )

    def _hand_over(
        self, question: Question, entry: ListenerEntry, now: float, steps: list[Step]
    ) -> tuple[str, Reply | Addressed]:
        """The command that decides, and what comes of it."""
        kept = manners(self._config, entry, self._config.tls.certificate is not None)
        may_relay = question.account is not None or self._access.may_relay(question.client)
        steps += [self._at_listener(question, kept.tls), self._of_client(question)]
        settings = kept.settings(
            *Standing(may_relay, kept.tls != "none", question.account is not None, day=int(now / DAY) * may_relay)
        )
        if settings.demand is not None:
            return "MAIL", settings.demand
        more = "" if (question.sender + question.address).isascii() else " SMTPUTF8"
        mail = parse_command(_line(f"MAIL FROM:<{question.sender}>{more}"), settings.dialect)
        if isinstance(mail, Reply):
            return "MAIL", mail
        assert isinstance(mail, Mail), "the line is one of MAIL"
        note = _Notes(self._config, steps)
        account, senders = (question.account.name, question.account.senders) if question.account else ("", ())
        sender = self._admission.sender(mail.reverse_path, kept.source_routes, account, senders, note)
        if isinstance(sender, Reply):
            return "MAIL", sender
        rcpt = parse_command(_line(f"RCPT TO:<{bare(question.address)}>"), settings.dialect)
        if isinstance(rcpt, Reply):
            return "RCPT", rcpt
        assert isinstance(rcpt, Rcpt), "the line is one of RCPT"
        given = self._admission.recipient(
            rcpt.forward_path, kept.source_routes, may_relay, sender, mail.reverse_path.route, note=note
        )
        note.close()
        return "RCPT", given

    def _at_listener(self, question: Question, tls: str) -> Step:
        entry = self._config.listen[question.listener]
        how = f"tls: {tls}{', which is taken to be used' if tls != 'none' else ''}"
        text = f"{entry.address}; {how}; auth: {entry.auth}; source_routes: {entry.source_routes}"
        return Step("listener", text, self._config.place(("listen", question.listener)))

    def _of_client(self, question: Question) -> Step:
        """Why it may send where."""
        if question.account is not None:
            as_whom = ", ".join(_written(one) for one in question.account.senders) or "anybody"
            return Step("login", f"{question.account.name}, who may send anywhere, as {as_whom}")
        client = question.client or "a client on a Unix socket"
        for number, network in enumerate(self._access.networks):
            if in_networks(question.client, (network,)):
                where = self._config.place(("relay", "networks", number))
                return Step("client", f"{client} is in {network} of relay.networks, and may send anywhere", where)
        text = f"{client} is in none of relay.networks, and may send to relay.domains alone"
        return Step("client", text, self._config.place(("relay",)))

    async def _ways(self, forwardings: tuple[Forwarding, ...], finder: Finder, look: Look | None) -> tuple[Way, ...]:
        """Who goes together, as one delivery in the queue would."""
        groups: dict[tuple[str, str, str], list[Forwarding]] = {}
        for one in forwardings:
            refusal = str(one.decision.refusal or "")
            name = destination_of(one.decision, one.recipient.address) if not refusal else ""
            groups.setdefault((name, one.reverse_path, refusal), []).append(one)
        hops: dict[str, NextHop] = {}
        ways: list[Way] = []
        for group in groups.values():
            decision, reverse_path = group[0].decision, group[0].reverse_path
            recipients = tuple({one.recipient.address: one.recipient for one in group}.values())
            route = Step("route", decision.why, self._place_of(decision))
            hop = decision.hop
            if hop is None:
                end = DEFERRED if decision.refusal and decision.refusal.is_transient else FAILED
                ways.append(Way(recipients, reverse_path, route, end, decision.refusal, None))
            elif hop.via is Via.DISCARD:
                ways.append(Way(recipients, reverse_path, route, DISCARDED, None, None))
            else:
                if hop.destination not in hops:
                    searched = len(hops) < MOST_SEARCHED
                    hops[hop.destination] = await self._next_hop(hop, decision, finder if searched else None, look)
                ways.append(_over(recipients, reverse_path, route, hops[hop.destination]))
        return tuple(ways)

    async def _next_hop(self, hop: Hop, decision: Decision, finder: Finder | None, look: Look | None) -> NextHop:
        left_out: list[str] = []
        hosts: tuple[Host, ...] = ()
        found, failure = "", None
        if finder is not None:
            search = finder.search(hop, lambda host, why: left_out.append(f"{host}: {why}"))
            hosts = await _hosts(search)
            found, failure = search.why, search.failure
        return NextHop(
            hop.destination,
            hop.via,
            finder is not None,
            hosts,
            found,
            tuple(left_out),
            failure,
            Step("tls", protection(hop).why, self._place_of(decision, "tls")),
            self._login(hop.login) if hop.login else None,
            Step("eight_bit", f"{hop.eight_bit}: {_EIGHT_BIT[hop.eight_bit]}", self._place_of(decision, "eight_bit")),
            look(hop.destination) if look is not None else None,
        )

    def _login(self, name: str) -> Step:
        return Step("login", f"{name}, as {self._config.logins[name].user}", self._config.place(("logins", name)))

    def _place_of(self, decision: Decision, *key: str) -> str:
        """Where its route stands, or a key of that."""
        return "" if decision.number is None else self._config.place(("routes", decision.number, *key))


class _Notes:
    """Takes down what admission tells, up to a number of names of the directory."""

    def __init__(self, config: Config, steps: list[Step]) -> None:
        self._config = config
        self._steps = steps
        self._names = 0

    def __call__(self, what: str, how: str, entry: str) -> None:
        """As `addressing.Note`."""
        self._names += bool(entry)
        if entry and self._names > MOST_NAMES:
            return
        where = self._config.directory_file.place(entry) if entry else ""
        step = Step(what, how.removeprefix(f"{what}: "), where)
        if step not in self._steps:  # a name may be met on several ways
            self._steps.append(step)

    def close(self) -> None:
        """No more is told."""
        if self._names > MOST_NAMES:
            self._steps.append(Step("directory", f"and {self._names - MOST_NAMES:,} more names on the way"))


def schedule(policy: RetryPolicy, now: float) -> Schedule:
    """When a message that has just come is tried."""
    listed = tuple(islice(tries(policy, now, _NoChance()), MOST_TRIES))
    given_up = now + policy.give_up
    return Schedule(listed, listed[-1] >= given_up, warning(policy, now, warned=False), given_up)


class _NoChance(Random):
    """Adds nothing to a wait."""

    def random(self) -> float:
        """Nothing."""
        return 0.0


def _over(recipients: tuple[Recipient, ...], reverse_path: str, route: Step, hop: NextHop) -> Way:
    """Recipients who go to a hop, or cannot."""
    if hop.hosts or hop.failure is None:
        return Way(recipients, reverse_path, route, TRIED, None, hop)
    end = FAILED if hop.failure.is_permanent else DEFERRED
    return Way(recipients, reverse_path, route, end, hop.failure, hop)


async def _hosts(search: Search) -> tuple[Host, ...]:
    """All places that a search finds, by their hosts."""
    hosts: list[Host] = []
    while (place := await search.next()) is not None:
        if hosts and hosts[-1].name == place.host and place.host:
            hosts[-1] = hosts[-1]._replace(addresses=(*hosts[-1].addresses, place.address))
        else:
            hosts.append(Host(place.host, (place.address,), place.port))
    return tuple(hosts)


def _line(text: str) -> bytes:
    """A command line as a client would send it, what is no UTF-8 included."""
    return text.encode("utf-8", "surrogateescape")


def _written(pattern: Pattern) -> str:
    return f"*@{pattern.name}" if pattern.kind is Kind.DOMAIN else pattern.name


_EIGHT_BIT: Final = {
    "convert": "at a host that takes 7 bit only, the content is made 7 bit",
    "send": "8 bit content is sent as it is, also to a host that did not offer to take it",
    "bounce": "8 bit content is returned where the host takes 7 bit only",
}
