"""Service: listens at `admin.listen`, and builds what answers there."""

from threading import Event
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall, deferLater

from mta.admin.pages import Seen, pages
from mta.config.model import Config
from mta.config.reading import read_token
from mta.maillog import Log
from mta.net import sockets
from mta.net.handover import HandedOver
from mta.net.poller import passing
from mta.net.threads import PooledThreads
from mta.operating.advising import Adviser
from mta.operating.operator import Operator
from mta.web import advice, api, events, health, metrics, openapi, sending
from mta.web.access import Token
from mta.web.application import Admission, Application
from mta.web.asking import Asking
from mta.web.console.errands import Errands
from mta.web.console.rates import OFTEN, Rates
from mta.web.hosts import Hosts
from mta.web.routes import Route
from mta.web.seams import IRunning
from mta.web.site import Site
from mta.wiring.trouble import CannotStart, cannot_listen, listening_name_of_admin

AT_ONCE: Final = 4  # calls of the operator's that are under way
LINE: Final = 64  # and that wait for one
ERRANDS: Final = 2  # pieces of work that take long and are under way, and that wait

_ANY: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  not bound to, compared with


class Admin(Service):
    """The admin address of a relay, as a part of its service."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        running: IRunning,
        log: Log,
        seen: Seen,
        handed: HandedOver | None = None,
    ) -> None:
        """seen: what pages show that is known to this process. handed: what it had before it was begun anew.

        Raises `CannotStart`.
        """
        self._handed = handed or HandedOver()
        self._reactor = reactor
        self._address = config.admin.listen
        self._log = log
        self._port: IListeningPort | None = None
        try:
            token = Token(config.admin.token_file, read_token, lambda text: log("alarm", why=text))
        except ValueError as error:
            raise CannotStart(f"{config.admin.token_file} {error} (admin.token_file)") from error
        self._threads = PooledThreads(reactor, "operator", AT_ONCE, LINE)
        self._running, self._seen = running, seen
        self._admission = Admission(token, passing(reactor), self._wait)
        self._rates = rates = Rates(lambda: running.work().cells, reactor.seconds)

        def look() -> None:
            rates.look()
            seen.look()

        self._looking = LoopingCall(look)
        self._looking.clock = reactor
        self._stopping = Event()
        self._adviser = Adviser(config, reactor.seconds, self._stopping)
        self._events = events.Events(running, reactor.seconds)  # one, whatever is reloaded: it has those who listen
        self._errands = PooledThreads(reactor, "errands", ERRANDS, ERRANDS)
        self._found = Errands(self._errands, reactor.seconds)  # as well one: it has what is being found out
        self.site = Site(reactor, self._application(config), self._threads, log)

    def adopt(self, config: Config) -> None:
        """Show this configuration and answer by it from now on. Where to listen, and the token, stay."""
        self._adviser = Adviser(config, self._reactor.seconds, self._stopping)
        self.site.application = self._application(config)

    def _application(self, config: Config) -> Application:
        operator = Operator(config, lambda text: self._log("alarm", why=text))
        routes = self._routes(config, Asking(operator, self._threads))
        finding = (self._threads, self._found)
        console = pages(config, operator, self._adviser, self._seen, self._rates, *finding, self._reactor)
        return Application([*routes, *console], self._admission, _hosts(config))

    def _routes(self, config: Config, asking: Asking) -> list[Route]:
        """The whole table."""
        running = self._running
        rows = [
            *api.routes(asking),
            *sending.routes(running, self._threads, config.hostname, config.limits.message_size),
            *advice.routes(self._adviser, self._errands),
            *events.routes(self._events),
        ]
        return [*health.routes(running, asking), *metrics.routes(running, asking), *rows, openapi.route(rows)]

    def privilegedStartService(self) -> None:
        """Listen: the port may be one that takes root."""
        self._bind()
        super().privilegedStartService()

    def startService(self) -> None:
        """Listen, unless that has been done. Raises `CannotStart`."""
        self._bind()
        self._looking.start(OFTEN)
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Answer nobody any more."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._looking.running:
            self._looking.stop()
        port, self._port = self._port, None
        if port is not None and (stopped := port.stopListening()) is not None:
            await stopped
        self.site.close()
        self._stopping.set()
        await gatherResults([self._threads.stop(), self._errands.stop()])
        super().stopService()

    def _bind(self) -> None:
        if self._port is not None or self._address is None:
            return
        inherited = self._handed.take(listening_name_of_admin(self._address))
        try:
            if inherited:
                self._port = sockets.inherit(self._reactor, inherited[0], self.site)
            elif self._address.path:
                self._port = sockets.listen_unix(self._reactor, self._address.path, self.site)
            else:
                self._port = sockets.listen(self._reactor, self._address.host, self._address.port, self.site)
        except (CannotListenError, OSError) as error:
            raise cannot_listen(listening_name_of_admin(self._address), error) from error

    def hand_over(self) -> dict[str, list[int]]:
        """As in `Relay`."""
        if self._port is None or self._address is None:
            return {}
        return {listening_name_of_admin(self._address): [sockets.hand_over(self._port)]}

    def _wait(self, seconds: float) -> "Deferred[None]":
        return deferLater(self._reactor, seconds)


def _hosts(config: Config) -> Hosts:
    """The names that this relay is called by there."""
    address = config.admin.listen
    host = "" if address is None else address.host
    return Hosts([config.hostname, *([host] if host and host not in _ANY else [])], host in _ANY)
