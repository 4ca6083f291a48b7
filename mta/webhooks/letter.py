"""Letter: what is posted to a webhook, and how it is signed. docs/webhooks.md describes both for receivers."""

import hmac
import json
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from mta.maillog import timestamp
from mta.message.envelope import format_queue_id
from mta.outbox import Owed

WORDS: Final = {"failed": "bounced"}
"""What the timeline calls otherwise than webhooks do."""

_TIMES: Final = frozenset({"next"})  # details that are seconds since 1970


def word(kind: str) -> str:
    """How a webhook calls a kind of event."""
    return WORDS.get(kind, kind)


def body(owed: Sequence[Owed], most: float = inf) -> tuple[int, bytes]:
    """Events as JSON, in UTF-8: so many of them, from the first on, as are in `most` octets, though never none."""
    said: list[bytes] = []
    octets = 0
    for one in owed:
        text = json.dumps(_told(one), separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        octets += len(text)
        if said and octets > most:
            break
        said.append(text)
    return len(said), b'{"events":[%b]}' % b",".join(said)


def signature(secret: str, at: int, octets: bytes) -> str:
    """The value of X-Mta-Signature: when it was signed, in seconds since 1970, and HMAC-SHA256 of that and the body."""
    digest = hmac.digest(secret.encode(), b"%d.%b" % (at, octets), "sha256")
    return f"t={at},v1={digest.hex()}"


def _told(one: Owed) -> dict[str, Any]:
    at, kind, detail = one.event
    told: dict[str, Any] = {
        "id": format_queue_id(one.id),
        "event": word(kind),
        "time": timestamp(at),
        "message": format_queue_id(one.message),
        "sender": one.sender,
    }
    if one.destination:
        told["destination"] = one.destination
    for name, value in detail.items():
        if name == "id":  # of the notice; ours is another
            told["notice"] = value
        elif name in _TIMES and isinstance(value, int | float):
            told[name] = timestamp(value)
        else:
            told.setdefault(name, value)
    return told
