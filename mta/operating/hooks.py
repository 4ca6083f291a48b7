"""Hooks: the webhooks of a relay as programs and pages know them. Of a URL they know the host: it may have a secret."""

from typing import Any

from mta.operating.words import moment
from mta.outbox import name_of
from mta.spool.owing import Pending
from mta.webhooks.letter import word


def webhook_to_json(one: Pending) -> dict[str, Any]:
    """What a webhook is told of, in its words, what it has not been told yet, and how the last try went."""
    standing = one.standing
    return {
        "url": name_of(one.url),
        "events": sorted(map(word, one.kinds)),
        "waiting": one.waiting,
        "oldest": _moment(one.oldest),
        "last_try": _moment(standing.tried),
        "failures": standing.failures,
        "last_error": standing.why,
        "next_try": _moment(standing.following),
    }


def _moment(at: float | None) -> str | None:
    return None if at is None else moment(at)
