"""Makes `twistd mta` known to Twisted. Nothing here may import the reactor."""

from typing import Any

from twisted.application.service import ServiceMaker


class _Early(ServiceMaker):
    @property
    def options(self) -> Any:
        """Of `twistd mta`, which twistd asks for when it is told to start one."""
        from mta.net.early import hold_back

        hold_back()
        return super().options


mta = _Early("mta", "mta.options", "A mail transfer agent.", "mta")
