"""Dovecot: its auth socket as a source of accounts. One connection, made when it is needed, made again when lost."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mta.auth import dovecot_lines as lines
from mta.auth.dovecot_lines import Answer, Offer
from mta.interfaces import LoginFrom

WAITS: Final = 30.0  # seconds for an answer; Dovecot itself takes its time after failures
_LOOKS: Final = 1.0  # seconds between two tries to reach it that nobody waits for
_MOST_PENDING: Final = 1000
_MOST_OFFERS: Final = 50
# Until it has said what it offers: clients that wait for AUTH are told 454 rather than that there is no such thing.
_SUPPOSED: Final = (Offer("PLAIN", True), Offer("LOGIN", True))


class Down(Exception):
    """Dovecot cannot be asked. The text says why."""


class Said(NamedTuple):
    """What Dovecot says to a response. kind: "CONT" with octets for the client, "OK" or "FAIL".

    user: who the client is, or said to be. temporary: of FAIL: it could not be checked.
    """

    kind: str
    octets: bytes = b""
    user: str = ""
    temporary: bool = False
    why: str = ""


class _Protocol(LineOnlyReceiver):
    """One connection."""

    delimiter = b"\n"
    MAX_LENGTH = 16384

    def __init__(self, ready: Callable[["_Protocol"], None], lost: Callable[["_Protocol", str], None]) -> None:
        self.offers: list[Offer] = []
        self._ready = ready
        self._lost = lost
        self._is_ready = False
        self._number = 0
        self._pending: dict[int, Deferred[Answer]] = {}

    def connectionMade(self) -> None:
        """Introduce ourselves; Dovecot does the same, and does not wait either."""
        self._write(lines.line("VERSION", *map(str, lines.VERSION)) + lines.line("CPID", str(os.getpid())))

    def begin(self, mechanism: str, client: LoginFrom, response: bytes | None) -> tuple[int, "Deferred[Answer]"]:
        """Begin a request; its number, and the first answer."""
        if len(self._pending) >= _MOST_PENDING:
            raise Down("too many logins wait for Dovecot")
        self._number += 1
        return self._number, self._ask(self._number, lines.request(self._number, mechanism, client, response))

    def proceed(self, number: int, response: bytes) -> "Deferred[Answer]":
        """Go on with one."""
        return self._ask(number, lines.continued(number, response))

    def forget(self, number: int) -> None:
        """Nobody waits for this any more."""
        self._pending.pop(number, None)

    def close(self, why: str) -> None:
        """Lose it now; whoever waits fails with `Down`."""
        self._end(why)
        if self.transport is not None:
            self.transport.loseConnection()

    def lineReceived(self, line: bytes) -> None:
        """Something from Dovecot."""
        try:
            self._heard(lines.words_of(line))
        except (ValueError, IndexError) as error:
            self.close(f"Dovecot says what is not of its protocol: {error}")

    def lineLengthExceeded(self, line: bytes) -> None:
        """Not of its protocol either."""
        self.close("Dovecot says too much on one line")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._end("the connection to Dovecot was lost")

    def _ask(self, number: int, octets: bytes) -> "Deferred[Answer]":
        answered: Deferred[Answer] = Deferred()
        self._pending[number] = answered
        self._write(octets)
        return answered

    def _write(self, octets: bytes) -> None:
        assert self.transport is not None, "it is connected"
        self.transport.write(octets)

    def _heard(self, words: Sequence[str]) -> None:
        match words[0]:
            case "VERSION" if int(words[1]) != lines.VERSION[0]:
                raise ValueError(f"version {words[1]}, not {lines.VERSION[0]}")
            case "MECH" if len(self.offers) < _MOST_OFFERS:
                offer = lines.offer(list(words))
                if offer is not None:
                    self.offers.append(offer)
            case "DONE" if not self._is_ready:
                self._is_ready = True
                self._ready(self)
            case "CONT" | "OK" | "FAIL":
                answer = lines.answer(list(words))
                waiting = self._pending.pop(answer.number, None)
                if waiting is not None:
                    waiting.callback(answer)
            case _:
                pass  # SPID, CUID and COOKIE are for who talks to its master, too; later versions say more

    def _end(self, why: str) -> None:
        pending, self._pending = self._pending, {}
        self._lost(self, why)
        for waiting in pending.values():
            waiting.errback(Down(why))


class _Factory(Factory[_Protocol]):
    noisy = False

    def __init__(self, make: Callable[[], _Protocol]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> _Protocol:
        """The one connection."""
        return self._make()


class Dovecot:
    """Dovecot behind its socket. connect: makes a connection for a factory, as an endpoint's `connect` does."""

    def __init__(self, connect: Callable[[IProtocolFactory], "Deferred[Any]"], clock: IReactorTime) -> None:
        self._connect = connect
        self._clock = clock
        self._offers: Sequence[Offer] = _SUPPOSED
        self._open: _Protocol | None = None  # which has said DONE
        self._opening: _Protocol | None = None
        self._waiting: list[Deferred[_Protocol]] | None = None
        self._timer: IDelayedCall | None = None
        self._tried = float("-inf")
        self._stopped = False

    def offers(self) -> Sequence[Offer]:
        """What it offers, as it last said. Has it asked, where it is not connected."""
        now = self._clock.seconds()
        if self._open is None and self._waiting is None and not self._stopped and now - self._tried >= _LOOKS:
            self._connected().addErrback(lambda failure: failure.trap(Down) and None)
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

    def connected(self) -> "Deferred[_Protocol]":
        """A connection that is ready. Fails with `Down`."""
        return self._connected()

    def _connected(self) -> "Deferred[_Protocol]":
        if self._stopped:
            return fail(Down("the relay is stopping"))
        ready: Deferred[_Protocol] = Deferred()
        if self._open is not None:
            ready.callback(self._open)
            return ready
        if self._waiting is not None:
            self._waiting.append(ready)
            return ready
        self._waiting = [ready]
        self._tried = self._clock.seconds()
        self._timer = self._clock.callLater(WAITS, self._failed, f"Dovecot has not introduced itself in {WAITS:g} s")
        self._connect(_Factory(self._made)).addErrback(
            lambda failure: self._failed(f"Dovecot is out of reach: {failure.value}")
        )
        return ready

    def _made(self) -> _Protocol:
        self._opening = _Protocol(self._ready, self._lost)
        return self._opening

    def _ready(self, protocol: _Protocol) -> None:
        self._offers = protocol.offers
        self._open, self._opening = protocol, None
        for one in self._no_longer_waiting():
            one.callback(protocol)

    def _lost(self, protocol: _Protocol, why: str) -> None:
        if protocol is self._open:
            self._open = None
        elif protocol is self._opening:
            self._opening = None
            self._failed(why)

    def _failed(self, why: str) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.close(why)
        for one in self._no_longer_waiting():
            one.errback(Down(why))

    def _no_longer_waiting(self) -> list["Deferred[_Protocol]"]:
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
        self._begun: tuple[_Protocol, int] | None = None

    async def respond(self, response: bytes | None) -> Said:
        """What Dovecot says to the client's next response; None for no initial one. Raises `Down`."""
        if self._begun is None:
            protocol = await self._dovecot.connected()
            number, answered = protocol.begin(self._mechanism, self._client, response)
            self._begun = protocol, number
        else:
            protocol, number = self._begun
            answered = protocol.proceed(number, response or b"")
        answer = await self._dovecot.within(answered, lambda: protocol.forget(number))
        fields = answer.fields
        return Said(
            answer.kind,
            answer.data,
            fields.get("user", ""),
            "temp" in fields or fields.get("code") == "temp_fail",
            fields.get("reason", "") or "Dovecot says no",
        )
