"""Listening: whole sessions with a listener and all that stands behind it, in memory."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from house_in_memory import InMemory
from twisted.logger import globalLogPublisher

from mta.smtp.parser import VERBS
from targets.choices import Choices, cut
from targets.content import whole_lines
from targets.measures import Target, stretch
from targets.sessions import codes

_SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {"relaying": "yes"},
    {"bare_lf": "fix", "message_size": "1000"},
    {"auth": "offered", "plaintext_auth": "yes", "auth_equals": "yes"},
    {"auth": "required", "tls": "offered", "relaying": "yes"},
    {"xclient": "yes", "etrn": "yes", "vrfy": "all"},
    {"proxy": "yes"},
    {"source_routes": "follow", "relaying": "yes", "recipients": "1000"},
)


def listener(octets: bytes) -> None:
    """Whatever a client says: replies only, no failure, no work of more than a moment, and what is kept is whole."""
    choices = Choices(octets)
    how, settings = choices.number(256), _SETTINGS[choices.number(len(_SETTINGS))]
    wire = choices.rest()
    with no_failures():
        relay = _Relay(Path(_folder().name), settings)
        for piece in cut(wire, how):
            relay.hear(piece)
    said = relay.rest()
    assert all(200 <= code < 600 for code in codes(said))
    for claim, content in zip(relay.dispatcher.claims, relay.dispatcher.contents, strict=True):
        assert len(content) == claim.envelope.size
        assert content.startswith(b"Received: ")
        assert whole_lines(content) or claim.envelope.body == "BINARYMIME"
        assert claim.envelope.recipients
    assert all(line.isprintable() for line in relay.lines), "an event is one line"


class _Relay(InMemory):
    """One whose work is measured, turn by turn."""

    def hear(self, octets: bytes) -> None:
        """Octets that the reactor has read; whoever is asked answers in turns of its own."""
        if self._wire.disconnecting:
            return
        with stretch():
            self._wire.protocol.dataReceived(octets)
        while due := [call for call in self.clock.getDelayedCalls() if call.getTime() <= self.clock.seconds()]:
            for call in due:
                function, arguments, keywords = call.func, call.args, call.kw
                call.cancel()
                with stretch():
                    function(*arguments, **keywords)
        if self._wire.awaits_tls:
            self.encrypt()


@contextmanager
def no_failures() -> Iterator[None]:
    """A failure that is logged is one that nobody expected."""
    found: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event:
            found.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    assert not found, found[0].getTraceback()


@lru_cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """One for all inputs, which goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="mta-fuzz-")


_WORDS = (
    *(verb + b" " for verb in sorted(VERBS)), b"\r\n", b"EHLO x\r\n", b"MAIL FROM:<a@b>", b"DATA\r\n", b"QUIT\r\n",
    b"RCPT TO:<jones@example.org>\r\n", b"RCPT TO:<a@b>\r\n", b"RCPT TO:<everybody@example.org>\r\n", b"BDAT 1\r\nx",
    b"BDAT 0\r\n", b"BDAT 0 LAST\r\n", b"MAIL FROM:<> BODY=BINARYMIME SMTPUTF8\r\n", b"Subject: x\r\n", b"\r\n.\r\n",
    b"To: root\r\n", b"AUTH PLAIN AGJvYgBlcmFzZXI=\r\n", b"AUTH SCRAM-SHA-256\r\n", b"biwsbj1hLHI9Yg==\r\n",
    b"AUTH LOGIN\r\n", b"Ym9i\r\n", b"AUTH CRAM-MD5\r\n", b"STARTTLS\r\n", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    b"XCLIENT ADDR=192.0.2.7 LOGIN=bob NAME=x\r\n", b"ETRN dead.example\r\n", b"VRFY dupont\r\n", b"EXPN team\r\n",
    b"RCPT TO:<@a,@b:c@d>\r\n", b"RCPT TO:<postmaster>\r\n", b"NOTIFY=SUCCESS ORCPT=rfc822;a", b"\n", b"\0",
    b"RSET\r\n",
)  # fmt: skip
TARGETS = (Target("listener", listener, _WORDS),)
