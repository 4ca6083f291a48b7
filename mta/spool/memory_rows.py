"""Memory rows: messages and deliveries as the twin of the spool has them."""

from dataclasses import dataclass, field

from mta.interfaces import Waiting
from mta.message.envelope import Envelope, Recipient
from mta.message.timeline import Event
from mta.spool.content import Octets


@dataclass
class Delivery:
    """Recipients who wait together, as a row of the real spool has them."""

    id: int
    destination: str
    recipients: tuple[Recipient, ...]
    due: float
    deadline: float
    reverse_path: str | None = None
    state: str = "waiting"
    attempts: int = 0
    fence: int = 0
    warned: bool = False
    wish: str = ""
    last_reply: str = ""

    def waiting(self) -> Waiting:
        """It as it was before it was claimed."""
        return Waiting(
            self.recipients, self.destination, self.due, self.deadline, self.attempts, self.warned, self.last_reply
        )

    def left_as(self, key: int, waiting: Waiting, wish: str) -> "Delivery":
        """What is left of it, in a row of this id."""
        recipients, destination, due, deadline, attempts, warned, last_reply, state = waiting
        row = (key, destination, recipients, due, deadline, self.reverse_path, state)
        return Delivery(*row, attempts, self.fence, warned, wish, last_reply)


@dataclass
class Message:
    """A message with something left to do."""

    id: int
    envelope: Envelope
    content: Octets
    events: list[Event]
    deliveries: dict[int, Delivery] = field(default_factory=dict)
