"""Name replies: what is said of local names at RCPT, VRFY and EXPN (RFC 5321 3.4, 3.5 and 4.1.1.6).

They are in ASCII unless the client has said that it understands more: full names that are not are left out then, which
RFC 5321 3.5.1 allows, and addresses that are not cannot be told (RFC 6531 3.7.4.2).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from mta.smtp.reply import Reply

MOST_CANDIDATES: Final = 20  # of an ambiguous name; whoever does not find his among them must ask more precisely

NO_SUCH_MAILBOX = Reply(550, "5.1.1", ("no such mailbox here; check the spelling of what stands before the @",))
NO_SUCH_USER = Reply(550, "5.1.1", ("no user of this name here; check the spelling, or ask for a whole address",))
NO_SUCH_LIST = Reply(550, "5.1.1", ("no mailing list of this name here; check the spelling",))
# The words of RFC 5321 3.5.1.
IS_A_LIST = Reply(550, "5.1.0", ("That is a mailing list, not a user",))
IS_A_USER = Reply(550, "5.1.0", ("That is a user, not a mailing list",))
LEADS_NOWHERE = Reply(550, "5.4.6", ("this name leads only to itself, so nobody would get the mail; tell postmaster",))
# Not for good: mail is not to be lost over a mistake that the postmaster is about to correct.
EXPANSION_TOO_LARGE = Reply(451, "4.3.5", ("this name leads to more addresses than can be served; tell postmaster",))

_NEEDS_UTF8 = "needs letters beyond ASCII; ask again with SMTPUTF8 behind the name (RFC 6531)"


class Listed(NamedTuple):
    """A mailbox as it is told, with the full name of its user, "" where that is not known."""

    address: str
    name: str = ""


def not_an_address(reason: str) -> Reply:
    return Reply(501, "5.1.3", (f"not an address: {reason}",))


def will_forward(address: str) -> Reply:
    """RFC 5321 3.4: the mail is taken, and the sender may learn the new address."""
    where = f" to <{address}>" if address.isascii() else ""
    return Reply(251, "2.1.5", (f"User not local; will forward{where}",))


def not_local(address: str) -> Reply:
    """RFC 5321 3.4: the mail is not taken, and the sender may try the new address."""
    advice = f"please try <{address}>" if address.isascii() else "ask postmaster for the new address"
    return Reply(551, "5.1.6", (f"User not local; {advice}",))


def verified(mailbox: Listed, utf8: bool) -> Reply:
    """RFC 5321 3.5.1: this is the user's mailbox."""
    if not _can_be_told(mailbox, utf8):
        return Reply(252, "2.6.8", (f"the answer {_NEEDS_UTF8}",))
    return Reply(250, "2.1.5", (_shown(mailbox, utf8),))


def ambiguous(candidates: Sequence[Listed], utf8: bool, code: int = 553) -> Reply:
    """RFC 5321 3.5.1: several go by this name, a line for each. code: 553 for VRFY, 550 for EXPN (4.3.2)."""
    told = [one for one in candidates if _can_be_told(one, utf8)][:MOST_CANDIDATES]
    if not told:
        return Reply(code, "5.6.8", (f"ambiguous, and each of the answers {_NEEDS_UTF8}",))
    more = f", among {len(candidates)}," if len(told) < len(candidates) else ""
    return Reply(code, "5.1.4", (f"Ambiguous; possibilities{more} are", *(_shown(one, utf8) for one in told)))


def members(mailboxes: Sequence[Listed], utf8: bool) -> Reply:
    """RFC 5321 3.5.1: these are on the mailing list, one a line."""
    if not all(_can_be_told(one, utf8) for one in mailboxes):
        return Reply(550, "5.6.8", (f"the answer {_NEEDS_UTF8}",))
    return Reply(250, "2.1.5", tuple(_shown(one, utf8) for one in mailboxes))


def too_many_members(most: int) -> Reply:
    return Reply(550, "5.2.4", (f"more than {most} mailboxes are on this list, too many to be told here",))


def _can_be_told(mailbox: Listed, utf8: bool) -> bool:
    return utf8 or mailbox.address.isascii()


def _shown(mailbox: Listed, utf8: bool) -> str:
    """The full name may be told, the mailbox must."""
    path = f"<{mailbox.address}>"
    return f"{mailbox.name} {path}" if mailbox.name and (utf8 or mailbox.name.isascii()) else path
