"""Next hops that do as they are told, one thread for all of them, and remember to the octet what they were given."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from .ground import wait_until

T = TypeVar("T")

DROP = "(drop the connection)"
STALL = "(never answer)"

CONTENT_LIMIT = 64 * 1024 * 1024
END = b"\r\n.\r\n"


@dataclass(eq=False)
class Transaction:
    """One message that a sink was given up to its final dot.

    content: without transparency, else octet for octet. reply: what was said after the dot, "" when nothing was.
    recipients: those that were accepted. parameters: what stood behind the path in MAIL and RCPT.
    """

    sender: str
    recipients: list[str]
    parameters: dict[str, str]
    helo: str
    session: int
    content: bytes = b""
    at: float = 0.0
    reply: str = ""

    @property
    def taken(self) -> bool:
        """The sink said that it has it."""
        return self.reply.startswith("2")


@dataclass(eq=False)
class Sink:
    """A mail exchanger at one address.

    Without a script it takes everything. Scripts are made of answers: a reply ("451 4.7.1 later"; one with 421
    closes), or `DROP`, or `STALL`. They are given in order to one event, and when they are used up the usual answer
    comes again. Events are verbs ("EHLO", "MAIL", "RCPT", "DATA"), a verb with an address ("RCPT bob@up.test"),
    "GREETING" and "CONTENT" (the answer to the final dot).
    """

    address: str
    port: int
    name: str = "sink.test"
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 60000000", "ENHANCEDSTATUSCODES")
    one_message_a_session: bool = False
    transactions: list[Transaction] = field(default_factory=list)
    connections: list[float] = field(default_factory=list)
    delay: Callable[[str], float] = lambda event: 0.0  # seconds until an event is answered
    refused: list[tuple[str, str]] = field(default_factory=list)
    """What was answered with 4yz or 5yz, as (event, reply)."""
    commands: list[str] = field(default_factory=list)
    _scripts: dict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _always: dict[str, str] = field(default_factory=dict)

    def script(self, event: str, *answers: str) -> None:
        """Answer the next times like this, then as usual."""
        self._scripts[event].extend(answers)

    def always(self, event: str, answer: str | None) -> None:
        """Answer like this from now on; None: as usual again."""
        if answer is None:
            self._always.pop(event, None)
        else:
            self._always[event] = answer

    def answer(self, event: str, subject: str, usual: str) -> str:
        """What the script says to this event, or else the usual."""
        for key in (f"{event} {subject}", event) if subject else (event,):
            if self._scripts.get(key):
                return self._scripts[key].popleft()
            if key in self._always:
                return self._always[key]
        return usual

    @property
    def taken(self) -> list[Transaction]:
        """The messages that it has taken."""
        return [one for one in self.transactions if one.taken]

    def messages_for(self, recipient: str) -> list[Transaction]:
        """The messages that it has taken for a recipient."""
        return [one for one in self.taken if recipient in one.recipients]

    def wait_for(self, recipient: str, count: int = 1, within: float = 15.0) -> list[Transaction]:
        """The messages taken for a recipient, once there are so many."""
        what = f"{self.name}[{self.address}] takes {count} for {recipient}"
        wait_until(lambda: len(self.messages_for(recipient)) >= count, what, within)
        return self.messages_for(recipient)


MakeSink = Callable[..., Sink]
"""What the fixture `sink` is: a new sink at each call."""


class _Session(asyncio.Protocol):
    """One connection. Commands are taken as they come, so replies to a pipelined group leave together."""

    numbers = itertools.count(1)

    def __init__(self, sink: Sink, alive: "set[_Session]") -> None:
        self.sink = sink
        self.alive = alive
        self.number = next(self.numbers)
        self.buffer = bytearray()
        self.helo = ""
        self.transaction: Transaction | None = None
        self.in_content = False
        self.deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.alive.add(self)
        self.sink.connections.append(time.time())
        self.say("GREETING", "", f"220 {self.sink.name} ESMTP")

    def connection_lost(self, why: Exception | None) -> None:
        self.alive.discard(self)

    def say(self, event: str, subject: str, usual: str) -> str:
        """Give the answer to an event; what it was, "" for none."""
        return self.give(event, subject, self.sink.answer(event, subject, usual))

    def give(self, event: str, subject: str, answer: str) -> str:
        if answer == DROP:
            self.transport.abort()
        if answer in (DROP, STALL):
            self.deaf = True
            return ""
        if answer[0] in "45":
            self.sink.refused.append((f"{event} {subject}".strip(), answer))
        if wait := self.sink.delay(event):
            self.deaf = True
            asyncio.get_running_loop().call_later(wait, self.give_late, event, answer)
        else:
            self.write(event, answer)
        return answer

    def give_late(self, event: str, answer: str) -> None:
        """Give an answer that has waited, and go on with what has come meanwhile."""
        self.deaf = False
        self.write(event, answer)
        self.data_received(b"")

    def write(self, event: str, answer: str) -> None:
        self.transport.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
        if answer.startswith("421") or event == "QUIT":
            self.hang_up()

    def hang_up(self) -> None:
        self.transport.close()
        self.deaf = True

    def data_received(self, octets: bytes) -> None:
        self.buffer += octets
        while not self.deaf:
            if self.in_content:
                if not self.take_content(max(0, len(self.buffer) - len(octets) - len(END))):
                    return
            else:
                line, end, rest = self.buffer.partition(b"\r\n")
                if not end:
                    return
                self.buffer = rest
                self.command(line.decode("utf-8", "surrogateescape"))

    def take_content(self, start: int) -> bool:
        """End the transaction if its final dot is there. The line end before it belongs to the content."""
        at = 0 if self.buffer.startswith(END[2:]) else self.buffer.find(END, start) + 2
        if at == 1:
            assert len(self.buffer) < CONTENT_LIMIT, "endless content"
            return False
        content = bytes(self.buffer[:at])
        del self.buffer[: at + 3]
        if content.startswith(b"."):
            content = content[1:]
        transaction, self.transaction, self.in_content = self.transaction, None, False
        assert transaction is not None
        transaction.content = content.replace(b"\r\n.", b"\r\n")
        transaction.at = time.time()
        answer = self.sink.answer("CONTENT", transaction.recipients[0], "250 2.0.0 taken")
        transaction.reply = answer if answer not in (DROP, STALL) else ""
        self.sink.transactions.append(transaction)  # before the reply leaves: whoever sees the one finds the other
        self.give("CONTENT", transaction.recipients[0], answer)
        if self.sink.one_message_a_session:
            self.hang_up()
        return True

    def command(self, line: str) -> None:
        self.sink.commands.append(line)
        verb, _, rest = line.partition(" ")
        verb = verb.upper()
        if verb in ("EHLO", "HELO"):
            self.helo, self.transaction = rest, None
            words = (self.sink.name, *self.sink.extensions) if verb == "EHLO" else (self.sink.name,)
            self.say(verb, "", "\r\n".join([*(f"250-{word}" for word in words[:-1]), f"250 {words[-1]}"]))
        elif verb == "MAIL":
            path, parameters = _path(rest)
            if self.say(verb, path, "250 2.1.0 sender ok").startswith("2"):
                self.transaction = Transaction(path, [], {"MAIL": parameters}, self.helo, self.number)
        elif verb == "RCPT":
            path, parameters = _path(rest)
            if self.transaction is None:
                self.say("OUT OF ORDER", "", "503 5.5.1 MAIL first")
            elif self.say(verb, path, "250 2.1.5 recipient ok").startswith("2"):
                self.transaction.recipients.append(path)
                self.transaction.parameters[path] = parameters
        elif verb == "DATA":
            if self.transaction is None or not self.transaction.recipients:
                self.say("OUT OF ORDER", "", "554 5.5.1 no valid recipients")
            else:
                self.in_content = self.say(verb, "", "354 go on").startswith("3")
        elif verb == "RSET":
            self.transaction = None
            self.say(verb, "", "250 2.0.0 reset")
        elif verb in ("NOOP", "QUIT"):
            self.say(verb, "", "250 2.0.0 ok" if verb == "NOOP" else "221 2.0.0 bye")
        else:
            self.say("UNKNOWN", "", "500 5.5.2 what was that?")


def _path(text: str) -> tuple[str, str]:
    """What stands between the angle brackets, and the parameters behind them."""
    path, _, parameters = text.partition("<")[2].partition(">")
    return path, parameters.strip()


class Sinks:
    """Any number of sinks, served by one thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sinks", daemon=True)
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._alive: set[_Session] = set()
        self._thread.start()

    def listen(self, address: str, port: int = 25, name: str = "sink.test") -> Sink:
        """A new sink."""
        sink = Sink(address, port, name)
        self.resume(sink)
        return sink

    def resume(self, sink: Sink) -> None:
        """Listen (again) for a sink that may have been paused."""

        async def serve() -> asyncio.Server:
            return await self._loop.create_server(
                lambda: _Session(sink, self._alive), sink.address, sink.port, backlog=500
            )

        try:
            self._servers[sink.address, sink.port] = self._call(serve)
        except PermissionError:
            pytest.fail("needs root (or net.ipv4.ip_unprivileged_port_start=25): mail exchangers listen on port 25")

    def pause(self, sink: Sink) -> None:
        """Have connections to it refused from now on, and drop those that there are."""

        async def close() -> None:
            server = self._servers.pop((sink.address, sink.port), None)
            if server is not None:
                server.close()
            for session in [one for one in self._alive if one.sink is sink]:
                session.transport.abort()
            await asyncio.sleep(0.01)

        self._call(close)

    def stop(self) -> None:
        """Close everything and end the thread."""

        async def finish() -> None:
            for server in self._servers.values():
                server.close()
            for session in list(self._alive):
                session.transport.abort()
            await asyncio.sleep(0.01)

        self._call(finish)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)


@contextlib.contextmanager
def thread_of_sinks() -> Iterator[Sinks]:
    """The thread, ended at the end."""
    sinks = Sinks()
    try:
        yield sinks
    finally:
        sinks.stop()


def copies(transactions: list[Transaction], mark: Callable[[bytes], str]) -> Counter[str]:
    """How often each message was taken, by the mark that its content carries."""
    return Counter(mark(one.content) for one in transactions)
