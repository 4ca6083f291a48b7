"""Books: what was accepted, what has arrived, what was bounced, recipient by recipient, and whether it comes out even.

A message is known by its mark, which determines its content and stands in the addresses of its recipients, so that
neither a refusal nor a notice can be of an unknown one.
"""

import hashlib
import random
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import SMTP
from typing import NamedTuple

from .sinks import Transaction

FINAL_RECIPIENT = re.compile(rb"^Final-Recipient: rfc822; *(\S+)\r$", re.MULTILINE | re.IGNORECASE)

FIGURES: list[str] = []
"""What the soaks of this run have counted, for its very end."""


def content_of(mark: str) -> bytes:
    """A content that its mark determines, of 300 octets to 9 KiB, with dots where they may be taken for the end."""
    size = 200 + int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=2).digest()) % 8_000
    text = hashlib.shake_256(mark.encode()).hexdigest(size // 2)
    lines = [f"{'.' * (text[at] < '4')}{text[at : at + 70]}\r\n" for at in range(0, len(text), 70)]
    return f"From: a@client.test\r\nX-Mark: {mark}\r\n\r\n{''.join(lines)}.\r\n".encode()


class Arrival(NamedTuple):
    """at: seconds since 1970. is_interrupted: the reply to it was never said."""

    at: float
    is_interrupted: bool


@dataclass
class Books:
    """accepted: recipients by the mark of a message that had its 250, and its queue id. unsure: marks of messages whose
    last dot had no reply. refused: what was said in the place of 250.
    """

    domains: Sequence[str]
    doomed: float  # the share of recipients whom no next hop takes, ever
    accepted: dict[str, str] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    arrived: dict[str, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    notices: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    corrupt: list[str] = field(default_factory=list)
    strange: list[bytes] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def recipients(self, mark: str) -> list[str]:
        """Who gets a message: one, or now and then three, at one of the domains or at several."""
        chance = random.Random(mark)
        return [f"r{n}.{mark}@{chance.choice(self.domains)}" for n in range(chance.choice((1, 1, 1, 1, 1, 3)))]

    def is_doomed(self, recipient: str) -> bool:
        """Is this a recipient whom no next hop takes?"""
        if address_domain(recipient) not in self.domains:
            return False
        return int.from_bytes(hashlib.blake2b(recipient.encode(), digest_size=4).digest()) < self.doomed * 2**32

    def is_refused_late(self, recipient: str) -> bool:
        """Is one who is doomed refused only once there is a content? That would be for all recipients together."""
        mark = mark_in(recipient)
        return len(self.recipients(mark)) == 1 and hashlib.blake2b(mark.encode()).digest()[0] < 128

    def keep(self, one: Transaction, is_interrupted: bool) -> None:
        """A next hop has taken a message, or might have: it has all of it, and its reply was never said."""
        for recipient in one.recipients:
            mark = mark_in(recipient)
            if not one.content.endswith(content_of(mark)):
                self.corrupt.append(recipient)
            self.arrived[recipient].append(Arrival(one.at, is_interrupted))

    def keep_notice(self, one: Transaction) -> None:
        """A notice has arrived: of whom it says that it was not delivered."""
        report = message_from_bytes(one.content, policy=SMTP)
        failed = [addressed.decode() for addressed in FINAL_RECIPIENT.findall(one.content)]
        if one.sender or report.get_content_type() != "multipart/report" or not failed:
            self.strange.append(one.content)
        for recipient in failed:
            if one.recipients != [f"s.{mark_in(recipient)}@sender.test"]:
                self.strange.append(one.content)
            self.notices[recipient] += 1

    def owed(self) -> Iterator[str]:
        """All recipients of what was accepted."""
        for mark in self.accepted:
            yield from self.recipients(mark)

    def lost(self) -> list[str]:
        """Those who were to get a message that was accepted, and did not."""
        return [one for one in self.owed() if not self.is_doomed(one) and one not in self.arrived]

    def unbounced(self) -> list[str]:
        """Those who did not get it, of which its sender was not told."""
        return [one for one in self.owed() if self.is_doomed(one) and one not in self.notices]

    def wrong(self) -> list[str]:
        """Who should not have got it, or of whom its sender should not have been told; and whom nobody had sent to."""
        known = self.accepted.keys() | self.unsure
        ends = [one for one in self.arrived if self.is_doomed(one)] + [
            one for one in self.notices if not self.is_doomed(one)
        ]
        return ends + [one for one in (*self.arrived, *self.notices) if mark_in(one) not in known]

    def copies(self) -> dict[str, list[Arrival]]:
        """The arrivals of those who got it more than once."""
        return {one: arrivals for one, arrivals in self.arrived.items() if len(arrivals) > 1}


def address_domain(address: str) -> str:
    return address.partition("@")[2]


def mark_in(address: str) -> str:
    """The mark of the message that a recipient was to get."""
    return address.partition("@")[0].partition(".")[2]
