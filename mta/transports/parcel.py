"""Parcel: a message as it is made up for one host after the other, by what each of them takes."""

from collections.abc import Sequence
from math import floor

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mta.interfaces import IContent
from mta.message.envelope import Envelope, Recipient
from mta.message.header import header_block
from mta.policy.idn import within_ascii
from mta.policy.routing import Hop, Via
from mta.smtp.asking import Mail, Peer, Wishes
from mta.smtp.reply import Reply
from mta.smtp.steps import OwnReply
from mta.transports.fitting import Fitted, Fitter

HEADER_LIMIT = 1_048_576  # octets of a header section that are looked at


class Parcel:
    """A message for one hop. notes: what was done to it for the host that it was made up for last, for people."""

    def __init__(self, hop: Hop, envelope: Envelope, content: IContent, fitter: Fitter) -> None:
        self._hop = hop
        self._envelope = envelope
        self._content = content
        self._fitter = fitter
        self._fitted: dict[str, Fitted | Reply] = {}  # by what it was converted to
        self._is_binary = envelope.body == "BINARYMIME"
        self._is_plain = not (envelope.eight_bit or self._is_binary)
        self._has_wishes = envelope.has_wishes
        self._wide_header: bool | None = None
        self.notes: tuple[str, ...] = ()

    def make_up(self, peer: Peer, recipients: Sequence[Recipient], now: float) -> Mail | Deferred[Mail]:
        """What is to be carried to this peer; a Deferred where its content must be converted first.

        What cannot be converted, or must not be, is a mail that is unfit (`Mail.unfit`). now: in seconds since 1970.
        """
        envelope, content = self._envelope, self._content
        self.notes = ()
        sender, paths = envelope.sender, [recipient.address for recipient in recipients]
        letters = "".join((sender, *paths))
        is_plain = letters.isascii() and letters.isprintable()
        if not (is_plain or peer.takes_utf8):
            sender, paths = within_ascii(sender), [within_ascii(path) for path in paths]
        eight_bit = envelope.eight_bit or envelope.body == "8BITMIME"
        blocks, is_binary = content.blocks, self._is_binary
        mail = Mail(sender, paths, content.size, eight_bit, envelope.dotted, blocks, is_binary, plain=is_plain)
        if self._has_wishes:
            try:
                mail = mail._replace(wishes=self._wishes(peer, recipients, now))
            except OSError as error:
                return mail._replace(unfit=_unreadable(error))
        target = "" if self._is_plain else self._target(peer)
        if not target or (mail.wishes.utf8 and not peer.takes_utf8):  # for which there is no conversion
            return mail
        if self._hop.eight_bit == "bounce":
            what = "binary" if self._is_binary else "8-bit"
            text = f"{what} content, which {peer.name} does not take, and the route does not allow to convert it"
            return mail._replace(unfit=OwnReply(554, "5.6.3", (text,)))
        known = self._fitted.get(target)
        if known is not None:
            return self._fit(known, mail, target)
        fitting = self._fitter.fit(content, target)
        return fitting.addErrback(_trap_unreadable).addCallback(self._fit, mail, target)

    def _target(self, peer: Peer) -> str:
        """What the content must be converted to for a peer, "7bit" or "8bit"; "" where it goes as it is.

        Binary content may have bare CR and LF, so it does not go as it is even where the route would like it to.
        """
        as_lines = "8BITMIME" in peer.extensions or self._hop.eight_bit == "send"
        if self._is_binary:
            return "" if peer.takes_binary else "8bit" if as_lines else "7bit"
        return "" if as_lines else "7bit"

    def _fit(self, fitted: Fitted | Reply, mail: Mail, target: str) -> Mail:
        """The mail with its content converted. What was converted once serves the next host too."""
        if isinstance(fitted, Reply):
            if fitted.is_permanent:
                self._fitted[target] = fitted
            return mail._replace(unfit=OwnReply(*fitted))
        self._fitted[target] = fitted
        content, dotted, self.notes = fitted
        eight_bit = target == "8bit"
        return mail._replace(size=content.size, eight_bit=eight_bit, dotted=dotted, blocks=content.blocks, binary=False)

    def _wishes(self, peer: Peer, recipients: Sequence[Recipient], now: float) -> Wishes:
        envelope = self._envelope
        notifications = [(recipient.notify, recipient.original) for recipient in recipients]
        utf8 = envelope.smtputf8 and envelope.eight_bit
        return Wishes(
            ret=envelope.ret,
            envid=envelope.envid,
            notifications=notifications,
            auth=envelope.auth,
            # A part within the body may need it too; a peer that takes it is told without a search.
            utf8=utf8 and (peer.takes_utf8 or self._has_wide_header()),
            # To a store on this machine it goes by no network.
            requiretls=envelope.requiretls and self._hop.via is not Via.LMTP_UNIX,
            priority=envelope.priority,
            by=floor(envelope.by - now) if envelope.by else 0,
            by_mode=envelope.by_mode if envelope.by else "",
        )

    def _has_wide_header(self) -> bool:
        """Are there letters beyond ASCII in the header section? An `OSError` means that it cannot be read."""
        if self._wide_header is None:
            self._wide_header = not header_block(self._content.blocks(), HEADER_LIMIT).isascii()
        return self._wide_header


def _trap_unreadable(failure: Failure) -> Reply:
    failure.trap(OSError)
    return _unreadable(failure.value)


def _unreadable(error: BaseException | None) -> OwnReply:
    return OwnReply(451, "4.3.0", (f"the content cannot be read: {error}",))
