"""Orders: what each worker is told, in memory that it inherits: the configuration as it was when the relay started.

So a worker that is started again does as the others do, whatever has become of the file since.
"""

import os
import pickle
from dataclasses import dataclass

from mta.config.model import Config


@dataclass(frozen=True)
class Orders:
    """workers: how many there are. key: a secret that they share."""

    config: Config
    workers: int
    key: bytes

    def write(self) -> int:
        """The descriptor that they can be read from, by any number of readers."""
        descriptor = os.memfd_create("mta-orders")
        with os.fdopen(os.dup(descriptor), "wb") as file:
            pickle.dump(self, file)
        return descriptor

    @classmethod
    def read(cls, descriptor: int) -> "Orders":
        """The inverse of `write`. The place that others read at stays where it is."""
        octets = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        orders = pickle.loads(octets)  # noqa: S301  our own supervisor has written it
        assert isinstance(orders, cls)
        return orders
