"""Site: twisted.web's HTTP, with bounds on connections, on what a request may have, on the time that all takes."""

import io
from collections.abc import Iterator
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final
from urllib.parse import unquote

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, HTTPFactory, Request

from mta.maillog import Log
from mta.net.threads import Threads
from mta.web.application import SAFE, Application, unreadable
from mta.web.exchange import Answer, Blocks, Call, Stream
from mta.web.listening import Flow, Listener

CONNECTIONS: Final = 100
STREAMS: Final = 20
IDLE: Final = 60.0  # seconds without a word, on a connection that is kept
PATIENCE: Final = 60.0  # seconds for all of a request, from the end of the one before it
TAKING: Final = 300.0  # seconds for a client to take an answer
SLACK: Final = 4 << 20  # octets of content above what is allowed that are read, to be able to say so
IN_MEMORY: Final = 1 << 18  # octets of content that are kept there, not in a file

_REASONS: Final = {400: "Bad Request", 414: "URI Too Long", 431: "Request Header Fields Too Large"}
_logger = Logger()


class Site(HTTPFactory):
    """Builds a channel for each client, as long as there are not too many."""

    noisy = False

    def __init__(self, reactor: Any, application: Application, threads: Threads, log: Log) -> None:
        """threads: blocks of answers are read in them. log: is told of what was asked to be changed."""
        super().__init__(timeout=IDLE, reactor=reactor)
        self.application = application
        self.threads = threads
        self.note = log
        self.channels: dict[Channel, None] = {}
        self.streams = 0

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:  # type: ignore[override]
        if len(self.channels) >= CONNECTIONS and not self._make_room():
            return None
        return super().buildProtocol(addr)

    def _make_room(self) -> bool:
        """Cut off one who can be spared, so that nobody who just holds connections keeps the operator out: the one who
        has waited longest of strangers who are not being answered, else of all strangers, else of all others who are
        not. False where all have shown the token and are being answered."""
        spared = min(self.channels, key=lambda one: (one.is_known, one.is_answered, one.since), default=None)
        if spared is None or (spared.is_known and spared.is_answered):
            return False
        spared.cut_off()
        self.channels.pop(spared, None)
        return True

    def protocol(self) -> "Channel":  # type: ignore[override]
        """What serves one connection."""
        return Channel(self)

    def log(self, request: Request) -> None:
        """No access log: what changes something is in the log of the relay."""

    def close(self) -> None:
        """Let go of all clients."""
        for channel in list(self.channels):
            channel.cut_off()


class Channel(HTTPChannel):
    """One connection, with an end to each part of what happens on it.

    is_known: who asked last had the token, or a session. is_answered: a request has come, and its answer is under way.
    since: when either began, or the connection.
    """

    transport: Any
    maxHeaders = 100

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.requestFactory = partial(Asked, site)  # type: ignore[assignment]
        self._limit: IDelayedCall | None = None
        self._is_head = False
        self.is_known = False
        self.is_answered = False
        self.since = site.reactor.seconds()

    def connectionMade(self) -> None:
        super().connectionMade()
        self.site.channels[self] = None
        self.within(PATIENCE)

    def within(self, seconds: float | None) -> None:
        """What happens now has to have ended by then, or the connection has. None: it may take any time."""
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        self._limit = None if seconds is None else self.site.reactor.callLater(seconds, self.cut_off)

    def headerReceived(self, line: bytes) -> bool:
        """A field of the header; False, and 400, where the request cannot be read with it."""
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a Content-Length of more digits than an int is made of
            self._respondToBadRequestAndDisconnect()
            return False

    def lineReceived(self, line: bytes) -> None:
        self._is_head = bool(line)
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """The first line of a request is too long, or a field of its header."""
        self._refuse(431 if self._is_head else 414)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """What twisted.web calls where it cannot read a request."""
        self._refuse(431 if self._receivedHeaderSize > self.totalHeadersSize else 400)

    def _refuse(self, status: int) -> None:
        if self.transport.disconnecting:
            return
        answer = unreadable(status)
        head = {"Content-Type": answer.kind, "Content-Length": str(len(answer.body)), "Connection": "close"}  # type: ignore[arg-type]
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", *(f"{name}: {value}" for name, value in head.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + answer.body)  # type: ignore[operator]
        self.loseConnection()

    def allContentReceived(self) -> None:
        self.within(TAKING)
        self.is_answered, self.since = True, self.site.reactor.seconds()
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        self.within(PATIENCE)
        self.is_answered, self.since, self._is_head = False, self.site.reactor.seconds(), False
        super().requestDone(request)

    def cut_off(self) -> None:
        """End it, whatever is under way."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.within(None)
        self.site.channels.pop(self, None)
        super().connectionLost(reason)


class Asked(Request):
    """One request of twisted.web's, as a `Call`, and its `Answer`."""

    site: Site
    channel: Any

    def __init__(self, site: Site, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.site = site
        self._kept: IO[bytes] = io.BytesIO()
        self._most = 0
        self._seen = 0
        self._flow: Flow | None = None

    def gotLength(self, length: int | None) -> None:
        """How long its content will be; None where it comes in chunks. Whoever asks may be a stranger yet."""
        call = self._call(self.channel._command, self.channel._path)
        self.channel.is_known = self.site.application.admission.is_known(call)
        self._most = self.site.application.most(call)
        if length is not None and length > self._most + SLACK:
            status = self.site.application.too_long(call)
            reason = "Content Too Large" if status == 413 else "Unauthorized"
            self.channel.transport.write(
                f"HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            self.channel.loseConnection()
        self._kept = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed with the request
        self.content = self._kept

    def handleContentChunk(self, data: bytes) -> None:
        """Some of its content."""
        self._seen += len(data)
        if self._seen <= self._most:
            self._kept.write(data)
        elif self._seen > self._most + SLACK:
            self.channel.cut_off()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """All of it is here. Neither queries nor forms are taken apart here: handlers do, within bounds."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        call = self._call(command, path)
        Deferred.fromCoroutine(self._serve(call)).addErrback(self._failed)

    def _call(self, command: bytes, target: bytes) -> Call:
        path, _, query = target.decode("ascii", "replace").partition("?")
        headers = {
            name.decode("latin-1").lower(): ", ".join(value.decode("utf-8", "replace") for value in values)
            for name, values in self.requestHeaders.getAllRawHeaders()
        }
        peer = self.channel.getPeer()
        return Call(
            command.decode("ascii", "replace"),
            unquote(path, errors="replace"),
            query,
            headers,
            self._kept,
            getattr(peer, "host", None) or "",
            secure=self.isSecure() or headers.get("x-forwarded-proto", "") == "https",
            is_cut=self._seen > self._most,
        )

    async def _serve(self, call: Call) -> None:
        answer = await self.site.application.answer(call)  # to its end, even if nobody waits for it any more
        if call.method not in SAFE and answer.status < 400:
            self.site.note("admin", client=call.client or None, did=f"{call.method} {call.path}", status=answer.status)
        self.setResponseCode(answer.status)
        self.responseHeaders.setRawHeaders("Server", ["mta"])
        for name, value in {"Content-Type": answer.kind, **answer.headers}.items():
            self.responseHeaders.setRawHeaders(name, [value])
        if self._disconnected:
            _let_go(answer.body)
            return
        await self._give(call, answer)
        if not self._disconnected:
            self.finish()

    async def _give(self, call: Call, answer: Answer) -> None:
        body = answer.body
        length = len(body) if isinstance(body, bytes) else answer.length
        if length is not None:
            self.responseHeaders.setRawHeaders("Content-Length", [str(length)])
        if call.method == "HEAD":
            self.write(b"")
            if not isinstance(body, bytes):
                _let_go(body)
        elif isinstance(body, bytes):
            self.write(body)
        elif isinstance(body, Iterator):
            await self._read_out(body)
        else:
            await self._listen(call, body)

    async def _read_out(self, blocks: Blocks) -> None:
        flow = self._flow = Flow()
        self.registerProducer(flow, True)
        try:
            while not self._disconnected and (block := await self.site.threads.run(lambda: next(blocks, b""))):
                self.write(block)
                await flow.open()
        finally:
            self._unregister()
            _let_go(blocks)

    async def _listen(self, call: Call, stream: Stream) -> None:
        if self.site.streams >= STREAMS:
            self.setResponseCode(503)
            return
        self.site.streams += 1
        flow = self._flow = Flow()
        self.registerProducer(flow, True)
        self.channel.within(None)
        may_listen = partial(self.site.application.admission.is_known, call)
        listener = Listener(self.site.reactor, flow, self.write, self.channel.cut_off, may_listen)
        try:
            stream.begin(listener.send, listener.finish)
            listener.last(stream.lasts)
            await flow.over
        finally:
            listener.close()
            stream.end()
            self.site.streams -= 1
            self._unregister()

    def _unregister(self) -> None:
        if not self._disconnected:
            self.unregisterProducer()

    def _failed(self, failure: Any) -> None:
        """What was to be sent could not be read; there is no right end to it any more."""
        _logger.failure("an answer was broken off", failure)
        if self.channel is not None:
            self.channel.cut_off()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self._kept.close()
        if self._flow is not None:
            self._flow.stopProducing()

    def finish(self) -> None:
        super().finish()
        self._kept.close()


def _let_go(body: Any) -> None:
    """Close what blocks are read from."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
