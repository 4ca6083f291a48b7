"""Decisions: what policy decides by, of one configuration, made once for all who ask."""

from typing import NamedTuple

from mta.config.model import Config
from mta.policy.access import Access
from mta.policy.addressing import Addressing
from mta.policy.directory import Directory
from mta.policy.retry import RetryPolicy
from mta.policy.routing import Routing


class Decisions(NamedTuple):
    """Who may send where, who gets it, where it goes, and when it is tried again."""

    access: Access
    directory: Directory
    routing: Routing
    addressing: Addressing
    retry: RetryPolicy

    @classmethod
    def by(cls, config: Config) -> "Decisions":
        """Those of a configuration."""
        directory, routing = config.directory(), config.routing()
        addressing = Addressing(directory, routing, config.postmaster)
        return cls(config.access(), directory, routing, addressing, config.retry_policy())
