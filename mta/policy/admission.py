"""Admission: what the addresses of MAIL and RCPT come to: who may send as whom, and where; and who gets it then.

`inbound/transaction.py` answers with it, `operating/explain.py` tells it. A reason that is not part of a result is told
to a `Note`; where there is none, as on the path of all mail, that costs nothing.
"""

from typing import Final

from mta.message.envelope import Recipient
from mta.message.submission import complete
from mta.policy.access import Access, may_send_as
from mta.policy.addressing import Addressed, Addressing, Note, refused
from mta.policy.pattern import Pattern
from mta.policy.sourceroute import resolve_route
from mta.smtp import replies
from mta.smtp.address import Path
from mta.smtp.reply import Reply

_POSTMASTER: Final = "postmaster"


class Admission:
    """What is in force for all clients. hostname: ours. postmaster: the relay's own, as "local@domain"."""

    def __init__(self, hostname: str, postmaster: str, access: Access, addressing: Addressing) -> None:
        self._hostname = hostname
        self._postmaster = postmaster
        self._own_postmaster = f"{_POSTMASTER}@{hostname}".lower()
        self._access = access
        self._addressing = addressing

    def sender(
        self, path: Path, mode: str, account: str, senders: tuple[Pattern, ...], note: Note | None = None
    ) -> str | Reply:
        """MAIL: the reverse-path as "local@domain", "" for the null one; or why it is refused.

        mode: `source_routes` of the listener. account: who has logged in, "" for nobody. senders: what that account
        may send as, () for anything.
        """
        if path.route and mode == "refuse":
            return replies.SOURCE_ROUTE
        sender = path.address
        if sender and "@" not in sender:
            sender = complete(sender, self._hostname)
            if note is not None:
                note("completed", f"the sender has no domain, and is taken for {sender}", "")
        if senders and not may_send_as(senders, sender):
            return replies.not_your_address(sender, account)
        if senders and note is not None:
            note("sender", f"{account} may send as {sender or '<>'}", "")
        return sender

    def recipient(
        self,
        path: Path,
        mode: str,
        may_relay: bool,
        sender: str,
        sender_route: tuple[str, ...] = (),
        notify: str = "",
        original: str = "",
        note: Note | None = None,
    ) -> Addressed:
        """RCPT: who gets the mail, or why it is refused.

        sender, sender_route: mailbox and source route of the reverse-path. notify, original: as in `Recipient`.
        """
        address = judged = path.address
        if path.route:
            onward = resolve_route(path, mode, self._hostname, sender, sender_route)
            if isinstance(onward, Reply):
                return refused(Recipient(address), onward, "it has a source route")
            address, sender, judged = onward
            if note is not None:
                note("source route", f"{_HEEDED[mode]}: it goes on to {address}, from {sender or '<>'}", "")
        if "@" not in address:
            if address.lower() == _POSTMASTER:  # the one mailbox that needs no domain (RFC 5321 4.5.1)
                return self._for_postmaster(sender, notify, original, note)
            address = judged = complete(address, self._hostname)
            if note is not None:
                note("completed", f"the recipient has no domain, and is taken for {address}", "")
        permission = self._access.judge(may_relay, judged)
        if not permission.allowed:
            if address.lower() == self._own_postmaster:  # whom our notices come from can be answered
                return self._for_postmaster(sender, notify, original, note)
            return refused(Recipient(address), replies.RELAYING_DENIED, permission.why)
        if note is not None and not may_relay:
            note("relaying", permission.why, "")
        return self._addressing.resolve(sender, Recipient(address, notify, original), note)

    def _for_postmaster(self, sender: str, notify: str, original: str, note: Note | None) -> Addressed:
        if note is not None:
            note("postmaster", f"taken from everybody, for the postmaster of this relay, {self._postmaster}", "")
        return self._addressing.resolve(sender, Recipient(self._postmaster, notify, original), note)


_HEEDED: Final = {"strip": "left out", "follow": "followed"}
