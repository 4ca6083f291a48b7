"""Orders: what each worker is told, as JSON in memory that it inherits.

The configuration is in it as the texts that it was made from, and each worker makes its own from them. So one that is
started again does as the others do, whatever has become of the files since, and may not have the right to read them.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mta.config.load import load_again
from mta.config.model import Config
from mta.config.sources import Sources


@dataclass(frozen=True)
class Orders:
    """workers: how many there are. key: a secret that they share. sockets: how many a worker is given of each listener.

    The spool is said apart: it stays what it was at the start, whatever is read later.
    """

    config: Config
    workers: int
    key: bytes
    sockets: Sequence[int] = ()

    def write(self) -> int:
        """The descriptor that they can be read from, by any number of readers; nobody can change them any more."""
        told = {
            "workers": self.workers,
            "key": self.key.hex(),
            "sockets": list(self.sockets),
            "spool": str(self.config.spool),
            "configuration": asdict(self.config.sources),
        }
        descriptor = os.memfd_create("mta-orders", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
            json.dump(told, file)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _FOR_GOOD)
        return descriptor

    @classmethod
    def read(cls, descriptor: int) -> "Orders":
        """The inverse of `write`. The place that others read at stays where it is."""
        told = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        config = load_again(Sources(**told["configuration"])).model_copy(update={"spool": Path(told["spool"])})
        return cls(config, told["workers"], bytes.fromhex(told["key"]), told["sockets"])


_FOR_GOOD = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
