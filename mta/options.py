"""`twistd mta start`: from the command line to a relay that twistd can run, or to a sentence that says why not."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.python import usage

from mta.config.load import check_files, find, load
from mta.config.problems import ConfigError
from mta.ground import Ground
from mta.maillog import LineWriter
from mta.net.poller import the_reactor
from mta.net.systemd import Systemd, began_with
from mta.service import Relay
from mta.wiring.trouble import CannotStart
from mta.workers.process import spare_collector
from mta.workers.supervisor import Supervisor, workers_of


class StartOptions(usage.Options):
    """Options of `start`."""

    optParameters = [["config", "c", None, "The configuration (else $MTA_CONFIG, etc/mta.yml, /etc/mta/mta.yml)"]]


class Options(usage.Options):
    """Options of `twistd mta`."""

    synopsis = "[twistd's options] mta start [--config FILE]"
    subCommands = [["start", None, StartOptions, "Start the relay"]]

    def postOptions(self) -> None:
        """Say what is missing; `start` is the only thing that twistd can be told here."""
        if self.subCommand is None:
            raise usage.UsageError("say what to do: twistd mta start [--config FILE]")


class _StartedByTwistd(MultiService):
    """Something that twistd runs: what keeps it from starting is told in a sentence, without a traceback."""

    _twistd: Mapping[str, Any]
    _to_tell: int | None

    def begun_by(self, twistd: Mapping[str, Any]) -> None:
        """Remember how twistd was called."""
        self._twistd = twistd
        # The daemon has no standard error any more when it finds out that it cannot start; whoever started it has.
        self._to_tell = None
        if not twistd.get("nodaemon"):
            with suppress(OSError):  # there may be none
                self._to_tell = os.dup(2)

    def privilegedStartService(self) -> None:
        """As in `Relay` and `Supervisor`."""
        with self._in_a_sentence():
            super().privilegedStartService()

    def startService(self) -> None:
        """As in `Relay` and `Supervisor`."""
        with self._in_a_sentence():
            super().startService()
        self._tell("")
        spare_collector()

    @contextmanager
    def _in_a_sentence(self) -> Iterator[None]:
        try:
            yield
        except CannotStart as error:
            if not self._twistd.get("nodaemon"):
                self._tell(f"mta: {error}\n")
                raise  # so that twistd ends with status 1 where it was started
            if self._twistd.get("pidfile"):
                Path(self._twistd["pidfile"]).unlink(missing_ok=True)
            # Twisted has put its log in the place of sys.stderr by now.
            (sys.__stderr__ or sys.stderr).write(f"mta: {error}\n")
            raise SystemExit(1) from None

    def _tell(self, text: str) -> None:
        """The last word to whoever started the daemon."""
        if self._to_tell is not None:
            with suppress(OSError):  # nobody reads it any more
                os.write(self._to_tell, text.encode(errors="backslashreplace"))
            os.close(self._to_tell)
            self._to_tell = None


class StartedRelay(_StartedByTwistd, Relay):
    """The relay in one process."""


class StartedSupervisor(_StartedByTwistd, Supervisor):
    """The relay in several."""


def makeService(options: Options) -> IService:
    """The relay, as twistd runs it. A wrong configuration never starts: its mistakes are printed, exit status 1."""
    reactor = the_reactor()  # not before: twistd may have been told to choose one
    twistd: Any = options.parent or {}
    try:
        config = load(find(options.subOptions["config"], os.environ))
        check_files(config)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    sink, workers = _log_of(twistd, reactor), workers_of(config)
    systemd = Systemd.of_environment(os.environ, os.getpid(), began_with())
    service: StartedRelay | StartedSupervisor
    try:
        if workers == 1:
            service = StartedRelay(config, Ground(reactor, sink=sink, systemd=systemd))
        else:
            service = StartedSupervisor(config, reactor, sink, workers, systemd)
        if config.admin.listen is not None:
            from mta.admin.beside import admin_of  # here, since who goes without it goes without its memory as well

            admin = admin_of(service, config, reactor, sink)
            admin.setServiceParent(service)
            service.reloading.follow(admin.adopt)
    except CannotStart as error:
        sys.stderr.write(f"mta: {error}\n")
        raise SystemExit(1) from None
    service.begun_by(twistd)
    # From now on, or whoever is too early with it would end what has not begun.
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(service.reload))
    return service


def _log_of(twistd: Mapping[str, Any], reactor: IReactorTime) -> LineWriter | None:
    """Where the log goes, by twistd's own options; None where it is for twistd to write it."""
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    try:
        sink = LineWriter(reactor, None if name == "-" else Path(name).absolute())
    except OSError as error:
        sys.stderr.write(f"mta: the log {name} cannot be written: {error.strerror}\n")
        raise SystemExit(1) from None
    atexit.register(sink.flush)  # twistd may have a last word before the reactor has turned once
    return sink
