"""The reactor of the daemon, in a process of its own: there can be only one."""

import ast
import hashlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.tcp import Connection

# What `Poller` and `eager` take the place of. Where Twisted changes it, look whether ours has to change too.
KNOWN = {
    EPollReactor.doPoll: "d092d95b6a721512",
    EPollReactor._doReadOrWrite: "5a966fa5eebd556b",
    Connection.doRead: "3bf7dd85f12150c8",
    Connection._dataReceived: "72d93f920d437aea",
    FileDescriptor.loseConnection: "2962b366dddd2f53",
    ReactorBase.runUntilCurrent: "0acc71ffa492f607",
    ReactorBase.timeout: "dbaf0d217b763fe9",
}


def digest_of(method: Callable[..., object]) -> str:
    """What it does, whatever its comments say."""
    code = ast.unparse(ast.parse(dedent(inspect.getsource(method))).body[0].body[1:])
    return hashlib.sha256(code.encode()).hexdigest()[:16]


@pytest.mark.parametrize("method", KNOWN, ids=lambda method: method.__qualname__)
def test_twisted_does_as_it_did(method: Callable[..., object]) -> None:
    assert digest_of(method) == KNOWN[method]


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def test_a_connection_whose_protocol_fails_is_closed_and_others_go_on() -> None:
    said = run(
        """
        from mta.net.poller import Poller, the_reactor
        reactor = the_reactor()
        assert isinstance(reactor, Poller)
        import sys
        from twisted.internet.protocol import Factory, Protocol
        from twisted.internet.endpoints import clientFromString
        from twisted.python import log
        log.startLogging(sys.stdout)

        class Server(Protocol):
            def dataReceived(self, data):
                if data == b"fail":
                    raise RuntimeError("a bug")
                self.transport.write(data.upper())

        class Client(Protocol):
            def __init__(self, says):
                self.says = says
            def connectionMade(self):
                self.transport.write(self.says)
            def dataReceived(self, data):
                print("heard", data.decode())
                reactor.stop()
            def connectionLost(self, reason):
                print("lost", self.says.decode())
                if self.says == b"fail":
                    connect(b"hello")

        def connect(says):
            factory = Factory.forProtocol(lambda: Client(says))
            clientFromString(reactor, f"tcp:127.0.0.1:{port}").connect(factory)

        port = reactor.listenTCP(0, Factory.forProtocol(Server), interface="127.0.0.1").getHost().port
        connect(b"fail")
        reactor.callLater(20, reactor.stop)
        reactor.run()
        """
    )
    assert "RuntimeError: a bug" in said
    assert said.index("lost fail") < said.index("heard HELLO")


def test_a_reactor_that_was_chosen_is_kept() -> None:
    said = run(
        """
        from twisted.internet import selectreactor
        selectreactor.install()
        from mta.net.poller import the_reactor
        print(type(the_reactor()).__name__)
        """
    )
    assert said.strip() == "SelectReactor"


def test_the_end_of_a_turn_comes_behind_its_events_and_before_the_next_wait() -> None:
    said = run(
        """
        import os
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        last = reactor.at_turn_end

        class Pipe:
            def __init__(self):
                self.mouth, self.end = os.pipe()
                reactor.addReader(self)
            def fileno(self): return self.mouth
            def logPrefix(self): return ""
            def connectionLost(self, reason): pass
            def doRead(self):
                print("event", os.read(self.mouth, 10).decode())
                last(lambda: print("end of the turn"))

        def fail():
            raise RuntimeError("a bug")

        def begin():
            # Nothing will happen any more but this: a wait before it would be for ever.
            last(fail)
            last(lambda: (print("end without events"), last(more)))

        def more():
            for number in (1, 2):
                os.write(Pipe().end, str(number).encode())
            reactor.callLater(0.05, reactor.stop)

        reactor.callWhenRunning(begin)
        reactor.run()
        """
    )
    lines = said.splitlines()
    assert lines[:3] == ["end without events", "event 1", "event 2"] or lines[:3] == [
        "end without events",
        "event 2",
        "event 1",
    ]
    assert lines[3:5] == ["end of the turn"] * 2


def test_a_connection_closes_at_the_end_of_the_turn() -> None:
    said = run(
        """
        from mta.net import eager
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        from twisted.internet.protocol import Factory, Protocol, ClientFactory

        class Server(Protocol):
            def dataReceived(self, data):
                self.transport.write(data.upper())
                self.transport.loseConnection()
                self.asked = self.transport in reactor.getWriters()
                print("closing", self.transport.connected, self.asked)
            def connectionLost(self, reason):
                print("closed", reason.type.__name__)

        class Client(Protocol):
            def connectionMade(self):
                self.transport.write(b"bye")
            def dataReceived(self, data):
                print("heard", data.decode())
            def connectionLost(self, reason):
                print("lost", reason.type.__name__)
                reactor.stop()

        port = eager.listen(reactor, "127.0.0.1", 0, Factory.forProtocol(Server))
        eager.connect(reactor, "127.0.0.1", port.getHost().port, ClientFactory.forProtocol(Client), 5)
        reactor.callLater(20, reactor.stop)
        reactor.run()
        """
    )
    assert said.splitlines() == ["closing 1 False", "closed ConnectionDone", "heard BYE", "lost ConnectionDone"]


PIPE = """
        import os
        from mta.net.poller import the_reactor, when_idle
        reactor = the_reactor()
        idle = when_idle(reactor)

        class Pipe:
            turns = 0
            def __init__(self):
                self.mouth, self.end = os.pipe()
                reactor.addReader(self)
                os.write(self.end, b"x")
            def fileno(self): return self.mouth
            def logPrefix(self): return ""
            def connectionLost(self, reason): pass

        reactor.callLater(20, reactor.stop)
"""


def test_an_idle_moment_comes_when_no_event_waits() -> None:
    said = run(
        PIPE
        + """
        class Chain(Pipe):
            def doRead(self):
                os.read(self.mouth, 10)
                self.turns += 1
                if self.turns == 1:
                    idle(lambda: (print("idle after", self.turns), reactor.stop()))
                if self.turns < 5:
                    os.write(self.end, b"x")

        reactor.callWhenRunning(Chain)
        reactor.run()
        """
    )
    assert said == "idle after 5\n"


def test_what_waits_for_an_idle_moment_is_done_soon_in_a_busy_one() -> None:
    said = run(
        PIPE
        + """
        class Endless(Pipe):
            def doRead(self):
                self.turns += 1
                if self.turns == 1:
                    idle(lambda: (print("soon", self.turns > 3), reactor.stop()))

        reactor.callWhenRunning(Endless)
        reactor.run()
        """
    )
    assert said == "soon True\n"


@pytest.mark.alone
@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_timers_are_set_with_the_clock(step: int) -> None:
    """Those that wait, and those that were made in this very turn; in their order, and none before its time."""
    said = run(
        f"""
        import time
        from mta.net import poller
        reactor = poller.the_reactor()
        ahead = 0
        poller.time = lambda: time.time() + ahead
        begun = time.monotonic()

        def later(name, seconds):
            reactor.callLater(seconds, lambda: print(name, round((time.monotonic() - begun) / 0.3)))

        def set_clock():
            global ahead
            later("made before", 0.6)
            ahead = {step}
            later("made after", 0.6)
            reactor.callLater(0, lambda: print(round(reactor.seconds() - time.time())))

        later("last", 1.2)
        later("first", 0.3)
        reactor.callLater(0.05, set_clock)
        reactor.callLater(1.5, reactor.stop)
        reactor.run()
        print(round((time.monotonic() - begun) / 0.3))
        """
    )
    assert said.splitlines() == [str(step), "first 1", "made before 2", "made after 2", "last 4", "5"]
