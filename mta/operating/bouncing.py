"""Bouncing: the notices of mail that an operator returns to its senders, as the relay itself writes them."""

import time
from collections.abc import Callable

from mta.config.model import Config
from mta.delivery.notifier import Notifier
from mta.delivery.records import bouncing
from mta.interfaces import Claim, IContent, Record
from mta.message.envelope import format_queue_id
from mta.policy.addressing import Addressing
from mta.spool.content import Octets
from mta.spool.desk import Compose, Desk


def composing(config: Config, desk: Desk, warn: Callable[[str], None]) -> Compose:
    """What `Desk.bounce` settles each delivery with. warn: is told of content that cannot be read."""
    policy = config.retry_policy()
    addressing = Addressing(config.directory(), config.routing(), config.postmaster)
    notifier = Notifier(config.hostname, config.postmaster, policy, addressing.decide, desk.new_id, addressing.resolve)
    settle = bouncing(notifier, policy, time.time)

    def compose(claim: Claim, content: IContent) -> Record:
        try:
            return settle(claim, content)
        except OSError as error:
            warn(
                f"the content of {format_queue_id(claim.message)} cannot be read ({error}); its notice quotes no header"
            )
            return settle(claim, Octets(b""))

    return compose
