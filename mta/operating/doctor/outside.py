"""Outside: how the examination looks at the world: the DNS, a policy over HTTPS, a greeting. All of it blocks, for a
bounded time, and takes a bounded number of octets; what went wrong is in the answer."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event, Timer
from typing import Any, Final

from mta.config.model import Config
from mta.dns.inquirer import Inquirer
from mta.operating.doctor.servers import Reached
from mta.operating.doctor.transport import LONGEST_POLICY, Fetched, policy_url
from mta.policy.exchangers import Answer, Found

LONGEST_WAIT: Final = 3.0  # seconds for a question to the DNS
_CONNECT: Final = 4.0  # seconds for a connection, and for each answer on it
PATIENCE: Final = 10.0  # seconds for all that is said on one
_MOST_TRIED: Final = 2  # addresses of one host
_LONGEST_GREETING: Final = 512  # octets
# A root server's, to which there is a way wherever there is one to the world. Nothing is sent there.
_ELSEWHERE: Final = (("198.41.0.4", socket.AF_INET), ("2001:503:ba3e::2:30", socket.AF_INET6))


def outside_of(config: Config) -> "Outside":
    """The world as the relay of a configuration sees it."""
    servers = [str(server) for server in config.dns.nameservers]
    return Outside(Inquirer(servers, min(config.dns.timeout, LONGEST_WAIT), time.time))


class Outside:
    """The world as it is seen from this machine.

    dns: asks the relay's name servers. trust: a file with the authorities that HTTPS is verified by; None for those
    of this machine. https_port, smtp_port: where others listen. patience: seconds for all that is said on one
    connection, however slowly.
    """

    def __init__(
        self,
        dns: Inquirer,
        trust: Path | None = None,
        https_port: int = 443,
        smtp_port: int = 25,
        patience: float = PATIENCE,
    ) -> None:
        self.dns = dns
        self.trust = trust
        self._https_port = https_port
        self._smtp_port = smtp_port
        self._patience = patience

    def sources(self) -> list[str]:
        """The addresses that this machine sends from, as its routes have it; without IPv6 there is none of those."""
        found = []
        for elsewhere, family in _ELSEWHERE:
            with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 53))
                found.append(str(probe.getsockname()[0]))
        return found

    def ask_server(self, server: str, domain: str) -> tuple[Answer[Any], float]:
        """Ask one name server for the MX records of a domain; and the seconds that it took."""
        began = time.monotonic()
        answer = Inquirer([server], LONGEST_WAIT, time.time).exchangers(domain)
        return answer, time.monotonic() - began

    def policy(self, domain: str) -> tuple[Fetched, float | None]:
        """The MTA-STS policy of a domain; and how far our clock is ahead of the server's, in seconds, if it says."""
        host = policy_url(domain).split("/")[2]
        addresses = self.dns.addresses(host)
        if addresses.found is Found.FAILED:
            return Fetched(why=f"{host} could not be asked for: {addresses.why}"), None
        if not addresses.records:
            return Fetched(why=f"{host} has no address"), None
        try:
            return self._get(host, addresses.records, policy_url(domain))
        except ssl.SSLCertVerificationError as error:
            return Fetched(why=f"its certificate is not good: {error.verify_message}"), None
        except (OSError, http.client.HTTPException) as error:
            return Fetched(why=_in_words(error)), None

    def greeting(self, host: str, address: str) -> Reached:
        """What port 25 of a host says first. It is told QUIT."""
        try:
            with self._connected(address, self._smtp_port) as connection:
                octets = b""
                while b"\n" not in octets and len(octets) < _LONGEST_GREETING:
                    more = connection.recv(_LONGEST_GREETING)
                    if not more:
                        break
                    octets += more
                with suppress(OSError):
                    connection.sendall(b"QUIT\r\n")
        except OSError as error:
            return Reached(host, address, why=_in_words(error))
        line = octets.split(b"\n")[0].strip().decode("utf-8", "backslashreplace")[:_LONGEST_GREETING]
        return Reached(host, address, line, "" if line else "it says nothing")

    def _get(self, host: str, addresses: tuple[str, ...], url: str) -> tuple[Fetched, float | None]:
        context = ssl.create_default_context(cafile=self.trust)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as those do who send mail; Python has it from 3.13 on
        with (
            self._connected_to_one(addresses, self._https_port) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            client = http.client.HTTPSConnection(host)
            client.sock = connection
            client.request("GET", url.split(host, 1)[1], headers={"Accept": "text/plain", "Connection": "close"})
            response = client.getresponse()
            if response.status != 200:
                return Fetched(why=f"it is answered with status {response.status}"), None
            octets = response.read(LONGEST_POLICY + 1)
            return Fetched(octets), _ahead(response.getheader("Date"))

    @contextmanager
    def _connected_to_one(self, addresses: tuple[str, ...], port: int) -> Iterator[socket.socket]:
        """A connection to the first of the addresses that takes one. Raises `OSError`, of the last that was tried."""
        *others, last = addresses[:_MOST_TRIED]
        for address in others:
            with suppress(OSError):
                socket.create_connection((address, port), _CONNECT).close()
                last = address
                break
        with self._connected(last, port) as connection:
            yield connection

    @contextmanager
    def _connected(self, address: str, port: int) -> Iterator[socket.socket]:
        """A connection that ends by itself, however slowly the other side talks; then it is a `TimeoutError`."""
        with socket.create_connection((address, port), _CONNECT) as connection, connection.dup() as same:
            late = Event()

            def cut() -> None:
                late.set()
                with suppress(OSError):
                    same.shutdown(socket.SHUT_RDWR)

            end = Timer(self._patience, cut)  # on a copy, since TLS takes the first one over
            end.daemon = True
            end.start()
            try:
                yield connection
            except (OSError, http.client.HTTPException) as error:
                if late.is_set():  # what is wrong with a connection that was cut off
                    raise TimeoutError from error
                raise
            finally:
                end.cancel()
            if late.is_set():  # what was said until then looks whole
                raise TimeoutError


def _ahead(date: str | None) -> float | None:
    """How far our clock is ahead of a Date field."""
    try:
        return time.time() - parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        return None


def _in_words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, ssl.SSLError):
        return error.strerror.lower()
    return str(error) or type(error).__name__
