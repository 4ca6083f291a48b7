"""Dovecot: its auth socket as a source of accounts. One connection, made when it is needed, made again when lost."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime

from mta.auth.dovecot_connection import Connection, ConnectionFactory, Down
from mta.auth.dovecot_lines import Answer, Offer
from mta.auth.steps import Unbound
from mta.logins import LoginFrom
from mta.smtp import replies

WAITS: Final = 30.0  # seconds for an answer; Dovecot itself takes its time after failures
_LOOKS: Final = 1.0  # seconds between two tries to reach it that nobody waits for
# Until it has said what it offers: clients that wait for AUTH are told 454 rather than that there is no such thing.
_SUPPOSED: Final = (Offer("PLAIN", True), Offer("LOGIN", True))


class Dovecot:
    """Dovecot behind its socket. connect: makes a connection for a factory, as an endpoint's `connect` does."""

    def __init__(self, connect: Callable[[IProtocolFactory], "Deferred[Any]"], clock: IReactorTime) -> None:
        self._connect = connect
        self._clock = clock
        self._offers: Sequence[Offer] = _SUPPOSED
        self._open: Connection | None = None  # which has said DONE
        self._opening: Connection | None = None
        self._waiting: list[Deferred[Connection]] | None = None
        self._timer: IDelayedCall | None = None
        self._tried = float("-inf")
        self._stopped = False

    def offers(self) -> Sequence[Offer]:
        """What it offers, as it last said. Has it asked, where it is not connected."""
        now = self._clock.seconds()
        if self._open is None and self._waiting is None and not self._stopped and now - self._tried >= _LOOKS:
            self.connected().addErrback(lambda failure: failure.trap(Down))  # whoever begins a login will be told
        return self._offers

    def begin(self, mechanism: str, client: LoginFrom) -> "DovecotExchange":
        """One login by a mechanism that it offers."""
        return DovecotExchange(self, mechanism, client)

    def stop(self) -> None:
        """Ask no more; whoever waits gets `Down`."""
        self._stopped = True
        for one in (self._open, self._opening):
            if one is not None:
                one.close("the relay is stopping")
        self._failed("the relay is stopping")

    def within(self, answered: "Deferred[Answer]", give_up: Callable[[], None]) -> "Deferred[Answer]":
        """The answer, or `Down` after 30 s."""

        def late() -> None:
            give_up()
            if not answered.called:
                answered.errback(Down(f"Dovecot has not answered within {WAITS:g} s"))

        timer = self._clock.callLater(WAITS, late)

        def ended(result: Answer) -> Answer:
            if timer.active():
                timer.cancel()
            return result

        return answered.addBoth(ended)

    def connected(self) -> "Deferred[Connection]":
        """A connection that is ready. Fails with `Down`."""
        if self._stopped:
            return fail(Down("the relay is stopping"))
        ready: Deferred[Connection] = Deferred()
        if self._open is not None:
            ready.callback(self._open)
            return ready
        if self._waiting is not None:
            self._waiting.append(ready)
            return ready
        self._waiting = [ready]
        self._tried = self._clock.seconds()
        self._timer = self._clock.callLater(WAITS, self._failed, f"Dovecot has not introduced itself in {WAITS:g} s")
        self._connect(ConnectionFactory(self._made)).addErrback(
            lambda failure: self._failed(f"Dovecot is out of reach: {failure.value}")
        )
        return ready

    def _made(self) -> Connection:
        self._opening = Connection(self._ready, self._lost)
        return self._opening

    def _ready(self, connection: Connection) -> None:
        self._offers = connection.offers
        self._open, self._opening = connection, None
        for one in self._no_longer_waiting():
            one.callback(connection)

    def _lost(self, connection: Connection, why: str) -> None:
        if connection is self._open:
            self._open = None
        elif connection is self._opening:
            self._opening = None
            self._failed(why)

    def _failed(self, why: str) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.close(why)
        for one in self._no_longer_waiting():
            one.errback(Down(why))

    def _no_longer_waiting(self) -> list["Deferred[Connection]"]:
        waiting, self._waiting = self._waiting or [], None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        return waiting


class DovecotExchange:
    """One login that Dovecot judges."""

    def __init__(self, dovecot: Dovecot, mechanism: str, client: LoginFrom) -> None:
        self._dovecot = dovecot
        self._mechanism = mechanism
        self._client = client
        self._begun: tuple[Connection, int] | None = None
        self._binding: bytes | None = None

    async def respond(self, response: bytes | None) -> Answer:
        """What Dovecot says to the client's next response; None for no initial one. Raises `Down`, and `Unbound` where
        the login is bound in a way that there is not here."""
        if self._begun is None:
            connection = await self._dovecot.connected()
            number, answered = connection.begin(self._mechanism, self._client, response)
            self._begun = connection, number
        else:
            connection, number = self._begun
            answered = connection.proceed(number, response or b"", self._binding)
        answer = await self._dovecot.within(answered, lambda: connection.forget(number))
        channel = self._client.channel
        self._binding = None
        if answer.asks_for:
            self._binding = channel.binding(answer.asks_for) if channel is not None else None
            if self._binding is None:
                raise Unbound(replies.UNKNOWN_BINDING, "this connection has no channel binding of that type")
        return answer
