"""Batch: a mail transaction as one text, for who cannot talk to the server now (as in RFC 2442).

It is what a client would say if it had all the right answers, from EHLO to the dot. A server session reads it as it
reads a client that pipelines, so that nothing in it has to be understood, or distrusted, in a second way.
"""

from collections.abc import Iterator
from typing import Final

from mta.smtp.asking import Mail, Peer, commands
from mta.smtp.content import stuff

# What our own server offers to everybody. SIZE is not among it: whoever takes the text up counts for himself.
_OURS: Final = Peer("", dict.fromkeys(("8BITMIME", "SMTPUTF8", "DSN"), ""))


def batch(name: str, mail: Mail) -> Iterator[bytes]:
    """The octets of a transaction for all recipients of a message, in blocks. name: of this host, for EHLO."""
    yield b"EHLO %b\r\n" % name.encode()
    yield b"".join(commands(_OURS, mail, range(len(mail.forward_paths))))
    yield b"DATA\r\n"
    yield from stuff(mail.blocks(), mail.dotted)
