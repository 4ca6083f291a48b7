"""Speaking: handing in a message with parameters of MAIL and RCPT, by DATA or BDAT, which the usual clients lack."""

from collections.abc import Iterable, Mapping

import pytest

from .clients import QUEUED, Talk
from .daemon import Relay


def hand_in(
    relay: Relay, sender: str, recipients: Mapping[str, str] | Iterable[str], content: bytes, mail: str = ""
) -> str:
    """Send one message by DATA; its queue id. Fails unless every recipient is taken.

    recipients: forward-paths, with parameters of RCPT behind each in a mapping. mail: parameters of MAIL.
    content: CRLF at the end of lines, without transparency.
    """
    with Talk(relay.address, relay.port) as talk:
        _begin(talk, sender, recipients, mail)
        _expect(talk.say("DATA"), "354")
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        talk.send((b"." if stuffed.startswith(b".") else b"") + stuffed + b".\r\n")
        return _queue_id(talk)


def hand_in_chunks(relay: Relay, sender: str, recipient: str, chunks: Iterable[bytes], mail: str = "") -> str:
    """Send one message by BDAT (RFC 3030), pipelined; its queue id."""
    with Talk(relay.address, relay.port) as talk:
        _begin(talk, sender, [recipient], mail)
        *most, last = chunks
        talk.send(b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in most))
        talk.send(b"BDAT %d LAST\r\n%b" % (len(last), last))
        for _ in most:
            _expect(talk.reply(), "250")
        return _queue_id(talk)


def _begin(talk: Talk, sender: str, recipients: Mapping[str, str] | Iterable[str], mail: str) -> None:
    _expect(talk.reply(), "220")
    _expect(talk.say("EHLO client.test"), "250")
    _expect(talk.say(f"MAIL FROM:<{sender}> {mail}".rstrip()), "250")
    wishes = recipients if isinstance(recipients, Mapping) else dict.fromkeys(recipients, "")
    for recipient, parameters in wishes.items():
        _expect(talk.say(f"RCPT TO:<{recipient}> {parameters}".rstrip()), "25")


def _queue_id(talk: Talk) -> str:
    reply = talk.reply()
    found = QUEUED.fullmatch(reply)
    if found is None:
        pytest.fail(f"no queue id in {reply!r}")
    return found[1]


def _expect(reply: str, code: str) -> None:
    if not reply.startswith(code):
        pytest.fail(f"the relay said {reply!r}")
