"""House: what all conversations share, whichever listener they came in by."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mta.inbound.reception import Keeping
from mta.interfaces import ICheck
from mta.logins import IAuthentication
from mta.maillog import MailLog
from mta.policy.access import Access
from mta.policy.addressing import Addressing
from mta.policy.admission import Admission
from mta.policy.directory import Directory
from mta.policy.routing import Routing


@dataclass(frozen=True, slots=True)
class House:
    """What all conversations share. authentication: None where nobody can log in. admission: made of the others."""

    hostname: str
    postmaster: str
    keeping: Keeping
    access: Access
    routing: Routing
    directory: Directory
    addressing: Addressing
    authentication: IAuthentication | None
    checks: Sequence[ICheck]
    admission: Admission = field(init=False)

    def __post_init__(self) -> None:
        admission = Admission(self.hostname, self.postmaster, self.access, self.addressing)
        object.__setattr__(self, "admission", admission)

    @property
    def log(self) -> MailLog:
        """Where events are told."""
        return self.keeping.log
