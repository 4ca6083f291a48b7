"""Failures: the class of a reply that a recipient failed with, by its enhanced status code (RFC 3463)."""

import re
from typing import Final

from mta.policy.settlement import returned_by_operator

EXPIRED: Final = "expired"  # given up for its age, whatever the last reply was
OPERATOR: Final = "operator"  # returned by one
OTHER: Final = "other"
# The subject of an enhanced status code, its second number (RFC 3463 3).
_SUBJECTS: Final = {
    "1": "address",
    "2": "mailbox",
    "3": "system",
    "4": "network",
    "5": "protocol",
    "6": "content",
    "7": "policy",
}
_ENHANCED = re.compile(r"[245][0-9]{2}[ -][245]\.([0-9]{1,3})\.[0-9]{1,3}\b")
_RETURNED: Final = str(returned_by_operator().reply)


def failure_class(reply: str, why: str = "") -> str:
    """The class of a failure: one of the words here. why: as the timeline has it, "expired" for what was given up."""
    if why == EXPIRED:
        return EXPIRED
    if reply == _RETURNED:
        return OPERATOR
    enhanced = _ENHANCED.match(reply)
    return _SUBJECTS.get(enhanced[1], OTHER) if enhanced is not None else OTHER
