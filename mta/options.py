"""`twistd mta start`: from the command line to a relay that twistd can run, or to a sentence that says why not."""

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python import usage

from mta.config.load import check_files, find, load
from mta.config.model import Config
from mta.config.problems import ConfigError
from mta.ground import Ground
from mta.maillog import LineWriter, MailLog
from mta.net.early import hand_on, hold_back
from mta.net.handover import HandedOver, Rehearsal
from mta.net.poller import the_reactor
from mta.net.systemd import Systemd, began_with
from mta.service import Relay
from mta.wiring.control import Control, own_version
from mta.wiring.inward import check_certificates
from mta.wiring.program import COULD, Program
from mta.wiring.rehearsing import rehearse
from mta.wiring.restarting import Restarting, names_of
from mta.wiring.trouble import CannotStart
from mta.workers.process import spare_collector
from mta.workers.supervisor import Supervisor, workers_of


class StartOptions(usage.Options):
    """Options of `start`."""

    optParameters = [["config", "c", None, "The configuration (else $MTA_CONFIG, etc/mta.yml, /etc/mta/mta.yml)"]]


class Options(usage.Options):
    """Options of `twistd mta`.

    handed: what this process had before its program was executed anew. rehearsal: what it is to say whether it could
    start with; None where it is to start. pidfile: of a process that has one already, absolute; "" for none.
    """

    handed: HandedOver
    rehearsal: Rehearsal | None
    pidfile: str

    synopsis = "[twistd's options] mta start [--config FILE]"
    subCommands = [["start", None, StartOptions, "Start the relay"]]

    def postOptions(self) -> None:
        """Say what is missing; `start` is the only thing that twistd can be told here."""
        if self.subCommand is None:
            raise usage.UsageError("say what to do: twistd mta start [--config FILE]")
        self.handed = HandedOver.of_environment(os.environ, os.getpid())
        self.rehearsal = Rehearsal.of_environment(os.environ)
        self.pidfile = ""
        if self.handed.has_begun_anew or self.rehearsal is not None:
            self._stay_what_we_are(self.parent)

    def _stay_what_we_are(self, twistd: Any) -> None:
        """What twistd was asked for has been done before: this is a daemon already, with a pidfile, of that user."""
        if not twistd["nodaemon"] and not twistd["logfile"]:
            twistd["logfile"] = "twistd.log"
        self.pidfile = str(Path(twistd["pidfile"]).absolute()) if twistd["pidfile"] else ""
        twistd.update({"nodaemon": True, "pidfile": "", "uid": None, "gid": None, "chroot": None})


class _StartedByTwistd(MultiService):
    """Something that twistd runs: what keeps it from starting is told in a sentence, without a traceback."""

    log: MailLog
    _twistd: Mapping[str, Any]
    _pidfile: str
    _to_tell: int | None

    def begun_by(self, twistd: Mapping[str, Any], options: Options) -> None:
        """Remember how twistd was called."""
        self._twistd = twistd
        self._has_begun_anew = options.handed.has_begun_anew
        self._pidfile = options.pidfile
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
            if self._has_begun_anew:  # nobody may be there to read anything else than the log
                self.log.event("alarm", why=str(error))
            if pidfile := self._twistd.get("pidfile") or self._pidfile:
                with suppress(OSError):
                    Path(pidfile).unlink()
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
    program = Program()
    hold_back()  # what comes from now on may be about what is read below
    try:
        config = load(find(options.subOptions["config"], os.environ))
        check_files(config)
        check_certificates(config)
        if options.rehearsal is not None:
            _rehearse(config, options.rehearsal, reactor)
        return _started(config, options, twistd, reactor, program)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    except CannotStart as error:
        sys.stderr.write(f"mta: {error}\n")
        raise SystemExit(1) from None


def _started(config: Config, options: Options, twistd: Mapping[str, Any], reactor: Any, program: Program) -> IService:
    """Raises `CannotStart`."""
    handed = options.handed
    handed.close_all_but(names_of(config))
    sink, workers = _log_of(twistd, reactor, handed), workers_of(config)
    systemd = Systemd.of_environment(os.environ, os.getpid(), began_with())
    service: StartedRelay | StartedSupervisor
    if workers == 1:
        service = StartedRelay(config, Ground(reactor, sink=sink, systemd=systemd, handed=handed))
    else:
        service = StartedSupervisor(config, reactor, sink, workers, systemd, handed)
    parts = [service.hand_over]
    if config.admin.listen is not None:
        from mta.admin.beside import admin_of  # here, since who goes without it goes without its memory as well

        admin = admin_of(service, config, reactor, sink, handed)
        admin.setServiceParent(service)
        service.reloading.follow("the console and the API", admin.adopt)
        parts.append(admin.hand_over)
    log = service.log.event
    in_thread = partial(deferToThreadPool, reactor, reactor.getThreadPool())
    restarting = Restarting(reactor, program, systemd, sink, log, in_thread, lambda: service.config, parts)
    if isinstance(service, StartedSupervisor):
        service.call_off = restarting.call_off
    control = Control(reactor, config.spool, handed, log, restarting.restart)
    control.setServiceParent(service)
    parts.append(control.hand_over)
    service.begun_by(twistd, options)
    reactor.addSystemEventTrigger("after", "shutdown", partial(_finish, restarting, options.pidfile))
    hand_on(reactor, {signal.SIGHUP: service.reload, signal.SIGUSR2: restarting.restart})
    return service


def _rehearse(config: Config, rehearsal: Rehearsal, reactor: Any) -> NoReturn:
    """Make all parts of it, as each process would, and look at the rest; then this one has done its work.

    Raises `CannotStart`.
    """
    relay = Relay(config, Ground(reactor))
    if config.admin.listen is not None:
        from mta.admin.beside import admin_of

        admin_of(relay, config, reactor, None, HandedOver())
    rehearse(config, rehearsal)
    sys.stdout.write(f"{COULD}{own_version()}\n")
    raise SystemExit(0)


def _finish(restarting: Restarting, pidfile: str) -> None:
    """The very last. Returns only where the process is to end."""
    restarting.finish()
    if pidfile:  # twistd does not know of it any more
        with suppress(OSError):
            Path(pidfile).unlink()


def _log_of(twistd: Mapping[str, Any], reactor: IReactorTime, handed: HandedOver) -> LineWriter | None:
    """Where the log goes, by twistd's own options; None where it is for twistd to write it."""
    if twistd.get("syslog") or twistd.get("logger"):
        return None
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    try:
        sink = LineWriter(reactor, None if name == "-" else Path(name).absolute(), handed.log)
    except OSError as error:
        sys.stderr.write(f"mta: the log {name} cannot be written: {error.strerror}\n")
        raise SystemExit(1) from None
    atexit.register(sink.flush)  # twistd may have a last word before the reactor has turned once
    return sink
