"""The reactor of the daemon, in a process of its own: there can be only one."""

import ast
import hashlib
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

import pytest
from twisted.internet._newtls import ConnectionMixin
from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.tcp import Connection, Port, Server

# What `Poller`, `connections` and `ports` take the place of. Where Twisted changes it, see whether ours has to.
KNOWN = {
    EPollReactor.doPoll: "d092d95b6a721512",
    EPollReactor._doReadOrWrite: "5a966fa5eebd556b",
    Connection.__init__: "e6d0aa14fc8f2fe5",
    Connection.connectionLost: "6b19fe704087a9ab",
    Server.__init__: "751d2bfda0e750b2",
    Port.doRead: "f88207c6d5eabe4e",
    Connection.doRead: "3bf7dd85f12150c8",
    Connection._dataReceived: "72d93f920d437aea",
    ConnectionMixin.write: "c67146e4116b8982",
    EPollReactor.addWriter: "37a9c6ba221b57a3",
    EPollReactor.removeWriter: "5354bed7a9c81ae1",
    EPollReactor.removeAll: "85bc0fc888151e67",
    FileDescriptor.write: "fd5b65a1c8cb6470",
    FileDescriptor.doWrite: "bd05f297f0a3b39e",
    FileDescriptor.startWriting: "817ab8e4c60cf7d8",
    FileDescriptor.stopWriting: "6a678eed437a6c4c",
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


def test_what_wants_to_write_is_told_to_at_the_end_of_the_turn_and_watched_if_it_still_wants_to() -> None:
    said = run(
        """
        import os
        from mta.net.poller import the_reactor
        reactor = the_reactor()

        class Pipe:
            def __init__(self, name, pieces):
                self.name, self.pieces = name, pieces
                self.end, self.mouth = os.pipe()
            def fileno(self): return self.mouth
            def logPrefix(self): return ""
            def connectionLost(self, reason): print(self.name, "lost")
            def doWrite(self):
                self.pieces -= 1
                print(self.name, "writes", "watched" if self.mouth in reactor._writes else "unasked")
                if not self.pieces:
                    reactor.removeWriter(self)

        class Failing(Pipe):
            def doWrite(self):
                raise RuntimeError("a bug of it")

        class Closing(Pipe):
            def doWrite(self):
                reactor.removeWriter(self)
                reactor.removeWriter(gone)

        def begin():
            # Nothing will happen any more but this: a wait before it would be for ever.
            for one in (Closing("closing", 0), gone, Pipe("once", 1), Failing("failing", 0), Pipe("twice", 2)):
                reactor.addWriter(one)
                reactor.addWriter(one)
            reactor.callLater(0.05, reactor.stop)
            print("end of the event")

        gone = Pipe("gone", 1)
        reactor.callWhenRunning(begin)
        reactor.run()
        print(reactor.getWriters())
        """
    )
    assert "RuntimeError: a bug of it" in said
    assert [line for line in said.splitlines() if re.match(r"end|\w+ (writes|lost)|\[", line)] == [
        "end of the event",
        "once writes unasked",
        "failing lost",
        "twice writes unasked",
        "twice writes watched",
        "[]",
    ]


def test_what_was_written_when_the_reactor_stops_is_sent() -> None:
    said = run(
        """
        import socket
        from mta.net import sockets
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        from twisted.internet.protocol import Factory, Protocol

        class Server(Protocol):
            def connectionMade(self):
                def last():
                    self.transport.write(b"421 goodbye")
                reactor.addSystemEventTrigger("before", "shutdown", last)
                reactor.stop()

        port = sockets.listen(reactor, "127.0.0.1", 0, Factory.forProtocol(Server))
        client = socket.create_connection(("127.0.0.1", port.getHost().port), 5)
        reactor.callLater(20, reactor.stop)
        reactor.run()
        print(client.recv(100).decode())
        """
    )
    assert said == "421 goodbye\n"


def test_a_protocol_that_fails_when_the_reactor_stops_keeps_nobody_from_hearing_of_it() -> None:
    said = run(
        """
        import socket
        from mta.net import sockets
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        from twisted.internet.protocol import Factory, Protocol

        class Server(Protocol):
            others = []
            def connectionMade(self):
                self.others.append(self)
                if len(self.others) == 3:
                    reactor.addSystemEventTrigger("before", "shutdown", last)
                    reactor.stop()
            def connectionLost(self, reason):
                print("lost", self.others.index(self))
                if self is self.others[0]:
                    raise RuntimeError("a bug")

        def last():
            for one in Server.others[:2]:
                one.transport.write(b"421 goodbye")
                one.transport.loseConnection()

        port = sockets.listen(reactor, "127.0.0.1", 0, Factory.forProtocol(Server))
        clients = [socket.create_connection(("127.0.0.1", port.getHost().port), 5) for _ in range(3)]
        reactor.callLater(20, reactor.stop)
        reactor.run()
        print(sorted(client.recv(100) for client in clients))
        """
    )
    assert [line for line in said.splitlines() if re.match(r"lost|\[", line)] == [
        "lost 0",
        "lost 1",
        "lost 2",
        "[b'', b'421 goodbye', b'421 goodbye']",
    ]


def test_what_is_heard_while_it_is_written_may_set_timers_and_write_to_others() -> None:
    said = run(
        """
        import socket
        from mta.net import sockets
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        from twisted.internet.protocol import Factory, Protocol

        class Server(Protocol):
            others = []
            def connectionMade(self):
                self.others.append(self)
                if len(self.others) == 2:
                    reactor.callLater(0.1, self.transport.loseConnection)  # with no event behind it
            def connectionLost(self, reason):
                if self is self.others[1]:
                    self.others[0].transport.write(b"the other is gone")
                    reactor.callLater(0.1, lambda: (print("in time"), reactor.stop()))

        port = sockets.listen(reactor, "127.0.0.1", 0, Factory.forProtocol(Server))
        clients = [socket.create_connection(("127.0.0.1", port.getHost().port), 5) for _ in range(2)]
        reactor.callLater(3, lambda: (print("too late"), reactor.stop()))
        reactor.run()
        print(sorted(client.recv(100) for client in clients))
        """
    )
    assert said.splitlines() == ["in time", "[b'', b'the other is gone']"]


GIVING_WAY = """
        import os, time
        from mta.net import poller
        reactor = poller.the_reactor()
        given = 0

        def give():
            global given
            given += 1
            time.sleep(TAKES)

        poller.sched_yield = give
        poller._BRIEF = BRIEF

        class Pipe:
            turns = 0
            def __init__(self):
                self.mouth, self.end = os.pipe()
                reactor.addReader(self)
                os.write(self.end, b"x")
            def fileno(self): return self.mouth
            def logPrefix(self): return ""
            def connectionLost(self, reason): pass
            def doRead(self):
                os.read(self.mouth, 10)
                self.turns += 1
                if self.turns < 100:
                    os.write(self.end, b"x")
                else:
                    reactor.callLater(0.1, reactor.stop)

        reactor.callWhenRunning(Pipe)
        reactor.run()
        print(given)
"""


def test_way_is_given_after_each_busy_turn() -> None:
    assert run(GIVING_WAY.replace("TAKES", "0").replace("= BRIEF", "= 10")) == "100\n"


def test_way_is_seldom_given_to_who_takes_long() -> None:
    assert int(run(GIVING_WAY.replace("TAKES", "0.02").replace("= BRIEF", "= 0.01"))) <= 2


def test_a_connection_closes_at_the_end_of_the_turn() -> None:
    said = run(
        """
        from mta.net import sockets
        from mta.net.poller import the_reactor
        reactor = the_reactor()
        from twisted.internet.protocol import Factory, Protocol, ClientFactory

        class Server(Protocol):
            def dataReceived(self, data):
                self.transport.write(data.upper())
                self.transport.loseConnection()
                print("closing", self.transport.connected, self.transport in reactor.getWriters())
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

        port = sockets.listen(reactor, "127.0.0.1", 0, Factory.forProtocol(Server))
        sockets.connect(reactor, "127.0.0.1", port.getHost().port, ClientFactory.forProtocol(Client), 5)
        reactor.callLater(20, reactor.stop)
        reactor.run()
        """
    )
    assert said.splitlines() == ["closing 1 True", "closed ConnectionDone", "heard BYE", "lost ConnectionDone"]


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
        from mta.net import poller
        poller._SOON = 10  # on a machine that does much else five turns may take longer than they should

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


def under_a_clock(step: int, program: str) -> str:
    """A program with a reactor, and `set_clock`, which sets the clock of its machine by so many seconds."""
    settable = f"""
import time
from mta.net import poller
reactor = poller.the_reactor()
ahead = 0
poller.time = lambda: time.time() + ahead
begun = time.monotonic()

def set_clock():
    global ahead
    ahead = {step}
"""
    return run(settable + dedent(program))


STEPS = pytest.mark.parametrize("step", [-86_400, 86_400])


@pytest.mark.alone
@STEPS
def test_timers_are_set_with_the_clock(step: int) -> None:
    """Those that wait, and those that were made in this very turn; in their order, and none before its time."""
    said = under_a_clock(
        step,
        """
        def later(name, seconds):
            reactor.callLater(seconds, lambda: print(name, round((time.monotonic() - begun) / 0.3)))

        def in_one_turn():
            later("made before", 0.6)
            set_clock()
            later("made after", 0.6)
            reactor.callLater(0, lambda: print(round(reactor.seconds() - time.time())))

        later("last", 1.2)
        later("first", 0.3)
        reactor.callLater(0.05, in_one_turn)
        reactor.callLater(1.5, reactor.stop)
        reactor.run()
        print(round((time.monotonic() - begun) / 0.3))
        """,
    )
    assert said.splitlines() == [str(step), "first 1", "made before 2", "made after 2", "last 4", "5"]


@pytest.mark.alone
@STEPS
def test_a_client_has_his_time_whatever_becomes_of_the_clock(step: int) -> None:
    said = under_a_clock(
        step,
        """
        from mta.inbound import door
        from mta.maillog import MailLog
        door._SWEEP = 0.05
        doorkeeper = door.Doorkeeper(reactor, "mail.test", door.DoorLimits(9, 9), MailLog(print, reactor))

        class Idle:
            client, in_transaction = "", False
            deadline = doorkeeper.now() + 0.4
            def overdue(self):
                print("overdue", round((time.monotonic() - begun) / 0.4))
                reactor.stop()

        begun = time.monotonic()
        doorkeeper.entered(Idle())
        reactor.callLater(0.1, set_clock)
        reactor.callLater(1.2, reactor.stop)
        reactor.run()
        """,
    )
    assert said == "overdue 1\n"


@pytest.mark.alone
@STEPS
def test_a_server_and_what_the_dns_said_have_theirs_too(step: int) -> None:
    said = under_a_clock(
        step,
        """
        from twisted.internet.defer import succeed
        from twisted.internet.testing import StringTransport
        from mta.dns.cache import Cache
        from mta.policy.exchangers import Answer, Found
        from mta.smtp.opening import open_up
        from mta.transports.session import Session

        def ask(name):
            print("asked", round((time.monotonic() - begun) / 0.4))
            return succeed(Answer(Found.RECORDS, ("mx.test",), poller.passing(reactor)() + 0.4))

        cache = Cache(reactor, ask)
        begun = time.monotonic()
        for seconds in (0, 0.25, 0.8):
            reactor.callLater(seconds, cache.look_up, "a.test")
        transport = StringTransport()
        transport.registerProducer = lambda *_: None
        session = Session(reactor, "mx.test", lambda session: None)
        session.makeConnection(transport)
        answer = session.hold(open_up("mail.test"), poller.passing(reactor)() + 0.4)
        answer.addCallback(lambda said: print(said.reply.text, round((time.monotonic() - begun) / 0.4)))
        reactor.callLater(0.1, set_clock)
        reactor.callLater(1.2, reactor.stop)
        reactor.run()
        """,
    )
    assert said.splitlines() == ["asked 0", "timed out while waiting for the greeting 1", "asked 2"]
