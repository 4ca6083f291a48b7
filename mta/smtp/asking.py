"""Asking: what MAIL and RCPT say to a server with these extensions, and what is not even asked of it.

Only what the peer offers is said to it. What a message cannot do without is not given to a peer that lacks it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mta.smtp import xtext
from mta.smtp.allowance import Allowance
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply

_LONGEST_BY = 999_999_999  # seconds, RFC 2852 4
# No path may end the line that it stands in, nor play tricks with a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Peer(NamedTuple):
    """A server that has introduced itself. extensions: keyword, in upper case, to its parameters (RFC 5321 4.1.1.1).

    tls: protocol and cipher of the connection, "" in the clear. verified: its certificate is the one that the route
    demands. authenticated: we have logged in. allowance: where it announces LIMITS; shared by whatever follows in the
    session.
    """

    name: str
    extensions: Mapping[str, str]
    lmtp: bool = False
    tls: str = ""
    verified: bool = False
    authenticated: bool = False
    allowance: Allowance | None = None

    @property
    def size_limit(self) -> int:
        """The largest message in octets that it says it takes (RFC 1870); 0 where it does not say."""
        limit = self.extensions.get("SIZE", "")
        return int(limit) if limit.isdecimal() and len(limit) <= 20 else 0

    @property
    def takes_binary(self) -> bool:
        """Does it take content that has no lines (RFC 3030 3: not without CHUNKING)?"""
        return "BINARYMIME" in self.extensions and "CHUNKING" in self.extensions

    @property
    def takes_utf8(self) -> bool:
        """Does it take addresses and header fields beyond ASCII (RFC 6531 3.1: not without 8BITMIME)?"""
        return "SMTPUTF8" in self.extensions and "8BITMIME" in self.extensions


class Wishes(NamedTuple):
    """What the sender of a message asked for, and few do.

    ret, envid: of RFC 3461, as given. notifications: NOTIFY= and ORCPT= of each forward-path, in their order, as
    given; () where nobody gave any. auth: of RFC 4954 5, decoded. utf8: the header section has letters beyond ASCII
    (RFC 6532). requiretls: of RFC 8689. priority: -9 to 9, 0 is usual (RFC 6710). by: the seconds that are left for
    its delivery, by_mode: "R" or "N", perhaps with "T"; "" where there is no such wish (RFC 2852).
    """

    ret: str = ""
    envid: str = ""
    notifications: Sequence[tuple[str, str]] = ()
    auth: str = ""
    utf8: bool = False
    requiretls: bool = False
    priority: int = 0
    by: int = 0
    by_mode: str = ""


NO_WISHES = Wishes()


class Mail(NamedTuple):
    """A message to carry. Paths as "local@domain", the reverse-path "" for the null one.

    size: octets, before transparency. eight_bit: BODY=8BITMIME is to be said where the peer knows it. dotted: some
    line begins with a dot. blocks: the content, from its beginning at every call. binary: it need not have lines and
    goes as it is, in a chunk. unfit: why it cannot go to this peer whatever the peer says. plain: its paths are known
    to be printable ASCII, which any peer takes.
    """

    reverse_path: str
    forward_paths: Sequence[str]
    size: int
    eight_bit: bool
    dotted: bool
    blocks: Callable[[], Iterator[bytes]]
    binary: bool = False
    wishes: Wishes = NO_WISHES
    unfit: OwnReply | None = None
    plain: bool = False


class Objection(NamedTuple):
    """Why a peer is not asked, in the form of a reply. elsewhere: it lies in this host, and another may do."""

    reply: OwnReply
    elsewhere: bool = False


def introduced(reply: Reply, lmtp: bool = False) -> Peer:
    """The server as its positive reply to EHLO, LHLO or HELO describes it (RFC 5321 4.1.1.1)."""
    extensions = dict(_extension(line) for line in reply.lines[1:])
    allowance = Allowance(extensions["LIMITS"]) if "LIMITS" in extensions else None
    return Peer(reply.lines[0].partition(" ")[0], extensions, lmtp, allowance=allowance)


def commands(peer: Peer, mail: Mail, asked: Sequence[int]) -> list[bytes]:
    """MAIL, and RCPT for each of these recipients, with the parameters that the peer knows."""
    known, wishes = peer.extensions, mail.wishes
    paths = [mail.forward_paths[index] for index in asked]
    wide = not (mail.plain or "".join((mail.reverse_path, *paths)).isascii())
    utf8 = peer.takes_utf8 and (wishes.utf8 or wide)
    parameters = b" SIZE=%d" % mail.size if "SIZE" in known else b""
    if mail.binary:
        parameters += b" BODY=BINARYMIME"
    elif mail.eight_bit and "8BITMIME" in known:
        parameters += b" BODY=8BITMIME"
    if utf8:
        parameters += b" SMTPUTF8"
    if wishes is not NO_WISHES:
        parameters += _of_mail(peer, wishes)
    mail_from = b"MAIL FROM:<%b>%b\r\n" % (mail.reverse_path.encode(), parameters)
    if wishes.notifications and "DSN" in known:
        notifications = [_of_rcpt(*wishes.notifications[index], utf8) for index in asked]
        rcpts = [b"RCPT TO:<%b>%b\r\n" % (path.encode(), said) for path, said in zip(paths, notifications, strict=True)]
    else:
        rcpts = [b"RCPT TO:<%b>\r\n" % path.encode() for path in paths]
    return [mail_from, *rcpts]


def objection_to_mail(peer: Peer, mail: Mail) -> Objection | None:
    """Why the peer is not given this message; None when it may be asked."""
    if mail.unfit is not None:
        return Objection(mail.unfit)
    if 0 < peer.size_limit < mail.size:
        text = f"{mail.size} octets are more than {peer.name} takes ({peer.size_limit})"
        return Objection(OwnReply(552, "5.3.4", (text,)))
    if mail.binary and not peer.takes_binary:
        return Objection(OwnReply(554, "5.6.3", (f"binary content, and {peer.name} does not offer BINARYMIME",)))
    unfit = None if mail.plain else _unfit(peer, mail.reverse_path, "reverse-path", "5.1.7")
    if unfit is not None:
        return Objection(unfit)
    return _objection_to_wishes(peer, mail.wishes) if mail.wishes is not NO_WISHES else None


def objection_to_rcpt(peer: Peer, path: str) -> OwnReply | None:
    """Why the peer is not asked for this forward-path; None when it may be."""
    return _unfit(peer, path, "forward-path", "5.1.3")


def _unfit(peer: Peer, path: str, what: str, enhanced: str) -> OwnReply | None:
    if path.isascii() and path.isprintable():
        return None
    if _CONTROL.search(path):
        return OwnReply(553, enhanced, (f"the {what} has characters that cannot be sent",))
    if peer.takes_utf8:
        return None
    text = f"the {what} has letters beyond ASCII, and {peer.name} does not offer SMTPUTF8"
    return OwnReply(553, "5.6.7", (text,))


def _objection_to_wishes(peer: Peer, wishes: Wishes) -> Objection | None:
    known, name = peer.extensions, peer.name
    if wishes.requiretls and not (peer.tls and peer.verified):  # RFC 8689 4.2.1
        text = f"REQUIRETLS needed, and there is no TLS with a verified certificate of {name}"
        return Objection(OwnReply(550, "5.7.30", (text,)), elsewhere=True)
    if wishes.requiretls and "REQUIRETLS" not in known:
        return Objection(OwnReply(550, "5.7.30", (f"REQUIRETLS needed, and {name} does not offer it",)), elsewhere=True)
    if wishes.utf8 and not peer.takes_utf8:
        text = f"the header section has letters beyond ASCII, and {name} does not offer SMTPUTF8"
        return Objection(OwnReply(550, "5.6.7", (text,)))
    if not wishes.by_mode.startswith("R"):
        return None
    if wishes.by <= 0:
        return Objection(OwnReply(550, "5.4.7", ("the time within which it was to be delivered is over",)))
    if peer.lmtp:  # a store: it is delivered now
        return None
    if "DELIVERBY" not in known:
        text = f"it must be returned where it is late, and {name} does not offer DELIVERBY"
        return Objection(OwnReply(550, "5.3.3", (text,)), elsewhere=True)
    least = known["DELIVERBY"]
    if least.isdecimal() and len(least) <= 9 and wishes.by < int(least):
        text = f"{wishes.by} seconds are left for its delivery, and {name} needs {least}"
        return Objection(OwnReply(550, "5.4.7", (text,)), elsewhere=True)
    return None


def _of_mail(peer: Peer, wishes: Wishes) -> bytes:
    """The parameters of MAIL that few messages have."""
    known = peer.extensions
    said = []
    if wishes.ret and "DSN" in known:
        said.append(f"RET={wishes.ret}")
    if wishes.envid and "DSN" in known:
        said.append(f"ENVID={wishes.envid}")
    # Whom we do not know, and who does not know us, need not be told who submitted it (RFC 4954 5).
    if wishes.auth and peer.authenticated and "AUTH" in known and wishes.auth.isascii():
        said.append(f"AUTH={xtext.encode(wishes.auth)}")
    if wishes.requiretls and "REQUIRETLS" in known:
        said.append("REQUIRETLS")
    if wishes.priority and "MT-PRIORITY" in known:
        said.append(f"MT-PRIORITY={wishes.priority}")
    if wishes.by_mode and "DELIVERBY" in known:
        said.append(f"BY={max(-_LONGEST_BY, min(wishes.by, _LONGEST_BY))};{wishes.by_mode}")
    return "".join(f" {parameter}" for parameter in said).encode("ascii")


def _of_rcpt(notify: str, original: str, utf8: bool) -> bytes:
    """The parameters of RCPT."""
    said = f" NOTIFY={notify}" if notify else ""
    if original:
        said += f" ORCPT={original if utf8 else _in_ascii(original)}"
    return said.encode()


def _in_ascii(original: str) -> str:
    r"""An original recipient as it goes where SMTPUTF8 is not agreed on, "\x{E9}" for "é" (RFC 6533 3)."""
    return "".join(letter if letter.isascii() else f"\\x{{{ord(letter):X}}}" for letter in original)


def _extension(line: str) -> tuple[str, str]:
    """A line of the reply to EHLO: keyword and parameters."""
    keyword, _, parameters = line.partition(" ")
    return keyword.upper(), parameters
