"""Expansion: what a sender is told of an alias or a list that was expanded into its members (RFC 3461 5.2.7).

Where a notice is owed for that, the expanded recipient is kept with the message as a delivery of its own, to one of
the destinations that are named here. Nobody carries it: whoever claims it settles it at once, with the notice in the
same write, so that a crash loses neither. Their names hold a blank, which the name of no next hop does.
"""

from types import MappingProxyType
from typing import Final

from mta.message.envelope import Envelope, Recipient
from mta.message.outcome import Onward, Outcome, Result
from mta.policy.settlement import Addressee, Notice, Settled, Settlement, wants
from mta.smtp.reply import Reply

ALIAS: Final = "expanded alias"
LIST: Final = "expanded list"

_OUTCOMES: Final = MappingProxyType(
    {
        ALIAS: Outcome(Result.DELIVERED, Reply(250, "2.1.5", ("it stands for several addresses",)), remote=False),
        LIST: Outcome(
            Result.DELIVERED, Reply(250, "2.1.5", ("it is a mailing list",)), remote=False, onward=Onward.FINAL
        ),
    }
)


def owes_notice(sender: str, recipient: Recipient) -> bool:
    """Has the sender asked to be told of a success for a recipient who is expanded now?"""
    return bool(sender) and wants(recipient, Notice.SUCCESS)


def is_expansion(destination: str) -> bool:
    """Is this the destination of recipients who have been expanded?"""
    return destination in _OUTCOMES


def expand(envelope: Envelope, destination: str) -> Settlement:
    """What a delivery to `ALIAS` or `LIST` comes to."""
    expanded = tuple(Settled(recipient, _OUTCOMES[destination]) for recipient in envelope.recipients)
    owed = tuple(one for one in expanded if owes_notice(envelope.sender, one.recipient))
    return Settlement(expanded=expanded, success=owed, addressee=Addressee.SENDER if owed else Addressee.NOBODY)
