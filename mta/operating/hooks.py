"""Hooks: the webhooks of a relay as programs know them."""

from typing import Any

from mta.operating.words import moment
from mta.spool.owing import Pending
from mta.webhooks.letter import word


def webhook_to_json(one: Pending) -> dict[str, Any]:
    """What a webhook is told of, in its words, and what it has not been told yet."""
    return {
        "url": one.url,
        "events": sorted(map(word, one.kinds)),
        "waiting": one.waiting,
        "oldest": None if one.oldest is None else moment(one.oldest),
    }
