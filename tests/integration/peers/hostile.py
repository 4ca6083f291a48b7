"""Hostile clients: dialogues that were spoilt by chance, many sessions at once, as strangers to the relay would.

`spoilt` makes one session out of a `random.Random`: the same seed makes the same one. `Crowd` plays them against the
listeners of a relay and keeps what it was told; how sessions meet there is for the machine to say.
"""

import asyncio
import contextlib
import random
import re
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from enum import Enum, auto

from dialogue import Dialogue, Encrypt, Expect, LogIn, Send


class Act(Enum):
    """What a client does besides sending octets."""

    LISTEN = auto()  # for a moment
    ENCRYPT = auto()  # a handshake, asked for or not
    HALF_CLOSE = auto()  # nothing more is sent, replies are read
    RESET = auto()  # the connection is torn down
    DEAFEN = auto()  # no reply is read from now on
    LEAVE = auto()  # without QUIT


Step = bytes | Act
Script = list[Step]

_LOGIN = b"AUTH PLAIN AGFsaWNlQGV4YW1wbGUub3JnAHBlbmNpbA==\r\n"
_CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
_ACTS = (Act.ENCRYPT, Act.HALF_CLOSE, Act.RESET, Act.DEAFEN, Act.LEAVE)
_WELL_BEHAVED: Script = [
    b"EHLO client.test\r\n",
    b"MAIL FROM:<somebody@sender.test>\r\n",
    b"RCPT TO:<brown@example.org>\r\n",
    b"DATA\r\n",
    b"Subject: hello\r\n\r\nhello\r\n.\r\n",
    b"QUIT\r\n",
]
_ILL_BEHAVED = (
    b"\0", b"\r", b"\n", b"\r\n.\r\n", b"\xff\xfe", b"\r\n\r\n\0\r\nQUIT\n", _CLIENT_HELLO, b"*\r\n",
    b"BDAT 99999999999999999999 LAST\r\n", b"BDAT 9223372036854775808\r\n", b"BDAT -1\r\n", b"BDAT 0 LAST\r\n",
    b"BDAT 10\r\n", b"DATA\r\n", b"RSET\r\n", b"QUIT\r\n", b"STARTTLS\r\n", b"MAIL FROM:<>\r\n",
    b"RCPT TO:<brown@example.org>\r\n", b"RCPT TO:<everybody@example.org> NOTIFY=SUCCESS,FAILURE,DELAY\r\n",
    b"MAIL FROM:<a@b.example> SIZE=99999999999999999999\r\n", b"MAIL FROM:<a@b.example> BY=1;R BODY=BINARYMIME\r\n",
    b"AUTH PLAIN =\r\n", b"AUTH LOGIN\r\n", b"AUTH CRAM-MD5\r\n", b"AUTH SCRAM-SHA-256 biws\r\n", _LOGIN,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", b"XCLIENT ADDR=192.0.2.1\r\n",
    b"ETRN #dead\r\n", b"EXPN everybody\r\n", b'VRFY "\\"\r\n', b"HELP " * 20 + b"\r\n",
)  # fmt: skip
_RUNS = (b"x", b"\0", b".", b"\r\n.", b"(", b'"', b"<", b"a,", b"\xc3\xa9", b"=", b" ")
_NUMBERS = (0, 1, 2**31, 2**63, 10**30)


def spoilt(chance: random.Random, dialogues: Sequence[Dialogue]) -> Script:
    """What one client does: a dialogue, or an ordinary message, with none to a dozen things wrong with it."""
    script = _script(chance, dialogues)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6, 12))):
        at = chance.randrange(len(script) + 1)
        if at == len(script) or chance.random() < 0.4:
            script[at:at] = _more(chance, script, dialogues)
        elif isinstance(step := script[at], bytes) and step:
            script[at] = _wrong(chance, step)
        else:
            del script[at]
    return script[:100]


def _script(chance: random.Random, dialogues: Sequence[Dialogue]) -> Script:
    if chance.random() < 0.3:
        return list(_WELL_BEHAVED)
    script: Script = []
    for step in chance.choice(dialogues).steps:
        match step:
            case Send():
                script.append(step.octets)
            case LogIn():
                script.append(_LOGIN)
            case Encrypt():
                script.append(Act.ENCRYPT)
            case Expect():
                script.append(Act.LISTEN)
    return script


def _more(chance: random.Random, script: Script, dialogues: Sequence[Dialogue]) -> Script:
    """Something that does not belong where it comes."""
    match chance.randrange(4):
        case 0:
            return [chance.choice(_ACTS)]
        case 1:
            return _script(chance, dialogues)[: chance.randrange(1, 12)]
        case 2 if script:
            return [chance.choice(script)]
        case _:
            return [chance.choice(_ILL_BEHAVED)]


def _wrong(chance: random.Random, octets: bytes) -> bytes:
    """The octets, with a fault in them."""
    first, second = sorted(chance.choices(range(len(octets) + 1), k=2))
    match chance.randrange(5):
        case 0:
            return octets[:first] + octets[second:]
        case 1:
            return octets[:first] + bytes([chance.choice((0, 10, 13, 46, 255))]) + octets[first + 1 :]
        case 2:
            return octets[:first] + chance.choice(_ILL_BEHAVED) + octets[first:]
        case 3:
            run = chance.choice(_RUNS) * chance.choice((10, 1000, 20_000, 100_000))
            return octets[:first] + run + octets[first:]
        case _:
            number = str(chance.choice(_NUMBERS)).encode()
            return re.sub(rb"[0-9]+", lambda _: number, octets, count=1)


class Crowd:
    """Plays sessions against listeners. said: all that each session was told, octet for octet."""

    def __init__(
        self, address: str, ports: Sequence[int], sources: Sequence[str], dialogues: Sequence[Dialogue], seed: int
    ) -> None:
        """sources: addresses of clients. seed: makes the same sessions every time."""
        self._address = address
        self._ports = ports
        self._sources = sources
        self._dialogues = dialogues
        self._seed = seed
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self.said: list[bytes] = []

    def play(self, sessions: int, at_once: int) -> None:
        """Play so many sessions, and come back when the last one has ended."""
        asyncio.run(self._play(sessions, at_once))

    async def _play(self, sessions: int, at_once: int) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # handshakes that fail are meant to
        places = asyncio.Semaphore(at_once)

        async def play_one(number: int) -> None:
            async with places:
                await self._session(random.Random(f"{self._seed}/{number}"))

        await asyncio.gather(*map(play_one, range(sessions)))

    async def _session(self, chance: random.Random) -> None:
        script = spoilt(chance, self._dialogues)
        where = (self._address, chance.choice(self._ports))
        reader, writer = await asyncio.open_connection(*where, local_addr=(chance.choice(self._sources), 0))
        client = _Client(reader, writer, self._tls, cut=chance.random() < 0.3, pipelines=chance.random() < 0.4)
        with contextlib.suppress(OSError, EOFError, TimeoutError):  # what becomes of it is for the relay to say
            await client.do(script, chance.randrange)
        self.said.append(bytes(client.heard))
        writer.transport.abort()


class _Client:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tls: ssl.SSLContext,
        cut: bool,
        pipelines: bool,
    ) -> None:
        """cut: sends in small pieces. pipelines: does not wait for replies."""
        self._reader = reader
        self._writer = writer
        self._tls = tls
        self._cut = cut
        self._pipelines = pipelines
        self._deaf = False
        self._encrypted = False
        self.heard = bytearray()

    async def do(self, script: Script, below: Callable[[int], int]) -> None:
        """All of a script. below: a number of chance below another one."""
        await self._listen(0.3)
        for step in script:
            match step:
                case bytes():
                    await self._send(step, below)
                case Act.ENCRYPT:
                    await self._encrypt()
                case Act.HALF_CLOSE if not self._encrypted:
                    self._writer.write_eof()
                    break
                case Act.RESET:
                    linger = struct.pack("ii", 1, 0)
                    self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                case Act.DEAFEN:
                    self._deaf = True
                case Act.LEAVE:
                    return
            if not self._pipelines and not await self._listen(0.05):
                return
        await self._listen(0.5)

    async def _send(self, octets: bytes, below: Callable[[int], int]) -> None:
        while self._cut and 1 < len(octets) < 500:
            at = 1 + below(len(octets) - 1)
            self._writer.write(octets[:at])
            octets = octets[at:]
            await asyncio.sleep(0)
        self._writer.write(octets)
        await asyncio.wait_for(self._writer.drain(), 5)

    async def _encrypt(self) -> None:
        if not self._encrypted:
            await self._listen(0.2)
            await self._writer.start_tls(self._tls, ssl_handshake_timeout=1)
            self._encrypted = True

    async def _listen(self, seconds: float) -> bool:
        """Hear what is said until nothing comes for a while; False when the relay has closed."""
        if self._deaf:
            return True
        with contextlib.suppress(TimeoutError):
            while octets := await asyncio.wait_for(self._reader.read(65_536), seconds):
                self.heard += octets
                if octets.endswith(b"\r\n"):
                    seconds = 0.003
            return False
        return True
