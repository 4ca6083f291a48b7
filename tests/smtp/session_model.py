"""A model of the server's side: what a client says, and the codes that it must be answered with, in order.

It is written from the RFCs and shares nothing with `mta.smtp`: a few flags in place of the table of states.
"""

from base64 import b64encode
from dataclasses import dataclass

SECRET = b64encode(b"secret")


@dataclass
class Model:
    """The session as far as the replies depend on it. Each method is a command: its octets, and what is owed for it."""

    introduced: bool = False
    mail: bool = False
    accepted: bool = False
    refused: bool = False
    chunks: bool = False
    binary: bool = False
    challenged: bool = False
    encrypted: bool = False

    def _end(self) -> None:
        self.mail = self.accepted = self.refused = self.chunks = self.binary = False

    def _answered(self, line: bytes) -> tuple[bytes, list[int]] | None:
        """While a challenge waits, whatever comes is a response."""
        if not self.challenged:
            return None
        self.challenged = False
        if line == b"*":
            return line + b"\r\n", [501]
        if line == SECRET:
            return line + b"\r\n", [235]
        # Letters and digits in fours are base64, so that they are a wrong password.
        plain = line.isalnum() and len(line) % 4 == 0
        return line + b"\r\n", [535 if plain else 501]

    def simple(self, line: bytes, code: int) -> tuple[bytes, list[int]]:
        """A command that changes nothing."""
        return self._answered(line) or (line + b"\r\n", [code])

    def helo(self, verb: bytes) -> tuple[bytes, list[int]]:
        line = verb + b" client.example"
        if answered := self._answered(line):
            return answered
        self._end()
        self.introduced = True
        return line + b"\r\n", [250]

    def say_mail(self, argument: bytes, good: bool, binary: bool) -> tuple[bytes, list[int]]:
        line = b"MAIL FROM:" + argument
        if answered := self._answered(line):
            return answered
        if not self.introduced or self.mail:
            return line + b"\r\n", [503]
        if good:
            self.mail, self.binary = True, binary
        return line + b"\r\n", [250 if good else 501]

    def say_rcpt(self, argument: bytes, code: int) -> tuple[bytes, list[int]]:
        """code: what it is answered with where RCPT may come."""
        line = b"RCPT TO:" + argument
        if answered := self._answered(line):
            return answered
        if not self.mail or self.chunks:
            return line + b"\r\n", [503]
        if code == 250:
            self.accepted = True
        elif code == 550:
            self.refused = True
        return line + b"\r\n", [code]

    def say_data(self, content: bytes, fault: bool) -> tuple[bytes, list[int]]:
        """content: with its end, sent only where it is asked for."""
        if answered := self._answered(b"DATA"):
            return answered
        if not self.mail or self.chunks:
            return b"DATA\r\n", [503]
        if not self.accepted:
            return b"DATA\r\n", [554 if self.refused else 503]
        self._end()
        return b"DATA\r\n" + content, [354, 550 if fault else 250]

    def say_bdat(self, chunk: bytes, last: bool, bare: bool) -> tuple[bytes, list[int]]:
        """A chunk, whose octets come whatever the answer is. bare: it has a bare LF."""
        line = b"BDAT %d%b" % (len(chunk), b" LAST" if last else b"")
        if answered := self._answered(line):
            return answered
        octets = line + b"\r\n" + chunk
        if not self.mail:
            return octets, [503]
        if not self.accepted:
            return octets, [554 if self.refused else 503]
        self.bare = bare or (self.chunks and self.bare)
        self.chunks = True
        if not last:
            return octets, [250]
        fault = self.bare and not self.binary
        self._end()
        return octets, [550 if fault else 250]

    def rset(self) -> tuple[bytes, list[int]]:
        if answered := self._answered(b"RSET"):
            return answered
        self._end()
        return b"RSET\r\n", [250]

    def etrn(self) -> tuple[bytes, list[int]]:
        return self.simple(b"ETRN example.org", 251 if self.introduced and not self.mail else 503)

    def auth(self, initial: bytes | None) -> tuple[bytes, list[int]]:
        line = b"AUTH PLAIN" + (b" " + initial if initial is not None else b"")
        if answered := self._answered(line):
            return answered
        if not self.introduced or self.mail:
            return line + b"\r\n", [503]
        if initial is None:
            self.challenged = True
            return line + b"\r\n", [334]
        return line + b"\r\n", [235 if initial == SECRET else 535]

    bare: bool = False
