"""Asked: what a client asks for by the parameters of MAIL, as the envelope will have it."""

from typing import NamedTuple

from mta.inbound.manners import LONGEST_HOLD
from mta.message.envelope import Client, Envelope, Recipient
from mta.smtp import parameters, replies
from mta.smtp.command import Mail
from mta.smtp.reply import Reply


class Asked(NamedTuple):
    """The fields of an `Envelope` of the same names. released: until when it is held for its sender, 0 for not."""

    body: str = ""
    ret: str = ""
    envid: str = ""
    auth: str = ""
    smtputf8: bool = False
    requiretls: bool = False
    priority: int = 0
    by: float = 0.0
    by_mode: str = ""
    released: float = 0.0

    def envelope(
        self,
        sender: str,
        recipients: tuple[Recipient, ...],
        received: float,
        size: int,
        client: Client,
        eight_bit: bool,
        dotted: bool,
    ) -> Envelope:
        """The envelope, with what is known once the content has come."""
        if self[1:] == _NOTHING_MORE:  # nearly all mail
            return Envelope(sender, recipients, received, size, client, self.body, eight_bit, dotted)
        known = (sender, recipients, received, size, client, self.body, eight_bit, dotted, self.ret, self.envid)
        return Envelope._make((*known, 0, False, *self[3:]))


_NOTHING = Asked()
_NOTHING_MORE = _NOTHING[1:]
_ORDINARY = {body: Asked(body) for body in ("", "7BIT", "8BITMIME")}


def read_parameters(command: Mail, now: float, trusted: bool) -> Asked | Reply:
    """What the parameters ask for, or the reply that refuses them.

    trusted: whose word counts for who first submitted a message; others' is replaced by "<>" (RFC 4954 5).
    """
    given = command.parameters
    if not given:
        return _NOTHING
    ordinary = ("SIZE" in given) + ("BODY" in given)
    if len(given) == ordinary and command.body != "BINARYMIME":
        return _ORDINARY[command.body]
    try:
        released = parameters.release_time(given, now, LONGEST_HOLD)
    except ValueError as error:
        return replies.wrong_parameter("HOLDFOR" if "HOLDFOR" in given else "HOLDUNTIL", str(error))
    seconds, mode = parameters.deliver_by(given["BY"]) if "BY" in given else (0, "")
    auth = given.get("AUTH", "")
    return Asked(
        body=command.body,
        ret=given.get("RET", ""),
        envid=given.get("ENVID", ""),
        auth=auth if trusted or not auth else "<>",
        smtputf8=command.smtputf8,
        requiretls="REQUIRETLS" in given,
        priority=int(given.get("MT-PRIORITY", "0")),
        by=now + seconds if mode else 0.0,
        by_mode=mode,
        released=released if released > now else 0.0,
    )
