"""Login: what an AUTH exchange (RFC 4954) is to the side that asks. The mechanisms themselves are in `mta.auth`."""

from typing import NamedTuple, Protocol


class Binding(NamedTuple):
    """What binds a login to the connection that it is made in (RFC 5056). kind: its type's name: "tls-exporter"."""

    kind: str
    octets: bytes


class ClientMechanism(Protocol):
    """One login under way, by one mechanism. Octets are as the mechanism has them, not yet in base64."""

    @property
    def name(self) -> str:
        """As the server announces it: "SCRAM-SHA-256"."""

    def initial(self) -> bytes | None:
        """The initial response, to be sent with AUTH itself; None where the server speaks first."""

    def respond(self, challenge: bytes) -> bytes:
        """The response to a challenge. Raises `ValueError`, for people, where the server does not do its part."""

    def succeeded(self) -> None:
        """The server says 235. Raises `ValueError` where it has not proved that it knows the secret, and should."""
