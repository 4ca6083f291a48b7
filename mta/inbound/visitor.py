"""Visitor: what is known of a client, from its address to its login."""

from mta.inbound.house import House
from mta.inbound.manners import DAY, Manners
from mta.logins import IChannel, LoggedIn, LoginFrom
from mta.message.envelope import Client
from mta.policy.access import in_networks
from mta.policy.pattern import Pattern
from mta.smtp.settings import ServerSettings
from mta.smtp.xclient import ClientAttributes

_PROTOCOLS = {  # by "in TLS" and "logged in" (RFC 3848, RFC 6531 4.3)
    (False, False): ("ESMTP", "UTF8SMTP"),
    (False, True): ("ESMTPA", "UTF8SMTPA"),
    (True, False): ("ESMTPS", "UTF8SMTPS"),
    (True, True): ("ESMTPSA", "UTF8SMTPSA"),
}


class Visitor:
    """One client of a listener.

    address: its IP address, "" on a Unix socket. helo: what it calls itself. extended: it said EHLO. tls: protocol
    and cipher, "" in the clear. certificate: the names that its own verified certificate gives it. channel: its TLS,
    that logins can be bound to. account: who it has logged in as. senders: what that account may send as, () for
    anything. may_relay: it may send anywhere. may_start_queues: it may ETRN.
    settings: what it is offered.
    """

    __slots__ = (
        "_house",
        "_manners",
        "account",
        "address",
        "certificate",
        "channel",
        "extended",
        "helo",
        "may_relay",
        "may_start_queues",
        "senders",
        "settings",
        "tls",
    )

    def __init__(self, house: House, manners: Manners, address: str) -> None:
        self._house = house
        self._manners = manners
        self.address = address
        self.helo = ""
        self.extended = False
        self.tls = ""
        self.certificate: tuple[str, ...] = ()
        self.channel: IChannel | None = None
        self.account = ""
        self.senders: tuple[Pattern, ...] = ()
        self.may_relay = False
        self.may_start_queues = False
        self.settings: ServerSettings
        self._appraise()

    def _appraise(self) -> None:
        """Something about it has changed: see what it may do now, and what it is to be offered."""
        house, manners = self._house, self._manners
        self.may_relay = manners.trusted or bool(self.account) or house.access.may_relay(self.address)
        self.may_start_queues = self.may_relay or (bool(manners.etrn) and in_networks(self.address, manners.etrn))
        self.settings = manners.settings(
            self.may_relay,
            self.tls != "",
            self.account != "",
            self._mechanisms() if manners.auth != "none" else (),
            self.may_start_queues,
            manners.xclient != () and in_networks(self.address, manners.xclient),
            int(house.keeping.now() / DAY) if self.may_relay else 0,
        )

    @property
    def login_from(self) -> LoginFrom:
        """What it is known by, for whoever checks a login."""
        plaintext = bool(self.tls) or in_networks(self.address, self._manners.plaintext_auth)
        return LoginFrom(self.address, bool(self.tls), plaintext, self.certificate, self.channel)

    def secured(self, tls: str, certificate: tuple[str, ...], channel: IChannel | None) -> None:
        """The connection is encrypted: what it said before does not count (RFC 3207 4.2)."""
        self.tls, self.certificate, self.channel = tls, certificate, channel
        self.helo, self.extended = "", False
        self.account, self.senders = "", ()
        self._appraise()

    def logged_in(self, who: LoggedIn) -> None:
        """It has proved who it is."""
        self.account, self.senders = who.account, who.senders
        self._appraise()

    def presented(self, told: ClientAttributes) -> None:
        """A proxy that we trust has said whom it speaks for, who begins anew.

        A login stays only where nothing is said of another client: the proxy's own is not its clients'.
        """
        if told.address is not None:
            self.address = told.address
        if told.address is not None or told.login is not None:
            self.account, self.senders = self._account_of(told.login or "")
        self.certificate = ()  # the proxy's own, which its clients must not log in by
        self.channel = None  # nor can they bind to a TLS that they have no part in
        self.helo, self.extended = told.helo or "", told.protocol == "ESMTP"
        self._appraise()

    def _account_of(self, login: str) -> tuple[str, tuple[Pattern, ...]]:
        """An account that a proxy vouches for, and what it may send as."""
        authentication = self._house.authentication
        return login, authentication.senders(login) if authentication is not None and login else ()

    def refused(self, why: str, **more: str) -> None:
        """Tell the log that something of it was refused."""
        client, helo, account = self.address or "unix", self.helo or None, self.account or None
        self._house.log.event("refused", client=client, helo=helo, account=account, why=why, **more)

    def client(self, smtputf8: bool = False) -> Client:
        """It as an envelope remembers it."""
        if not self.extended:
            return Client(self.address, self.helo, "SMTP", self.account, self.tls)
        protocol = _PROTOCOLS[bool(self.tls), bool(self.account)][smtputf8]
        return Client(self.address, self.helo, protocol, self.account, self.tls)

    def _mechanisms(self) -> tuple[str, ...]:
        authentication = self._house.authentication
        return () if authentication is None else authentication.mechanisms(self.login_from)
