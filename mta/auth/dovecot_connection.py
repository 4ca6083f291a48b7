"""Dovecot's connection: requests of its auth protocol, and the answers to them, as they come over its socket."""

import os
from collections.abc import Callable, Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mta.auth import dovecot_lines as lines
from mta.auth.dovecot_lines import Answer, Offer
from mta.logins import LoginFrom

_MOST_PENDING: Final = 1000
_MOST_OFFERS: Final = 50


class Down(Exception):
    """Dovecot cannot be asked. The text says why."""


class Connection(LineOnlyReceiver):
    """One connection."""

    delimiter = b"\n"
    MAX_LENGTH = 16384

    def __init__(self, ready: Callable[["Connection"], None], lost: Callable[["Connection", str], None]) -> None:
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

    def proceed(self, number: int, response: bytes, binding: bytes | None = None) -> "Deferred[Answer]":
        """Go on with one. binding: what it was asked for."""
        return self._ask(number, lines.continued(number, response, binding))

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


class ConnectionFactory(Factory[Connection]):
    """Makes the one connection, as `make` does."""

    noisy = False

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """The one connection."""
        return self._make()
